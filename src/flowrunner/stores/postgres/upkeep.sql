-- What looks for damage. Unlike queries.sql these read everything once, and are planned freely.

-- name: orphans
-- Rows that belong to nothing; deliveries may come before their execution, so those are not looked for.
SELECT 'chunks of an execution that is not there' AS what, count(DISTINCT execution) AS times FROM flowrunner.chunks AS c
WHERE NOT EXISTS (SELECT 1 FROM flowrunner.heads AS h WHERE h.id = c.execution)
UNION ALL SELECT 'facts of an execution that is not there', count(*) FROM flowrunner.facts AS f
WHERE NOT EXISTS (SELECT 1 FROM flowrunner.heads AS h WHERE h.id = f.execution)
UNION ALL SELECT 'a snapshot of an execution that is not there', count(*) FROM flowrunner.snapshots AS s
WHERE NOT EXISTS (SELECT 1 FROM flowrunner.heads AS h WHERE h.id = s.execution)
UNION ALL SELECT 'an activity task of an execution that is not there', count(*) FROM flowrunner.activity_tasks AS t
WHERE NOT EXISTS (SELECT 1 FROM flowrunner.heads AS h WHERE h.id = t.execution)
UNION ALL SELECT 'a state machine without its revision', count(*) FROM flowrunner.machines AS m
WHERE NOT EXISTS (SELECT 1 FROM flowrunner.revisions AS r WHERE r.id = m.revision)
UNION ALL SELECT 'an alias that its document does not have', count(*) FROM flowrunner.aliases AS a
WHERE NOT EXISTS (SELECT 1 FROM flowrunner.documents AS d
                  WHERE d.account = a.account AND d.kind = a.kind AND d.id = a.id AND a.alias = ANY (string_to_array(d.aliases, ' ')));

-- name: gaps
-- The first place of each log where a record is missing or there twice, of $1 executions; bodies are not read.
SELECT DISTINCT ON (execution) execution, expected - 1 AS before, first_seq
FROM (SELECT execution, first_seq, count,
             1 + coalesce(sum(count) OVER (PARTITION BY execution ORDER BY first_seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::bigint AS expected
      FROM flowrunner.chunks) AS c
WHERE first_seq <> expected OR count < 1
ORDER BY execution, first_seq LIMIT $1;

-- name: lengths
-- Logs that are longer or shorter than their heads say, of $1 executions.
SELECT h.id, coalesce(c.records, 0)::bigint AS records, h.last_seq
FROM flowrunner.heads AS h LEFT JOIN (SELECT execution, sum(count) AS records FROM flowrunner.chunks GROUP BY execution) AS c ON c.execution = h.id
WHERE h.last_seq <> coalesce(c.records, 0)
ORDER BY h.id LIMIT $1;
