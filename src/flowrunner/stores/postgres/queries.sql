-- Every statement of the PostgreSQL store. Parameters are positional; a write takes columns of many rows as arrays. The schema
-- `flowrunner` stands for the one in the URL.
--
-- `(x IN (SELECT ...)) IS TRUE` instead of plain IN: the planner then looks the ids up in a hash table; as a join it would compare
-- each with each, because hash joins are turned off (link.py).

-- Queries on behalf of a caller make the setting of the row-level security (schema.sql) for their own transaction: `caller` is computed
-- first, because what is beside it needs its account and, having a LIMIT, is not merged with it. The order of the rows is the inner one.
-- `(account = ...) IS TRUE` where another index than the account's is to be used.

-- name: commit
-- One batch of steps: those whose fence holds (`fenced`) and those whose id and name are free (`created`) are stored with all
-- their parts; the ids that come back are theirs. Steps are sorted by id and creations by name key, so that two batches lock in one order.
WITH fenced AS (
  UPDATE flowrunner.heads AS h
  SET revision = s.revision, status = s.status, epoch = h.epoch + 1, last_seq = s.last_seq, stopped_at = s.stopped_at, wake_at = s.wake_at,
      owner = s.owner, error = s.error, extra = s.extra, cause = s.cause, output = s.output, claimed_until = NULL
  FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[],
              $11::text[], $12::text[])
    AS s (id, epoch, revision, status, last_seq, stopped_at, wake_at, owner, error, extra, cause, output)
  WHERE h.id = s.id AND h.epoch = s.epoch RETURNING h.id
), created AS (
  INSERT INTO flowrunner.heads (id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed,
                                error, extra, cause, output, input, machine_key, name_key)
  SELECT n.id, account, machine, name, revision, status, epoch + 1, last_seq, started_at, stopped_at, wake_at, owner, seed,
         error, extra, cause, output, input, machine_key, name_key
  FROM unnest($13::uuid[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::bigint[], $20::bigint[], $21::bigint[],
              $22::bigint[], $23::bigint[], $24::text[], $25::bytea[], $26::text[], $27::text[], $28::text[], $29::text[], $30::text[],
              $31::uuid[], $32::uuid[])
    AS n (id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed, error, extra, cause, output, input,
          machine_key, name_key)
  ON CONFLICT DO NOTHING RETURNING id
), won AS (
  SELECT id FROM fenced UNION ALL SELECT id FROM created
), logged AS (
  INSERT INTO flowrunner.chunks (execution, first_seq, count, body)
  SELECT * FROM unnest($33::uuid[], $34::bigint[], $35::bigint[], $36::bytea[]) AS c (execution, first_seq, count, body)
  WHERE (c.execution IN (SELECT id FROM won)) IS TRUE
), noted AS (
  INSERT INTO flowrunner.facts (execution, number, body)
  SELECT * FROM unnest($37::uuid[], $38::bigint[], $39::bytea[]) AS f (execution, number, body)
  WHERE (f.execution IN (SELECT id FROM won)) IS TRUE
), kept AS (
  INSERT INTO flowrunner.snapshots (execution, body)
  SELECT * FROM unnest($40::uuid[], $41::bytea[]) AS s (execution, body) WHERE (s.execution IN (SELECT id FROM won)) IS TRUE
  ON CONFLICT (execution) DO UPDATE SET body = excluded.body
), cleared AS (
  DELETE FROM flowrunner.facts USING unnest($42::uuid[]) AS gone (id) WHERE execution = gone.id AND (gone.id IN (SELECT id FROM won)) IS TRUE
), without_snapshot AS (
  DELETE FROM flowrunner.snapshots USING unnest($43::uuid[]) AS gone (id) WHERE execution = gone.id AND (gone.id IN (SELECT id FROM won)) IS TRUE
), without_tasks AS (
  DELETE FROM flowrunner.activity_tasks USING unnest($43::uuid[]) AS gone (id)
  WHERE execution = gone.id AND (gone.id IN (SELECT id FROM won)) IS TRUE
), without_inbox AS (
  DELETE FROM flowrunner.inbox USING unnest($44::uuid[]) AS gone (id) WHERE execution = gone.id AND (gone.id IN (SELECT id FROM won)) IS TRUE
)
SELECT id FROM won;

-- name: empty_inboxes
-- What was left for executions while they were over, before they go on.
DELETE FROM flowrunner.inbox WHERE execution = ANY ($1::uuid[]);

-- name: delete_deliveries
-- Deliveries that their executions have taken in.
DELETE FROM flowrunner.inbox USING unnest($1::text[], $2::uuid[]) AS d (delivery, target) WHERE id = d.delivery AND execution = d.target;

-- name: insert_deliveries
-- Idempotent by id, in order. An execution that is over takes no deliveries; one that is not there yet does.
INSERT INTO flowrunner.inbox (id, execution, fact)
SELECT d.id, d.execution, d.fact
FROM unnest($1::text[], $2::uuid[], $3::bytea[]) WITH ORDINALITY AS d (id, execution, fact, place)
WHERE NOT EXISTS (SELECT 1 FROM flowrunner.heads WHERE heads.id = d.execution AND status NOT IN ('RUNNING', 'PENDING_REDRIVE'))
ORDER BY d.place ON CONFLICT DO NOTHING;

-- name: insert_activity_tasks
-- Tasks that wait for a worker, in order.
INSERT INTO flowrunner.activity_tasks (execution, attempt, activity, scheduled_at, input)
SELECT t.execution, t.attempt, t.activity, t.scheduled_at, t.input
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[]) WITH ORDINALITY AS t (execution, attempt, activity, scheduled_at, input, place)
ORDER BY t.place;

