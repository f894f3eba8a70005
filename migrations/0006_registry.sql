-- The registry in full: what an agent may spend, versions of presets, API keys, logs, requests for access.

-- Where the agent is reached.
ALTER TABLE agents ADD COLUMN url TEXT
--- next
-- 1 is trusted most, 5 least.
ALTER TABLE agents ADD COLUMN tier INTEGER NOT NULL DEFAULT 3 CHECK (tier BETWEEN 1 AND 5)
--- next
ALTER TABLE agents ADD COLUMN max_concurrent_tasks INTEGER NOT NULL DEFAULT 1 CHECK (max_concurrent_tasks BETWEEN 1 AND 1000)
--- next
-- Cents that it may spend; NULL: no bound.
ALTER TABLE agents ADD COLUMN budget_cents INTEGER CHECK (budget_cents >= 0)
--- next
-- Cents that it has spent, as it says itself: a running total, which never falls by its own word.
ALTER TABLE agents ADD COLUMN spent_cents INTEGER NOT NULL DEFAULT 0 CHECK (spent_cents >= 0)
--- next
-- The version of the preset that the ceiling came from.
ALTER TABLE agents ADD COLUMN preset_version INTEGER
--- next
-- Since when the state is what it is, and who set it: a user's address or 'agent:<name>', as it was then.
ALTER TABLE agents ADD COLUMN state_changed_at INTEGER
--- next
ALTER TABLE agents ADD COLUMN state_changed_by TEXT
--- next
-- The number of the agent's last log line, whether or not it is still kept.
ALTER TABLE agents ADD COLUMN log_seq INTEGER NOT NULL DEFAULT 0
--- next
CREATE INDEX agents_archived ON agents (tenant_id, archived_at, id) WHERE archived_at IS NOT NULL
--- next
-- The tenant's own versions of presets. The built-in ones are version 1 of their names, and have no row.
CREATE TABLE presets (
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    scope      TEXT NOT NULL, -- patterns, separated by blanks
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, name, version)
) STRICT, WITHOUT ROWID
--- next
-- API keys of agents. A bearer's secrets are rows of credentials; a webhook's secret is here, encrypted.
CREATE TABLE api_keys (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    name       TEXT NOT NULL,
    type       TEXT NOT NULL CHECK (type IN ('external', 'internal', 'github', 'slack')),
    sealed     BLOB, -- of a webhook: its secret
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL, -- a user or an agent
    UNIQUE (agent_id, name, type),
    CHECK ((type IN ('github', 'slack')) = (sealed IS NOT NULL))
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX api_keys_by_age ON api_keys (agent_id, created_at, id)
--- next
ALTER TABLE credentials ADD COLUMN key_id TEXT
--- next
-- A key has one active secret, and at most one more in its grace, which says what replaced it.
CREATE UNIQUE INDEX one_secret_of_a_key ON credentials (key_id) WHERE key_id IS NOT NULL AND revoked_at IS NULL AND replaced_by IS NULL
--- next
CREATE UNIQUE INDEX one_old_secret_of_a_key ON credentials (key_id) WHERE key_id IS NOT NULL AND revoked_at IS NULL AND replaced_by IS NOT NULL
--- next
-- What an agent wrote into its log, each agent's lines counted by themselves.
CREATE TABLE agent_logs (
    agent_id TEXT NOT NULL REFERENCES agents (id),
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    level    TEXT NOT NULL CHECK (level IN ('debug', 'info', 'warn', 'error')),
    text     TEXT NOT NULL,
    PRIMARY KEY (agent_id, seq)
) STRICT, WITHOUT ROWID
--- next
-- One statement appends lines (a JSON list of {"level", "text"}), numbers them, and forgets all but the newest 10,000.
CREATE VIEW do_log AS SELECT agent_id, at, text AS lines FROM agent_logs
--- next
CREATE TRIGGER append_to_the_log INSTEAD OF INSERT ON do_log
BEGIN
    UPDATE agents SET log_seq = log_seq + json_array_length(NEW.lines) WHERE id = NEW.agent_id;
    INSERT INTO agent_logs (agent_id, seq, at, level, text)
    SELECT a.id, a.log_seq - json_array_length(NEW.lines) + 1 + l.key, NEW.at, l.value ->> 'level', l.value ->> 'text'
    FROM agents a, json_each(NEW.lines) l WHERE a.id = NEW.agent_id;
    DELETE FROM agent_logs WHERE agent_id = NEW.agent_id AND seq <= (SELECT log_seq - 10000 FROM agents WHERE id = NEW.agent_id);
END
--- next
-- What agents ask for, and what people said to it.
CREATE TABLE access_requests (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    scope      TEXT NOT NULL, -- asked for: patterns, sorted, separated by blanks
    reason     TEXT NOT NULL,
    hours      INTEGER NOT NULL,
    state      TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'approved', 'denied', 'revoked')),
    created_at INTEGER NOT NULL,
    granted    TEXT,    -- of an approved one: patterns
    ends_at    INTEGER, -- of an approved one: until when they count
    decided_at INTEGER,
    decided_by TEXT,    -- a user
    CHECK ((state IN ('approved', 'revoked')) = (granted IS NOT NULL AND ends_at IS NOT NULL))
) STRICT, WITHOUT ROWID
--- next
-- Who asks the same again has asked once.
CREATE UNIQUE INDEX one_open_request ON access_requests (agent_id, scope) WHERE state = 'open'
--- next
-- Part of every look-up of an agent's token.
CREATE INDEX access_granted ON access_requests (agent_id, ends_at) WHERE state = 'approved'
--- next
CREATE INDEX access_by_age ON access_requests (tenant_id, created_at, id)
--- next
CREATE INDEX access_by_agent ON access_requests (agent_id, created_at, id)
