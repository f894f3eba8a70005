-- Probes: checks of other services' APIs with secrets of agents, and what they found last.

CREATE TABLE probes (
    id            TEXT NOT NULL PRIMARY KEY,
    agent_id      TEXT NOT NULL REFERENCES agents (id),
    name          TEXT NOT NULL,
    method        TEXT NOT NULL CHECK (method IN ('GET', 'HEAD', 'POST')),
    url           TEXT NOT NULL,
    secret        TEXT NOT NULL, -- the name of one of the agent's secrets, which need not be there
    header        TEXT NOT NULL,
    scheme        TEXT NOT NULL, -- stands before the secret in the header; empty: nothing does
    expect_status INTEGER NOT NULL CHECK (expect_status BETWEEN 200 AND 299),
    every_hours   INTEGER CHECK (every_hours BETWEEN 1 AND 168), -- NULL: only by hand and after a heartbeat
    created_at    INTEGER NOT NULL,
    created_by    TEXT NOT NULL, -- a user or an agent
    status        TEXT, -- NULL: it was not run
    http_status   INTEGER,
    detail        TEXT,
    checked_at    INTEGER,
    changed_at    INTEGER, -- since when the status is this one
    due_at        INTEGER, -- NULL: the tick does not run it
    busy_until    INTEGER NOT NULL DEFAULT 0, -- no other instance runs it before
    UNIQUE (agent_id, name)
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX probes_due ON probes (due_at) WHERE due_at IS NOT NULL