-- name: delete_activity_tasks
-- Tasks that no longer wait.
DELETE FROM flowrunner.activity_tasks USING unnest($1::uuid[], $2::bigint[]) AS t (target, number) WHERE execution = t.target AND attempt = t.number;

-- name: forget
-- An execution that has ended, with its log and whatever else there is of it; nothing of one that is open.
WITH gone AS (
  DELETE FROM flowrunner.heads WHERE id = $1 AND status NOT IN ('RUNNING', 'PENDING_REDRIVE') RETURNING id
), without_log AS (
  DELETE FROM flowrunner.chunks USING gone WHERE execution = gone.id
)
DELETE FROM flowrunner.inbox USING gone WHERE execution = gone.id;

-- name: head_by_id
-- One head.
SELECT id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed, error, extra, cause, output, input
FROM flowrunner.heads WHERE id = $1;

-- name: head_by_name
-- One head by the execution's names, on behalf of $1.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT h.id, h.account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed, error, extra, cause, output, input
  FROM flowrunner.heads AS h WHERE name_key = $2 AND (h.account = caller.account) IS TRUE LIMIT 1
) AS found;

-- name: heads_by_names
-- The heads that have these names.
SELECT id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed, error, extra, cause, output, input
FROM flowrunner.heads WHERE name_key = ANY ($1::uuid[]);

-- name: existing
-- Which of these executions are there.
SELECT id FROM flowrunner.heads WHERE id = ANY ($1::uuid[]);

-- name: load
-- One execution of one moment: its head, snapshot, facts and inbox. What an execution that is over still finds in its inbox (left
-- there by another node in the moment of its end) does not count.
SELECT id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed, error, extra, cause, output, input,
       (SELECT body FROM flowrunner.snapshots WHERE execution = h.id) AS snapshot,
       ARRAY(SELECT body FROM flowrunner.facts WHERE execution = h.id ORDER BY number) AS facts,
       ARRAY(SELECT i.id FROM flowrunner.inbox AS i WHERE execution = h.id AND h.status IN ('RUNNING', 'PENDING_REDRIVE') ORDER BY place) AS deliveries,
       ARRAY(SELECT fact FROM flowrunner.inbox WHERE execution = h.id AND h.status IN ('RUNNING', 'PENDING_REDRIVE') ORDER BY place) AS delivered
