"""Files as earlier releases left them, and a chain with a revision that is yet to come."""

import shutil
from pathlib import Path

import apsw

from flowrunner.stores import revisions
from flowrunner.stores.sqlite.migrate import APPLICATION_ID, PACKAGE

FOLDER = Path(__file__).parent / "released"
LATER = "CREATE TABLE later (a); INSERT INTO later VALUES (1); ALTER TABLE nodes ADD COLUMN note TEXT; CREATE INDEX later_a ON later (a);"
LATER_FILE = f"""from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("{LATER}")
"""
BROKEN_FILE = LATER_FILE.replace("0002", "0003").replace('"0003"', '"0004"', 1).replace(LATER, "INSERT INTO nothing VALUES (1)")


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
    """For `revisions._folder`: the real chain and a revision 0003, with `broken` a 0004 that fails."""
    chain = folder / "chain"
    shutil.copytree(revisions._folder(PACKAGE), chain, ignore=shutil.ignore_patterns("__pycache__"))
    (chain / "0003_later.py").write_text(LATER_FILE)
    if broken:
        (chain / "0004_broken.py").write_text(BROKEN_FILE)
    return lambda _: chain
