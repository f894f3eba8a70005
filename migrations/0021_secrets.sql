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