FROM flowrunner.heads AS h WHERE id = $1;

-- name: positions
-- How far executions have come.
SELECT id, epoch, last_seq, status FROM flowrunner.heads WHERE id = ANY ($1::uuid[]);

-- name: log
-- The chunks that hold up to $3 records after number $2, oldest first.
SELECT first_seq, count, body FROM flowrunner.chunks
WHERE execution = $1
  AND first_seq >= coalesce((SELECT max(first_seq) FROM flowrunner.chunks WHERE execution = $1 AND first_seq <= $2::bigint + 1), 0)
  AND first_seq + count > $2::bigint + 1 AND first_seq < $2::bigint + 1 + $3::bigint
ORDER BY first_seq;

-- name: log_reverse
-- The chunks that hold the last $3 records before number $2 (0: before the end), newest first.
WITH log_end AS (
  SELECT first_seq + count AS stop FROM flowrunner.chunks WHERE execution = $1 ORDER BY first_seq DESC LIMIT 1
), page AS (
  SELECT greatest(1, coalesce(nullif($2::bigint, 0), stop) - $3::bigint) AS first, least(coalesce(nullif($2::bigint, 0), stop), stop) AS stop FROM log_end
)
SELECT first_seq, count, body FROM page, flowrunner.chunks
WHERE execution = $1 AND page.first < page.stop AND first_seq < page.stop
  AND first_seq >= coalesce((SELECT max(c.first_seq) FROM flowrunner.chunks AS c WHERE c.execution = $1 AND c.first_seq <= page.first), 0)
ORDER BY first_seq DESC;

-- name: list_account
-- A page of an account's executions below (started_at, id), on its behalf; texts that lists do not show are left out.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT h.id, h.account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed, error, extra, cause,
         NULL::text AS output, '' AS input
  FROM flowrunner.heads AS h WHERE h.account = caller.account AND (started_at, id) < ($3::bigint, $4::uuid) AND ($2::text IS NULL OR status = $2)
  ORDER BY started_at DESC, id DESC LIMIT $5
) AS found;

-- name: list_machine
-- A page of one machine's executions; with a status, one that most of them have.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT h.id, h.account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed, error, extra, cause,
         NULL::text AS output, '' AS input
  FROM flowrunner.heads AS h
  WHERE machine_key = $6 AND (h.account = caller.account) IS TRUE AND (started_at, id) < ($3::bigint, $4::uuid) AND ($2::text IS NULL OR status = $2)
  ORDER BY started_at DESC, id DESC LIMIT $5
) AS found;

-- name: list_machine_status
-- A page of one machine's executions with a rare status, by its partial index.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT h.id, h.account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed, error, extra, cause,
         NULL::text AS output, '' AS input
  FROM flowrunner.heads AS h
  WHERE machine_key = $6 AND (h.account = caller.account) IS TRUE AND status = $2 AND status <> 'SUCCEEDED' AND (started_at, id) < ($3::bigint, $4::uuid)
  ORDER BY started_at DESC, id DESC LIMIT $5
) AS found;

-- name: due
-- Running executions without an owner that must be looked at and that nobody is about to look at, earliest first.
SELECT id FROM flowrunner.heads
WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NOT NULL AND wake_at <= $1 AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
ORDER BY wake_at, id LIMIT $2;

