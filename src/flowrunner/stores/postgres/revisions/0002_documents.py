"""Documents: accounts, users, keys, secrets, the audit log.

Expand: `documents`, `aliases`. Contract: nothing.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

SQL = """
-- What an account has besides executions and definitions (ports/documents.py). `aliases` are separated by spaces, in their order; from
-- `expires_at` on the row counts no longer.
CREATE TABLE flowrunner.documents (
  account text COLLATE "C" NOT NULL CHECK (account ~ '^[0-9]{12}$'),
  kind text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  expires_at bigint,
  aliases text COLLATE "C" NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (account, kind, id)
);

-- What can be removed for good.
CREATE INDEX documents_expiring ON flowrunner.documents (account, kind, id, expires_at) WHERE expires_at IS NOT NULL;

-- Whose an alias is.
CREATE TABLE flowrunner.aliases (
  alias text COLLATE "C" PRIMARY KEY,
  account text COLLATE "C" NOT NULL CHECK (account ~ '^[0-9]{12}$'),
  kind text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL
);

-- The audit log is only ever added to.
CREATE FUNCTION flowrunner.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'documents of kind % are never replaced and never removed', OLD.kind USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER documents_are_kept BEFORE UPDATE OR DELETE ON flowrunner.documents
FOR EACH ROW WHEN (OLD.kind = 'audit') EXECUTE FUNCTION flowrunner.refuse_change();
"""


def upgrade() -> None:
    """Revision 0001 becomes 0002."""
    op.execute(SQL)
