"""Nodes show that they are alive by a counter; times of different clocks are no longer compared.

Expand: `nodes`. Contract: `leases`, in the same revision, because a file has one server: no older one can still be reading it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

SQL = """
DROP TABLE leases;

-- The nodes that serve this file. `beats` counts up as long as the node is alive.
CREATE TABLE nodes (
  node TEXT PRIMARY KEY,
  beats INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""


def upgrade() -> None:
    """Revision 0001 becomes 0002."""
    op.execute(SQL)