-- name: claim
-- The same, and nobody else gets them for $3 seconds; two callers at once get different ones.
WITH found AS (
  SELECT id FROM flowrunner.heads
  WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NOT NULL AND wake_at <= $1 AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
  ORDER BY wake_at, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE flowrunner.heads SET claimed_until = clock_timestamp() + make_interval(secs => $3::float8)
FROM found WHERE heads.id = found.id RETURNING heads.id, heads.wake_at;

-- name: next_wake
-- When the earliest of them must be looked at, claimed or not.
SELECT wake_at FROM flowrunner.heads WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NOT NULL ORDER BY wake_at, id LIMIT 1;

-- name: owners
-- Who owns running executions: hops from owner to owner through the index, so thousands of executions of one owner cost one step.
WITH RECURSIVE owners (owner) AS (
  SELECT (SELECT min(owner) FROM flowrunner.heads WHERE status = 'RUNNING' AND owner IS NOT NULL)
  UNION ALL
  SELECT (SELECT min(h.owner) FROM flowrunner.heads AS h WHERE h.status = 'RUNNING' AND h.owner IS NOT NULL AND h.owner > owners.owner)
  FROM owners WHERE owners.owner IS NOT NULL
)
SELECT owner FROM owners WHERE owner IS NOT NULL;

-- name: owned
-- The running executions of these owners.
SELECT h.id FROM unnest($1::text[]) AS wanted (owner)
CROSS JOIN LATERAL (
  SELECT id FROM flowrunner.heads WHERE status = 'RUNNING' AND heads.owner IS NOT NULL AND heads.owner = wanted.owner ORDER BY id LIMIT $2
) AS h LIMIT $2;

-- name: undelivered
-- Deliveries that nobody has consumed, oldest first; see `load` for those to executions that are over.
SELECT id, execution, fact FROM flowrunner.inbox
WHERE NOT EXISTS (SELECT 1 FROM flowrunner.heads WHERE heads.id = inbox.execution AND status NOT IN ('RUNNING', 'PENDING_REDRIVE'))
ORDER BY place LIMIT $1;

-- name: activity_tasks
-- Open tasks of one activity, oldest first.
SELECT activity, execution, attempt, input, scheduled_at FROM flowrunner.activity_tasks WHERE activity = $1 ORDER BY scheduled_at, place LIMIT $2;

-- name: beat
-- A node shows that it is alive.
INSERT INTO flowrunner.nodes AS n (node, beats) VALUES ($1, 0) ON CONFLICT (node) DO UPDATE SET beats = n.beats + 1;

-- name: nodes
-- The counters of all nodes.
SELECT node, beats FROM flowrunner.nodes;

-- name: delete_node
-- A node counts no longer.
DELETE FROM flowrunner.nodes WHERE node = $1;

-- name: insert_revision
-- Revisions never change: one that is there stays as it is.
INSERT INTO flowrunner.revisions (id, account, machine, role_arn, created_at, settings, definition) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING RETURNING id;

-- name: revision
-- A revision by id.
SELECT id, account, machine, definition, role_arn, created_at, settings FROM flowrunner.revisions WHERE id = $1;

-- name: insert_machine
-- A new machine; no row comes back if the name is taken.
INSERT INTO flowrunner.machines (account, name, type, created_at, updated_at, revision, tags) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING RETURNING name;

-- name: update_machine
-- Another revision becomes current; no row comes back if there is no such machine.
UPDATE flowrunner.machines SET revision = $3, updated_at = $4 WHERE account = $1 AND name = $2 RETURNING name;

-- name: tag_machine
-- Other tags; no row comes back if there is no such machine.
UPDATE flowrunner.machines SET tags = $3 WHERE account = $1 AND name = $2 RETURNING name;

-- name: machine
-- A machine with its current revision, on behalf of its account.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT m.account, m.name, type, m.created_at, updated_at, tags, r.id, r.account, machine, definition, role_arn, r.created_at, settings
  FROM flowrunner.machines AS m JOIN flowrunner.revisions AS r ON r.id = m.revision WHERE m.account = caller.account AND m.name = $2 LIMIT 1
) AS found;

-- name: machines
-- A page of an account's machines by name, on its behalf; $2 NULL begins at the first.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT m.account, m.name, type, m.created_at, updated_at, tags, r.id, r.account, machine, definition, role_arn, r.created_at, settings
  FROM flowrunner.machines AS m JOIN flowrunner.revisions AS r ON r.id = m.revision
  WHERE m.account = caller.account AND m.name > coalesce($2::text, '') ORDER BY m.name LIMIT $3
) AS found;

