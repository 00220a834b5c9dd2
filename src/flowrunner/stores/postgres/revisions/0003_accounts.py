"""Row-level security between accounts.

Expand: policies that let everything through where the setting `flowrunner.account` is not made, as in every release before; the account of
new rows is checked. Contract: nothing.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

SQL = r"""
-- The second wall between accounts. Where the setting flowrunner.account is made (SET LOCAL, in the transactions of reads on behalf of a
-- caller), a row of another account is neither seen nor written, whatever the statement says; where it is not (the engine, which
-- works for all accounts) every row is. Superusers and roles with BYPASSRLS pass by it.
-- NOT VALID: what is there is not read again, which could take long; whatever is written is checked.
ALTER TABLE flowrunner.heads ADD CONSTRAINT heads_account_check CHECK (account ~ '^[0-9]{12}$') NOT VALID;
ALTER TABLE flowrunner.revisions ADD CONSTRAINT revisions_account_check CHECK (account ~ '^[0-9]{12}$') NOT VALID;
ALTER TABLE flowrunner.machines ADD CONSTRAINT machines_account_check CHECK (account ~ '^[0-9]{12}$') NOT VALID;
ALTER TABLE flowrunner.activities ADD CONSTRAINT activities_account_check CHECK (account ~ '^[0-9]{12}$') NOT VALID;

ALTER TABLE flowrunner.heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.heads FORCE ROW LEVEL SECURITY;
CREATE POLICY heads_of_the_account ON flowrunner.heads
USING (coalesce(current_setting('flowrunner.account', true), '') IN ('', account))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') IN ('', account));

ALTER TABLE flowrunner.revisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.revisions FORCE ROW LEVEL SECURITY;
CREATE POLICY revisions_of_the_account ON flowrunner.revisions
USING (coalesce(current_setting('flowrunner.account', true), '') IN ('', account))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') IN ('', account));

ALTER TABLE flowrunner.machines ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.machines FORCE ROW LEVEL SECURITY;
CREATE POLICY machines_of_the_account ON flowrunner.machines
USING (coalesce(current_setting('flowrunner.account', true), '') IN ('', account))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') IN ('', account));

ALTER TABLE flowrunner.activities ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.activities FORCE ROW LEVEL SECURITY;
CREATE POLICY activities_of_the_account ON flowrunner.activities
USING (coalesce(current_setting('flowrunner.account', true), '') IN ('', account))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') IN ('', account));

ALTER TABLE flowrunner.documents ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.documents FORCE ROW LEVEL SECURITY;
CREATE POLICY documents_of_the_account ON flowrunner.documents
USING (coalesce(current_setting('flowrunner.account', true), '') IN ('', account))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') IN ('', account));

ALTER TABLE flowrunner.aliases ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.aliases FORCE ROW LEVEL SECURITY;
CREATE POLICY aliases_of_the_account ON flowrunner.aliases
USING (coalesce(current_setting('flowrunner.account', true), '') IN ('', account))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') IN ('', account));

-- What belongs to an execution has its account from the head, which is looked up only where the setting is made.
ALTER TABLE flowrunner.chunks ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.chunks FORCE ROW LEVEL SECURITY;
CREATE POLICY chunks_of_the_account ON flowrunner.chunks
USING (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution));

ALTER TABLE flowrunner.facts ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.facts FORCE ROW LEVEL SECURITY;
CREATE POLICY facts_of_the_account ON flowrunner.facts
USING (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution));

ALTER TABLE flowrunner.snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.snapshots FORCE ROW LEVEL SECURITY;
CREATE POLICY snapshots_of_the_account ON flowrunner.snapshots
USING (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution));

ALTER TABLE flowrunner.inbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.inbox FORCE ROW LEVEL SECURITY;
CREATE POLICY inbox_of_the_account ON flowrunner.inbox
USING (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution));

ALTER TABLE flowrunner.activity_tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE flowrunner.activity_tasks FORCE ROW LEVEL SECURITY;
CREATE POLICY activity_tasks_of_the_account ON flowrunner.activity_tasks
USING (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution))
WITH CHECK (coalesce(current_setting('flowrunner.account', true), '') = ''
  OR current_setting('flowrunner.account', true) = (SELECT h.account FROM flowrunner.heads AS h WHERE h.id = execution));
"""


def upgrade() -> None:
    """Revision 0002 becomes 0003."""
    op.execute(SQL)
