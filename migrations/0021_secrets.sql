-- Secrets of agents; what presets list beside scopes; what else agents have.

-- Credentials of other services, encrypted for tenant, agent and name.
CREATE TABLE agent_secrets (
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    name       TEXT NOT NULL,
    sealed     BLOB NOT NULL, -- which key, nonce, text
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL, -- a user or an agent
    PRIMARY KEY (agent_id, name)
) STRICT, WITHOUT ROWID
--- next
-- What is sealed under which key, to seal it again when the operator replaces the key.
CREATE INDEX agent_secrets_by_key ON agent_secrets (substr(sealed, 1, 8))
--- next
CREATE INDEX api_keys_by_key ON api_keys (substr(sealed, 1, 8)) WHERE sealed IS NOT NULL
--- next
CREATE INDEX factors_by_key ON factors (substr(sealed, 1, 8))
--- next
CREATE TRIGGER usage_of_a_secret AFTER INSERT ON agent_secrets
BEGIN
    UPDATE agents SET stored_bytes = stored_bytes + 128 + length(NEW.sealed) WHERE id = NEW.agent_id;
END
--- next
CREATE TRIGGER usage_of_a_changed_secret AFTER UPDATE OF sealed ON agent_secrets
BEGIN
    UPDATE agents SET stored_bytes = max(0, stored_bytes + length(NEW.sealed) - length(OLD.sealed)) WHERE id = NEW.agent_id;
END
--- next
CREATE TRIGGER usage_of_a_deleted_secret AFTER DELETE ON agent_secrets
BEGIN
    UPDATE agents SET stored_bytes = max(0, stored_bytes - 128 - length(OLD.sealed)) WHERE id = OLD.agent_id;
END
--- next
-- Names of secrets and of probes, as JSON, and the settings of an agent that is registered with the preset, as a JSON object.
ALTER TABLE presets ADD COLUMN secrets TEXT NOT NULL DEFAULT '[]'
--- next
ALTER TABLE presets ADD COLUMN probes TEXT NOT NULL DEFAULT '[]'
--- next
ALTER TABLE presets ADD COLUMN defaults TEXT NOT NULL DEFAULT '{}'
--- next
CREATE INDEX agents_by_preset ON agents (tenant_id, preset) WHERE preset IS NOT NULL
--- next
-- What its runtime gives it, as JSON that the server keeps and does not read.
ALTER TABLE agents ADD COLUMN compute TEXT
--- next
-- What it may touch, in words for people.
ALTER TABLE agents ADD COLUMN access TEXT
--- next
DROP TRIGGER an_agent_is_written
--- next
DROP TRIGGER an_agent_is_written_anew
--- next
DROP VIEW written_agents
--- next
-- In the order in which the code writes a single agent; a test compares the two.
CREATE VIEW written_agents AS
SELECT a.id, rtrim(json_object(
    'id', a.id, 'name', a.name, 'display_name', a.display_name, 'description', a.description, 'runtime', a.runtime, 'model', a.model,
    'url', a.url, 'compute', json(a.compute), 'access', a.access, 'labels', json(a.labels),
    'scope', json(iif(a.scope = '', '[]', '["' || replace(a.scope, ' ', '","') || '"]')),
    'preset', a.preset, 'preset_version', a.preset_version, 'tier', a.tier, 'max_concurrent_tasks', a.max_concurrent_tasks,
    'budget_cents', a.budget_cents, 'spent_cents', a.spent_cents, 'state', a.state,
    'state_changed_at', strftime('%Y-%m-%dT%H:%M:%fZ', a.state_changed_at / 1000.0, 'unixepoch'),
    'state_changed_by', a.state_changed_by,
    'created_at', strftime('%Y-%m-%dT%H:%M:%fZ', a.created_at / 1000.0, 'unixepoch'),
    'updated_at', strftime('%Y-%m-%dT%H:%M:%fZ', a.updated_at / 1000.0, 'unixepoch'),
    'last_seen_at', strftime('%Y-%m-%dT%H:%M:%fZ', a.last_seen_at / 1000.0, 'unixepoch')), '}') AS text
FROM agents a
--- next
CREATE TRIGGER an_agent_is_written AFTER INSERT ON agents
BEGIN
    UPDATE agents SET written = (SELECT text FROM written_agents WHERE id = NEW.id) WHERE id = NEW.id;
END
--- next
CREATE TRIGGER an_agent_is_written_anew AFTER UPDATE OF name, display_name, description, runtime, model, url, compute, access, labels, scope,
    preset, preset_version, tier, max_concurrent_tasks, budget_cents, spent_cents, state, state_changed_at, state_changed_by, created_at,
    updated_at, last_seen_at ON agents
BEGIN
    UPDATE agents SET written = (SELECT text FROM written_agents WHERE id = NEW.id) WHERE id = NEW.id;
END
--- next
UPDATE agents SET written = (SELECT w.text FROM written_agents w WHERE w.id = agents.id)
