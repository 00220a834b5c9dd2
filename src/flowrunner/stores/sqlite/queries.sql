-- Every statement of the SQLite store. Parameters are positional. `place` keys are number * 2^26 + position (schema.sql).

-- name: insert_head
-- A new execution; no row comes back if the name or the id is taken. Short inputs are in the row.
INSERT INTO heads (id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed,
                   error, extra, cause, output, input)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
ON CONFLICT DO NOTHING RETURNING number;

-- name: insert_input
-- The long input of an execution that goes on.
INSERT INTO inputs (number, body) VALUES (?1, ?2);

-- name: update_head
-- The fence: no row comes back if somebody else has written since. Identity, input, seed and start never change.
UPDATE heads SET revision = ?3, status = ?4, epoch = ?2 + 1, last_seq = ?5, stopped_at = ?6, wake_at = ?7, owner = ?8,
                 error = ?9, extra = ?10, cause = ?11, output = ?12
WHERE id = ?1 AND epoch = ?2 RETURNING number;

-- name: insert_chunk
-- The records of one step.
INSERT INTO chunks (place, count, body) VALUES (?1, ?2, ?3);

-- name: insert_facts
-- The facts of one step.
INSERT INTO facts (place, body) VALUES (?1, ?2);

-- name: delete_facts
-- All facts of one execution: a snapshot has taken their place, or it is over.
DELETE FROM facts WHERE place >= ?1 AND place < ?2;

-- name: replace_snapshot
-- The newest snapshot of one execution.
INSERT INTO snapshots (number, body) VALUES (?1, ?2) ON CONFLICT (number) DO UPDATE SET body = excluded.body;

-- name: delete_snapshot
-- An execution that is over has no snapshot.
DELETE FROM snapshots WHERE number = ?1;

-- name: insert_delivery
-- Idempotent by id. An execution that is over takes no deliveries; one that is not there yet does.
INSERT INTO inbox (id, execution, fact)
SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM heads WHERE id = ?2 AND status NOT IN ('RUNNING', 'PENDING_REDRIVE'))
ON CONFLICT DO NOTHING;

-- name: delete_delivery
-- One delivery that its execution has taken in.
DELETE FROM inbox WHERE id = ?1 AND execution = ?2;

-- name: delete_inbox
-- An execution that is over has no inbox.
DELETE FROM inbox WHERE execution = ?1;

-- name: insert_activity_task
-- A task that waits for a worker.
INSERT INTO activity_tasks (execution, attempt, activity, scheduled_at, input) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: delete_activity_task
-- A task that no longer waits.
DELETE FROM activity_tasks WHERE execution = ?1 AND attempt = ?2;

-- name: delete_activity_tasks
-- An execution that is over has no open tasks.
DELETE FROM activity_tasks WHERE execution = ?1;

-- name: delete_head
-- An execution that has ended; no row comes back for one that is open or not there.
DELETE FROM heads WHERE id = ?1 AND status NOT IN ('RUNNING', 'PENDING_REDRIVE') RETURNING number;

-- name: delete_input
-- The long input of an execution.
DELETE FROM inputs WHERE number = ?1;

-- name: delete_chunks
-- The whole log of one execution.
DELETE FROM chunks WHERE place >= ?1 AND place < ?2;

-- name: head_by_id
-- One head with its input, the number first.
SELECT number, id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed,
       error, extra, cause, output, coalesce(input, (SELECT body FROM inputs WHERE inputs.number = heads.number))
FROM heads WHERE id = ?1;

-- name: head_by_name
-- The same by the execution's names.
SELECT number, id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed,
       error, extra, cause, output, coalesce(input, (SELECT body FROM inputs WHERE inputs.number = heads.number))
FROM heads WHERE account = ?1 AND machine = ?2 AND name = ?3;

-- name: snapshot
-- The newest snapshot.
SELECT body FROM snapshots WHERE number = ?1;

-- name: facts
-- The facts after it, oldest first.
SELECT body FROM facts WHERE place >= ?1 AND place < ?2 ORDER BY place;

-- name: inbox
-- What others left for one execution, oldest first.
SELECT id, execution, fact FROM inbox WHERE execution = ?1 ORDER BY place;

-- name: number
-- The number of an execution in this file.
SELECT number FROM heads WHERE id = ?1;

-- name: log_end
-- The last chunk of a log: its place and its count.
SELECT place, count FROM chunks WHERE place >= ?1 AND place < ?2 ORDER BY place DESC LIMIT 1;

-- name: log
-- The chunks that hold records from place ?2 to before place ?3, oldest first; ?1 is where the log begins.
SELECT place, count, body FROM chunks
WHERE place >= coalesce((SELECT max(place) FROM chunks WHERE place >= ?1 AND place <= ?2), ?1) AND place < ?3 ORDER BY place;