-- name: delete_machine
-- The machine goes, its revisions stay.
DELETE FROM flowrunner.machines WHERE account = $1 AND name = $2;

-- name: insert_activity
-- A new activity; no row comes back if the name is taken.
INSERT INTO flowrunner.activities (account, name, created_at, tags, settings) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING name;

-- name: tag_activity
-- Other tags; no row comes back if there is no such activity.
UPDATE flowrunner.activities SET tags = $3 WHERE account = $1 AND name = $2 RETURNING name;

-- name: activity
-- An activity, on behalf of its account.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT a.account, name, created_at, tags, settings FROM flowrunner.activities AS a WHERE a.account = caller.account AND name = $2 LIMIT 1
) AS found;

-- name: activities
-- A page of an account's activities by name, on its behalf; $2 NULL begins at the first.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT a.account, name, created_at, tags, settings FROM flowrunner.activities AS a
  WHERE a.account = caller.account AND name > coalesce($2::text, '') ORDER BY name LIMIT $3
) AS found;

-- name: delete_activity
-- The activity goes.
DELETE FROM flowrunner.activities WHERE account = $1 AND name = $2;

-- name: document
-- A document, on behalf of its account, unless it had expired at $4.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT d.account, kind, id, version, aliases, expires_at, body FROM flowrunner.documents AS d
  WHERE d.account = caller.account AND kind = $2 AND id = $3 AND (expires_at IS NULL OR expires_at > $4) LIMIT 1
) AS found;

-- name: document_by_alias
-- The document of an alias, unless it had expired at $2.
SELECT d.account, d.kind, d.id, version, aliases, expires_at, body
FROM flowrunner.aliases AS a JOIN flowrunner.documents AS d ON d.account = a.account AND d.kind = a.kind AND d.id = a.id
WHERE alias = $1 AND (expires_at IS NULL OR expires_at > $2);

-- name: documents
-- A page by id, from $3 up to and without $4, on behalf of its account, of those that had not expired at $5.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT d.account, kind, id, version, aliases, expires_at, body FROM flowrunner.documents AS d
  WHERE d.account = caller.account AND kind = $2 AND id >= $3 AND id < $4 AND (expires_at IS NULL OR expires_at > $5) ORDER BY id LIMIT $6
) AS found;

-- name: documents_reverse
-- The same from the end.
SELECT found.* FROM (SELECT set_config('flowrunner.account', $1, true) AS account OFFSET 0) AS caller CROSS JOIN LATERAL (
  SELECT d.account, kind, id, version, aliases, expires_at, body FROM flowrunner.documents AS d
  WHERE d.account = caller.account AND kind = $2 AND id >= $3 AND id < $4 AND (expires_at IS NULL OR expires_at > $5) ORDER BY id DESC LIMIT $6
) AS found;

-- name: lock_documents
-- To the end of the transaction nobody else writes what these numbers stand for; in order, so that nobody waits in a circle.
SELECT pg_advisory_xact_lock(number) FROM unnest($1::bigint[]) AS number;

-- name: documents_kept
-- What a write must know, expired or not: the documents with these keys, and those that have these aliases.
SELECT NULL::text AS alias, d.account, d.kind, d.id, version, aliases, expires_at
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (account, kind, id)
JOIN flowrunner.documents AS d ON d.account = k.account AND d.kind = k.kind AND d.id = k.id
UNION ALL
SELECT a.alias, d.account, d.kind, d.id, version, aliases, expires_at
FROM flowrunner.aliases AS a JOIN flowrunner.documents AS d ON d.account = a.account AND d.kind = a.kind AND d.id = a.id
WHERE a.alias = ANY ($4::text[]);

