"""A PostgreSQL schema as an earlier release left it, and a chain with a revision that is yet to come."""

import re
import shutil
from pathlib import Path

from flowrunner.stores import revisions
from flowrunner.stores.postgres.migrate import PACKAGE, placed

FOLDER = Path(__file__).parent / "released"
LATER = "CREATE TABLE flowrunner.later (a int); INSERT INTO flowrunner.later VALUES (1); ALTER TABLE flowrunner.nodes ADD COLUMN note text"
LATER_FILE = """from alembic import op

revision = "{number:04}"
down_revision = "{before:04}"


def upgrade() -> None:
    op.execute("{sql}")
"""


async def unstamped(connection, schema):
    """What the release made that knew no version row, with something in it."""
    await connection.execute(placed(f"CREATE SCHEMA {schema}; {(FOLDER / 'postgres-1.sql').read_text()}", schema))
    await connection.execute(placed("INSERT INTO flowrunner.meta VALUES ('application', 'flowrunner'), ('version', '1')", schema))
    await connection.execute(placed("INSERT INTO flowrunner.nodes VALUES ('node', 1)", schema))


def later_chain(folder, *sqls):
    """For `revisions._folder`: the real chain and a revision more for each text."""
    chain = folder / f"chain-{len(sqls)}"
    shutil.copytree(revisions._folder(PACKAGE), chain, ignore=shutil.ignore_patterns("__pycache__"))
    present = len(list(chain.glob("*.py")))
    for number, sql in enumerate(sqls, present + 1):
        (chain / f"{number:04}_later.py").write_text(LATER_FILE.format(number=number, before=number - 1, sql=sql))
    return lambda _: chain


def single(text):
    """The statements of a text, one by one; the body of a function belongs to its statement."""
    return [statement for part in re.findall(r"(?:\$\$.*?\$\$|[^;])+", re.sub("--.*", "", text), re.DOTALL) if (statement := part.strip())]