-- name: log_reverse
-- The same, newest first.
SELECT place, count, body FROM chunks
WHERE place >= coalesce((SELECT max(place) FROM chunks WHERE place >= ?1 AND place <= ?2), ?1) AND place < ?3 ORDER BY place DESC;

-- name: list_account
-- A page of an account's executions below (started_at, id); texts that lists do not show are left out.
SELECT number, id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed,
       error, extra, cause, NULL, ''
FROM heads WHERE account = ?1 AND (started_at, id) < (?3, ?4) AND (?2 IS NULL OR status = ?2)
ORDER BY started_at DESC, id DESC LIMIT ?5;

-- name: list_machine
-- A page of one machine's executions; with a status, one that most of them have.
SELECT number, id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed,
       error, extra, cause, NULL, ''
FROM heads WHERE account = ?1 AND machine = ?6 AND (started_at, id) < (?3, ?4) AND (?2 IS NULL OR status = ?2)
ORDER BY started_at DESC, id DESC LIMIT ?5;

-- name: list_machine_status
-- A page of one machine's executions with a rare status, by its partial index.
SELECT number, id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed,
       error, extra, cause, NULL, ''
FROM heads WHERE account = ?1 AND machine = ?6 AND status = ?2 AND status <> 'SUCCEEDED' AND (started_at, id) < (?3, ?4)
ORDER BY started_at DESC, id DESC LIMIT ?5;

-- name: due
-- Running executions without an owner that must be looked at, earliest first.
SELECT id FROM heads WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NOT NULL AND wake_at <= ?1 ORDER BY wake_at, id LIMIT ?2;

-- name: next_wake
-- When the earliest of them must be looked at.
SELECT wake_at FROM heads WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NOT NULL ORDER BY wake_at LIMIT 1;

-- name: owners
-- Who owns running executions: hops from owner to owner through the index, so thousands of executions of one owner cost one step.
WITH RECURSIVE owners (owner) AS (
  SELECT (SELECT min(owner) FROM heads WHERE status = 'RUNNING' AND owner IS NOT NULL)
  UNION ALL
  SELECT (SELECT min(heads.owner) FROM heads WHERE status = 'RUNNING' AND heads.owner IS NOT NULL AND heads.owner > owners.owner)
  FROM owners WHERE owners.owner IS NOT NULL
)
SELECT owner FROM owners WHERE owner IS NOT NULL;

-- name: owned
-- The running executions of one owner.
SELECT id FROM heads WHERE status = 'RUNNING' AND owner IS NOT NULL AND owner = ?1 ORDER BY id LIMIT ?2;

-- name: undelivered
-- Deliveries that nobody has consumed, oldest first.
SELECT id, execution, fact FROM inbox ORDER BY place LIMIT ?1;

-- name: activity_tasks
-- Open tasks of one activity, oldest first.
SELECT activity, execution, attempt, input, scheduled_at FROM activity_tasks WHERE activity = ?1 ORDER BY scheduled_at, place LIMIT ?2;

-- name: beat
-- A node shows that it is alive.
INSERT INTO nodes (node, beats) VALUES (?1, 0) ON CONFLICT (node) DO UPDATE SET beats = beats + 1;

-- name: nodes
-- The counters of all nodes.
SELECT node, beats FROM nodes;

-- name: delete_node
-- A node counts no longer.
DELETE FROM nodes WHERE node = ?1;

-- name: position
-- How far an execution has come.
SELECT id, epoch, last_seq, status FROM heads WHERE id = ?1;

-- name: insert_revision
-- Revisions never change: one that is there stays as it is, and no row comes back.
INSERT INTO revisions (id, account, machine, role_arn, created_at, settings, definition) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT DO NOTHING RETURNING id;

-- name: revision
-- A revision by id.
SELECT id, account, machine, definition, role_arn, created_at, settings FROM revisions WHERE id = ?1;

-- name: insert_machine
-- A new machine; no row comes back if the name is taken.
INSERT INTO machines (account, name, type, created_at, updated_at, revision, tags) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT DO NOTHING RETURNING name;

-- name: update_machine
-- Another revision becomes current; no row comes back if there is no such machine.
UPDATE machines SET revision = ?3, updated_at = ?4 WHERE account = ?1 AND name = ?2 RETURNING name;

-- name: tag_machine
-- Other tags; no row comes back if there is no such machine.
UPDATE machines SET tags = ?3 WHERE account = ?1 AND name = ?2 RETURNING name;