-- name: store_documents
-- Documents to put, documents to remove, aliases to put and aliases to remove; none of them is there twice.
WITH put AS (
  INSERT INTO flowrunner.documents (account, kind, id, version, aliases, expires_at, body)
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bytea[])
  ON CONFLICT (account, kind, id)
  DO UPDATE SET version = excluded.version, aliases = excluded.aliases, expires_at = excluded.expires_at, body = excluded.body
), removed AS (
  DELETE FROM flowrunner.documents AS d USING unnest($8::text[], $9::text[], $10::text[]) AS k (account, kind, id)
  WHERE d.account = k.account AND d.kind = k.kind AND d.id = k.id
), named AS (
  INSERT INTO flowrunner.aliases (alias, account, kind, id)
  SELECT * FROM unnest($11::text[], $12::text[], $13::text[], $14::text[])
  ON CONFLICT (alias) DO UPDATE SET account = excluded.account, kind = excluded.kind, id = excluded.id
)
DELETE FROM flowrunner.aliases WHERE alias = ANY ($15::text[]);

-- name: write_check
-- A write that changes nothing but proves that writing works.
INSERT INTO flowrunner.meta (key, value) VALUES ('checked_at', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: server
-- What the server is like.
SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
       current_setting('synchronous_commit') AS synchronous_commit, pg_is_in_recovery() AS standby;

-- name: archived_sizes
-- A page of executions by id, above $1, with the bytes of their logs; $2 true begins at the first.
SELECT id, coalesce((SELECT sum(octet_length(body)) FROM flowrunner.chunks WHERE execution = h.id), 0)::bigint AS bytes
FROM flowrunner.heads AS h WHERE id >= $1 AND ($2 OR id <> $1) ORDER BY id LIMIT $3;

-- name: archived_heads
-- The heads of executions.
SELECT id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed, error, extra, cause, output, input
FROM flowrunner.heads WHERE id = ANY ($1::uuid[]) ORDER BY id;

-- name: archived_chunks
-- The logs of executions.
SELECT execution, first_seq, count, body FROM flowrunner.chunks WHERE execution = ANY ($1::uuid[]) ORDER BY execution, first_seq;

-- name: archived_snapshots
-- Their snapshots.
SELECT execution, body FROM flowrunner.snapshots WHERE execution = ANY ($1::uuid[]);

-- name: archived_facts
-- Their facts since.
SELECT execution, number, body FROM flowrunner.facts WHERE execution = ANY ($1::uuid[]) ORDER BY execution, number;

-- name: archived_inbox
-- What others left for them, oldest first.
SELECT i.execution, i.id, i.fact FROM flowrunner.inbox AS i
WHERE i.execution = ANY ($1::uuid[])
  AND NOT EXISTS (SELECT 1 FROM flowrunner.heads WHERE heads.id = i.execution AND status NOT IN ('RUNNING', 'PENDING_REDRIVE'))
ORDER BY i.place;

-- name: archived_tasks
-- Their open activity tasks, oldest first.
SELECT execution, attempt, activity, scheduled_at, input FROM flowrunner.activity_tasks WHERE execution = ANY ($1::uuid[]) ORDER BY place;

-- name: archived_revisions
-- A page of revisions by id; $1 NULL begins at the first.
SELECT id, account, machine, definition, role_arn, created_at, settings FROM flowrunner.revisions
WHERE id >= coalesce($1::text, '') AND ($1 IS NULL OR id <> $1) ORDER BY id LIMIT $2;

-- name: archived_machines
-- A page of machines by account and name; $1 NULL begins at the first.
SELECT m.account, m.name, type, m.created_at, updated_at, tags, r.id, r.account, machine, definition, role_arn, r.created_at, settings
FROM flowrunner.machines AS m JOIN flowrunner.revisions AS r ON r.id = m.revision
WHERE (m.account, m.name) >= (coalesce($1::text, ''), coalesce($2::text, '')) AND ($1 IS NULL OR (m.account, m.name) <> ($1, $2::text))
ORDER BY m.account, m.name LIMIT $3;

-- name: archived_activities
-- A page of activities by account and name; $1 NULL begins at the first.
SELECT account, name, created_at, tags, settings FROM flowrunner.activities
WHERE (account, name) >= (coalesce($1::text, ''), coalesce($2::text, '')) AND ($1 IS NULL OR (account, name) <> ($1, $2::text))
ORDER BY account, name LIMIT $3;

-- name: archived_documents
-- A page of documents by account, kind and id, of those that had not expired at $4; $1 NULL begins at the first. It ends where it has $6 bytes.
SELECT account, kind, id, version, aliases, expires_at, body FROM (
  SELECT account, kind, id, version, aliases, expires_at, body, sum(octet_length(body)) OVER (ORDER BY account, kind, id ROWS UNBOUNDED PRECEDING) - octet_length(body) AS before
  FROM (
    SELECT account, kind, id, version, aliases, expires_at, body FROM flowrunner.documents
    WHERE (account, kind, id) >= (coalesce($1::text, ''), coalesce($2::text, ''), coalesce($3::text, ''))
      AND ($1 IS NULL OR (account, kind, id) <> ($1, $2, $3)) AND (expires_at IS NULL OR expires_at > $4::bigint)
    ORDER BY account, kind, id LIMIT $5
  ) AS page
) AS sized
WHERE before < $6 ORDER BY account, kind, id;

-- name: archived_expired
-- A page of the keys of documents that had expired at $4; $1 NULL begins at the first.
SELECT account, kind, id FROM flowrunner.documents
WHERE (account, kind, id) >= (coalesce($1::text, ''), coalesce($2::text, ''), coalesce($3::text, ''))
  AND ($1 IS NULL OR (account, kind, id) <> ($1, $2, $3)) AND expires_at IS NOT NULL AND expires_at <= $4
ORDER BY account, kind, id LIMIT $5;

-- name: put_head
-- A head as it is, epoch included; no row comes back if its id or name exists.
INSERT INTO flowrunner.heads (id, account, machine, name, revision, status, epoch, last_seq, started_at, stopped_at, wake_at, owner, seed,
                              error, extra, cause, output, input, machine_key, name_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
ON CONFLICT DO NOTHING RETURNING id;

-- name: put_chunks
-- A log.
INSERT INTO flowrunner.chunks (execution, first_seq, count, body) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[]);

-- name: put_snapshot
-- A snapshot.
INSERT INTO flowrunner.snapshots (execution, body) VALUES ($1, $2);

-- name: put_facts
-- Facts.
INSERT INTO flowrunner.facts (execution, number, body) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]);

