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