-- name: machine
-- A machine with its current revision.
SELECT machines.account, machines.name, type, machines.created_at, updated_at, tags,
       revisions.id, revisions.account, machine, definition, role_arn, revisions.created_at, settings
FROM machines JOIN revisions ON revisions.id = machines.revision WHERE machines.account = ?1 AND machines.name = ?2;

-- name: machines
-- A page of an account's machines by name; ?2 NULL begins at the first.
SELECT machines.account, machines.name, type, machines.created_at, updated_at, tags,
       revisions.id, revisions.account, machine, definition, role_arn, revisions.created_at, settings
FROM machines JOIN revisions ON revisions.id = machines.revision
WHERE machines.account = ?1 AND machines.name > coalesce(?2, '') ORDER BY machines.name LIMIT ?3;

-- name: delete_machine
-- The machine goes, its revisions stay.
DELETE FROM machines WHERE account = ?1 AND name = ?2;

-- name: insert_activity
-- A new activity; no row comes back if the name is taken.
INSERT INTO activities (account, name, created_at, tags, settings) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING RETURNING name;

-- name: tag_activity
-- Other tags; no row comes back if there is no such activity.
UPDATE activities SET tags = ?3 WHERE account = ?1 AND name = ?2 RETURNING name;

-- name: activity
-- An activity.
SELECT account, name, created_at, tags, settings FROM activities WHERE account = ?1 AND name = ?2;

-- name: activities
-- A page of an account's activities by name; ?2 NULL begins at the first.
SELECT account, name, created_at, tags, settings FROM activities WHERE account = ?1 AND name > coalesce(?2, '') ORDER BY name LIMIT ?3;

-- name: delete_activity
-- The activity goes.
DELETE FROM activities WHERE account = ?1 AND name = ?2;

-- name: document
-- A document, unless it had expired at ?4.
SELECT account, kind, id, version, aliases, expires_at, body FROM documents
WHERE account = ?1 AND kind = ?2 AND id = ?3 AND (expires_at IS NULL OR expires_at > ?4);

-- name: document_by_alias
-- The document of an alias, unless it had expired at ?2.
SELECT account, kind, id, version, aliases, expires_at, body FROM aliases JOIN documents ON place = document
WHERE alias = ?1 AND (expires_at IS NULL OR expires_at > ?2);

-- name: documents
-- A page by id, from ?3 up to and without ?4, of those that had not expired at ?5.
SELECT account, kind, id, version, aliases, expires_at, body FROM documents
WHERE account = ?1 AND kind = ?2 AND id >= ?3 AND id < ?4 AND (expires_at IS NULL OR expires_at > ?5) ORDER BY id LIMIT ?6;

-- name: documents_reverse
-- The same from the end.
SELECT account, kind, id, version, aliases, expires_at, body FROM documents
WHERE account = ?1 AND kind = ?2 AND id >= ?3 AND id < ?4 AND (expires_at IS NULL OR expires_at > ?5) ORDER BY id DESC LIMIT ?6;

-- name: document_kept
-- What a write must know of a document, expired or not.
SELECT version, aliases, expires_at FROM documents WHERE account = ?1 AND kind = ?2 AND id = ?3;

-- name: alias_holder
-- What a write must know of the document that has an alias.
SELECT account, kind, id, version, aliases, expires_at FROM aliases JOIN documents ON place = document WHERE alias = ?1;

