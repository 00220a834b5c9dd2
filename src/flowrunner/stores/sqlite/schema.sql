-- The schema of a new file. What older files need to become this is in revisions/; a test proves that both agree.
-- alembic_version, the row that tells the revision, is alembic's own table and made with its text (stores/revisions.py).
-- The write that matters most creates an execution and ends it at once: it touches heads, its three full indexes and chunks,
-- and nothing else, so the other indexes are partial.

-- One row per execution. The columns that lists and the fence read come first, long texts last, so that a row that spills
-- onto overflow pages is still judged by its first page. `number` is the execution's place in this file: a short key.
CREATE TABLE heads (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  machine TEXT NOT NULL,
  name TEXT NOT NULL,
  revision TEXT NOT NULL,
  status TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  stopped_at INTEGER,
  wake_at INTEGER,
  owner TEXT,
  seed BLOB NOT NULL,
  error TEXT,
  extra TEXT,
  cause TEXT,
  output TEXT,
  input TEXT             -- NULL: in `inputs`
) STRICT;

-- A name is used once per machine (StartExecution is idempotent by it).
CREATE UNIQUE INDEX heads_by_name ON heads (account, machine, name);

-- Lists, newest first; ties are sorted by id.
CREATE INDEX heads_by_start ON heads (account, machine, started_at);
CREATE INDEX heads_by_account ON heads (account, started_at);

-- Lists of one status. Most executions succeed, so a list of those reads heads_by_start and skips little.
CREATE INDEX heads_by_status ON heads (account, machine, status, started_at) WHERE status <> 'SUCCEEDED';

-- Who must be looked at, and when.
CREATE INDEX heads_due ON heads (wake_at, id) WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NOT NULL;

-- Whose attempts are running.
CREATE INDEX heads_owned ON heads (owner, id) WHERE status = 'RUNNING' AND owner IS NOT NULL;

-- Long inputs of executions that outlive their first step: SQLite rewrites a whole row on every update.
CREATE TABLE inputs (
  number INTEGER PRIMARY KEY,
  body TEXT NOT NULL
) STRICT;

-- The logs. `place` is number * 2^26 + first_seq: one key, no second index, and rows of an execution lie together.
-- A rowid table on purpose: packed bodies in a WITHOUT ROWID table take twice the room (5.0 against 2.4 KB an execution).
CREATE TABLE chunks (
  place INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;

-- The facts since the last snapshot; `place` is number * 2^26 + fact_number.
CREATE TABLE facts (
  place INTEGER PRIMARY KEY,
  body BLOB NOT NULL
) STRICT;

CREATE TABLE snapshots (
  number INTEGER PRIMARY KEY,
  body BLOB NOT NULL
) STRICT;

-- Facts that others left for an execution, in order of arrival.
CREATE TABLE inbox (
  place INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  execution TEXT NOT NULL,
  fact BLOB NOT NULL
) STRICT;

CREATE INDEX inbox_by_execution ON inbox (execution);

-- Open tasks of activities, in order of opening.
CREATE TABLE activity_tasks (
  place INTEGER PRIMARY KEY,
  execution TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  activity TEXT NOT NULL,
  scheduled_at INTEGER NOT NULL,
  input TEXT NOT NULL,
  UNIQUE (execution, attempt)
) STRICT;

CREATE INDEX activity_tasks_waiting ON activity_tasks (activity, scheduled_at);

-- The nodes that serve this file. `beats` counts up as long as the node is alive.
CREATE TABLE nodes (
  node TEXT PRIMARY KEY,
  beats INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every revision that ever was; executions pin them, so deleting a machine leaves them. `settings` is JSON.
CREATE TABLE revisions (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  machine TEXT NOT NULL,
  role_arn TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  settings TEXT NOT NULL,
  definition TEXT NOT NULL
) STRICT;

-- State machines. `tags` is JSON.
CREATE TABLE machines (
  account TEXT NOT NULL,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER,
  revision TEXT NOT NULL,
  tags TEXT NOT NULL,
  PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- Activities. `tags` and `settings` are JSON.
CREATE TABLE activities (
  account TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  tags TEXT NOT NULL,
  settings TEXT NOT NULL,
  PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

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

-- Facts about the file itself: `checked_at`, the last proof that it can be written.
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
