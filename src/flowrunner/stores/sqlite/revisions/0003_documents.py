"""Documents: accounts, users, keys, secrets, the audit log.

Expand: `documents`, `aliases`. Contract: nothing.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

SQL = """
-- What an account has besides executions and definitions (ports/documents.py). `aliases` are separated by spaces, in their order; from
-- `expires_at` on the row counts no longer.
CREATE TABLE documents (
  place INTEGER PRIMARY KEY,
  account TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  expires_at INTEGER,
  aliases TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX documents_by_id ON documents (account, kind, id);

-- What can be removed for good.
CREATE INDEX documents_expiring ON documents (account, kind, id, expires_at) WHERE expires_at IS NOT NULL;

-- Whose an alias is: the `place` of its document.
CREATE TABLE aliases (
  alias TEXT PRIMARY KEY,
  document INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The audit log is only ever added to.
CREATE TRIGGER documents_are_kept BEFORE DELETE ON documents WHEN OLD.kind = 'audit'
BEGIN
  SELECT RAISE(ABORT, 'documents of kind audit are never removed');
END;

CREATE TRIGGER documents_are_unchanged BEFORE UPDATE ON documents WHEN OLD.kind = 'audit'
BEGIN
  SELECT RAISE(ABORT, 'documents of kind audit are never replaced');
END;
"""


def upgrade() -> None:
    """Revision 0002 becomes 0003."""
    op.execute(SQL)