-- name: put_document
-- A document, new or in the place of the one before.
INSERT INTO documents (account, kind, id, version, aliases, expires_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (account, kind, id) DO UPDATE SET version = excluded.version, aliases = excluded.aliases, expires_at = excluded.expires_at, body = excluded.body
RETURNING place;

-- name: delete_document
-- A document goes; its aliases go by themselves.
DELETE FROM documents WHERE account = ?1 AND kind = ?2 AND id = ?3;

-- name: put_alias
-- An alias, new or another document's now.
INSERT INTO aliases (alias, document) VALUES (?1, ?2) ON CONFLICT (alias) DO UPDATE SET document = excluded.document;

-- name: delete_alias
-- An alias that nobody has any more.
DELETE FROM aliases WHERE alias = ?1;

-- name: write_check
-- A write that changes nothing but proves that writing works.
INSERT INTO meta (key, value) VALUES ('checked_at', ?1) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: page_of_heads
-- A page of all executions by id, with what is needed to write each of them down; ?1 NULL begins at the first.
SELECT number, id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed,
       error, extra, cause, output, coalesce(input, (SELECT body FROM inputs WHERE inputs.number = heads.number))
FROM heads WHERE id > coalesce(?1, '') ORDER BY id LIMIT ?2;

-- name: whole_log
-- All chunks of one execution.
SELECT place, count, body FROM chunks WHERE place >= ?1 AND place < ?2 ORDER BY place;

-- name: numbered_facts
-- The facts after the snapshot, with their numbers.
SELECT place, body FROM facts WHERE place >= ?1 AND place < ?2 ORDER BY place;

-- name: tasks_of
-- Open activity tasks of one execution, in order of opening.
SELECT activity, execution, attempt, input, scheduled_at FROM activity_tasks WHERE execution = ?1 ORDER BY place;

-- name: page_of_revisions
-- A page of all revisions by id.
SELECT id, account, machine, definition, role_arn, created_at, settings FROM revisions WHERE id > coalesce(?1, '') ORDER BY id LIMIT ?2;

-- name: page_of_machines
-- A page of all machines by account and name.
SELECT machines.account, machines.name, type, machines.created_at, updated_at, tags,
       revisions.id, revisions.account, machine, definition, role_arn, revisions.created_at, settings
FROM machines JOIN revisions ON revisions.id = machines.revision
WHERE (machines.account, machines.name) > (?1, ?2) ORDER BY machines.account, machines.name LIMIT ?3;

-- name: page_of_activities
-- A page of all activities by account and name.
SELECT account, name, created_at, tags, settings FROM activities WHERE (account, name) > (?1, ?2) ORDER BY account, name LIMIT ?3;

-- name: page_of_documents
-- A page of all documents by account, kind and id, of those that had not expired at ?4.
SELECT account, kind, id, version, aliases, expires_at, body FROM documents
WHERE (account, kind, id) > (?1, ?2, ?3) AND (expires_at IS NULL OR expires_at > ?4) ORDER BY account, kind, id LIMIT ?5;

-- name: page_of_expired
-- A page of the keys of documents that had expired at ?4.
SELECT account, kind, id FROM documents
WHERE (account, kind, id) > (?1, ?2, ?3) AND expires_at IS NOT NULL AND expires_at <= ?4 ORDER BY account, kind, id LIMIT ?5;

-- name: ended
-- A page, by id, of executions that ended before a time. No index: who removes old executions reads all heads anyway.
SELECT id FROM heads
WHERE id > coalesce(?2, '') AND status NOT IN ('RUNNING', 'PENDING_REDRIVE') AND stopped_at < ?1 ORDER BY id LIMIT ?3;

-- name: size
-- How many rows there are of each kind.
SELECT (SELECT count(*) FROM heads), (SELECT count(*) FROM heads WHERE status IN ('RUNNING', 'PENDING_REDRIVE')), (SELECT count(*) FROM chunks),
       (SELECT count(*) FROM facts), (SELECT count(*) FROM snapshots), (SELECT count(*) FROM inbox), (SELECT count(*) FROM activity_tasks),
       (SELECT count(*) FROM revisions), (SELECT count(*) FROM machines), (SELECT count(*) FROM activities), (SELECT count(*) FROM documents);

-- name: orphans
-- Rows that belong to nothing; deliveries may come before their execution, so those are not looked for.
SELECT 'chunks of an execution that is not there', count(*) FROM (SELECT DISTINCT place >> 26 AS number FROM chunks) c
WHERE NOT EXISTS (SELECT 1 FROM heads WHERE heads.number = c.number)
UNION ALL SELECT 'facts of an execution that is not there', count(*) FROM facts WHERE NOT EXISTS (SELECT 1 FROM heads WHERE heads.number = place >> 26)
UNION ALL SELECT 'a snapshot of an execution that is not there', count(*) FROM snapshots s WHERE NOT EXISTS (SELECT 1 FROM heads h WHERE h.number = s.number)
UNION ALL SELECT 'the long input of an execution that is not there', count(*) FROM inputs i WHERE NOT EXISTS (SELECT 1 FROM heads h WHERE h.number = i.number)
UNION ALL SELECT 'an activity task of an execution that is not there', count(*) FROM activity_tasks t
WHERE NOT EXISTS (SELECT 1 FROM heads WHERE heads.id = t.execution)
UNION ALL SELECT 'an input that is neither in its row nor in inputs', count(*) FROM heads h
WHERE input IS NULL AND NOT EXISTS (SELECT 1 FROM inputs i WHERE i.number = h.number)
UNION ALL SELECT 'a state machine without its revision', count(*) FROM machines m WHERE NOT EXISTS (SELECT 1 FROM revisions r WHERE r.id = m.revision)
UNION ALL SELECT 'an alias that its document does not have', count(*) FROM aliases a
WHERE NOT EXISTS (SELECT 1 FROM documents d WHERE d.place = a.document AND instr(' ' || d.aliases || ' ', ' ' || a.alias || ' '));