-- name: ended
-- A page, by id, of executions that ended before $1, above $2; $3 true begins at the first.
SELECT id FROM flowrunner.heads
WHERE id >= $2 AND ($3 OR id <> $2) AND status NOT IN ('RUNNING', 'PENDING_REDRIVE') AND stopped_at < $1 ORDER BY id LIMIT $4;

-- name: size
-- How much there is; the bytes with indexes.
SELECT (SELECT count(*) FROM flowrunner.heads) AS executions,
       (SELECT count(*) FROM flowrunner.heads WHERE status IN ('RUNNING', 'PENDING_REDRIVE')) AS "open executions", (SELECT count(*) FROM flowrunner.chunks) AS chunks,
       (SELECT count(*) FROM flowrunner.facts) AS facts, (SELECT count(*) FROM flowrunner.snapshots) AS snapshots,
       (SELECT count(*) FROM flowrunner.inbox) AS inbox, (SELECT count(*) FROM flowrunner.activity_tasks) AS "activity tasks",
       (SELECT count(*) FROM flowrunner.revisions) AS revisions, (SELECT count(*) FROM flowrunner.machines) AS machines,
       (SELECT count(*) FROM flowrunner.activities) AS activities, (SELECT count(*) FROM flowrunner.documents) AS documents,
       (SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relkind = 'r') AS bytes;
