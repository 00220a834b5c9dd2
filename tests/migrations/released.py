"""Files as earlier releases left them, and a chain with a revision that is yet to come."""

import shutil
from pathlib import Path

import apsw

from flowrunner.stores import revisions
from flowrunner.stores.sqlite.migrate import APPLICATION_ID, PACKAGE

FOLDER = Path(__file__).parent / "released"
LATER = "CREATE TABLE later (a); INSERT INTO later VALUES (1); ALTER TABLE nodes ADD COLUMN note TEXT; CREATE INDEX later_a ON later (a);"
LATER_FILE = """from alembic import op

revision = "{number:04}"
down_revision = "{before:04}"


def upgrade() -> None:
    op.execute("{sql}")
"""


def _made(version):
    def make(path):
        path.touch()
        connection = apsw.Connection(str(path))
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute((FOLDER / f"version-{version}.sql").read_text())
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}")
        connection.pragma("journal_mode", "wal")
        head = "'h', 'a', 'm', 'n', 'r', 'RUNNING', 1, 3, 5, NULL, 9, NULL, x'00', NULL, NULL, NULL, NULL, 'in'"
        connection.execute(f"INSERT INTO heads VALUES (1, {head}); INSERT INTO chunks VALUES ((1 << 26) + 1, 3, x'5b5d')")
        connection.close()

    return make


RELEASED = {1: _made(1), 2: _made(2)}


def later_chain(folder, *, broken=False):
    """For `revisions._folder`: the real chain and one more revision, with `broken` another one that fails."""
    chain = folder / "chain"
    shutil.copytree(revisions._folder(PACKAGE), chain, ignore=shutil.ignore_patterns("__pycache__"))
    present = len(list(chain.glob("*.py")))
    for number, sql in enumerate((LATER, "INSERT INTO nothing VALUES (1)") if broken else (LATER,), present + 1):
        (chain / f"{number:04}_later.py").write_text(LATER_FILE.format(number=number, before=number - 1, sql=sql))
    return lambda _: chain
