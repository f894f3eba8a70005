-- Deployments: an agent's runtime is asked to run it, and answers by a heartbeat. `deploy_until`: until when that is awaited; null when the
-- runtime itself has said that it failed.
ALTER TABLE agents ADD COLUMN deploy_status TEXT CHECK (deploy_status IN ('deploying', 'running', 'failed'))
--- next
ALTER TABLE agents ADD COLUMN deploy_at INTEGER
--- next
ALTER TABLE agents ADD COLUMN deploy_by TEXT
--- next
ALTER TABLE agents ADD COLUMN deploy_until INTEGER
--- next
ALTER TABLE agents ADD COLUMN deploy_ended_at INTEGER
--- next
ALTER TABLE agents ADD COLUMN deploy_reason TEXT
--- next
-- For the tick: deployments that nobody has answered in time.
CREATE INDEX agents_deploying ON agents (deploy_until) WHERE deploy_status = 'deploying' AND archived_at IS NULL
--- next
-- For open pages: has an agent of this tenant, or of this owner, changed since the last look?
CREATE INDEX agents_by_change ON agents (tenant_id, updated_at)
--- next
CREATE INDEX agents_by_change_of_owner ON agents (owner_id, updated_at)
--- next
-- For the tick, which deletes what has ended long ago.
CREATE INDEX credentials_by_end ON credentials (ifnull(revoked_at, expires_at)) WHERE key_id IS NULL OR replaced_by IS NOT NULL
--- next
CREATE INDEX inbox_by_age ON inbox (created_at)
--- next
CREATE INDEX logs_by_age ON agent_logs (at)
--- next
INSERT INTO leases (name, until) VALUES ('audit retention', 0)
--- next
-- The audit rows up to here were deleted, with their seals, since they were older than the operator keeps them. What follows goes on to be
-- verified from here. The newest one is enough.
CREATE TABLE audit_checkpoints (
    to_seq   INTEGER PRIMARY KEY, -- the last row that is gone
    rows     INTEGER NOT NULL, -- how many are gone in all
    made_at  INTEGER NOT NULL,
    seal_key BLOB NOT NULL CHECK (length(seal_key) = 8), -- which key made the last seal that is gone
    seal     BLOB NOT NULL CHECK (length(seal) = 32), -- and its mac, which the next seal continues
    key_id   BLOB NOT NULL CHECK (length(key_id) = 8),
    mac      BLOB NOT NULL CHECK (length(mac) = 32) -- HMAC-SHA-256 over all of this
) STRICT
