-- Version 2: nodes show that they are alive by a counter; times of different clocks are no longer compared.

DROP TABLE leases;

-- The nodes that serve this file. `beats` counts up as long as the node is alive.
CREATE TABLE nodes (
  node TEXT PRIMARY KEY,
  beats INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
