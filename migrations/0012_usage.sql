-- What each tenant and each person stores, for their quotas.

-- Bytes in the agent's inbox and log.
ALTER TABLE agents ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0
--- next
UPDATE agents SET stored_bytes =
    ifnull((SELECT sum(64 + length(CAST(i.data AS BLOB))) FROM inbox i WHERE i.agent_id = agents.id), 0)
    + ifnull((SELECT sum(64 + length(CAST(l.text AS BLOB))) FROM agent_logs l WHERE l.agent_id = agents.id), 0)
--- next
-- Whether no agent may notify the person any more, since they keep as many notifications as they may.
ALTER TABLE users ADD COLUMN is_notified_enough INTEGER NOT NULL DEFAULT 0 CHECK (is_notified_enough IN (0, 1))
--- next
CREATE INDEX users_notified_enough ON users (id) WHERE is_notified_enough = 1
--- next
-- Whose quota a kept answer counts for. NULL: it is small, and their number bounds it.
ALTER TABLE idempotency ADD COLUMN user_id TEXT
--- next
CREATE TABLE usage (
    subject_id TEXT NOT NULL PRIMARY KEY, -- a tenant or a user
    agents     INTEGER NOT NULL DEFAULT 0, -- those that are not archived
    bytes      INTEGER NOT NULL DEFAULT 0  -- in the inboxes and logs of all agents, and in kept answers
) STRICT, WITHOUT ROWID
--- next
INSERT INTO usage (subject_id, agents, bytes)
SELECT t.id, ifnull(s.agents, 0), ifnull(s.bytes, 0)
FROM tenants t LEFT JOIN (SELECT tenant_id, count(*) FILTER (WHERE archived_at IS NULL) AS agents, sum(stored_bytes) AS bytes FROM agents GROUP BY tenant_id) s ON s.tenant_id = t.id
--- next
INSERT INTO usage (subject_id, agents, bytes)
SELECT u.id, ifnull(s.agents, 0), ifnull(s.bytes, 0)
FROM users u LEFT JOIN (SELECT owner_id, count(*) FILTER (WHERE archived_at IS NULL) AS agents, sum(stored_bytes) AS bytes FROM agents GROUP BY owner_id) s ON s.owner_id = u.id
--- next
CREATE TRIGGER usage_of_a_tenant AFTER INSERT ON tenants
BEGIN
    INSERT INTO usage (subject_id) VALUES (NEW.id) ON CONFLICT (subject_id) DO NOTHING;
END
--- next
CREATE TRIGGER usage_of_a_user AFTER INSERT ON users
BEGIN
    INSERT INTO usage (subject_id) VALUES (NEW.id) ON CONFLICT (subject_id) DO NOTHING;
END
--- next
CREATE TRIGGER usage_of_a_new_agent AFTER INSERT ON agents
BEGIN
    UPDATE usage SET agents = agents + 1 WHERE subject_id IN (NEW.tenant_id, NEW.owner_id);
END
--- next
CREATE TRIGGER usage_of_a_deleted_agent AFTER DELETE ON agents
BEGIN
    UPDATE usage SET agents = agents - (OLD.archived_at IS NULL), bytes = bytes - OLD.stored_bytes
    WHERE subject_id IN (OLD.tenant_id, OLD.owner_id);
END
--- next
CREATE TRIGGER usage_of_an_agent_that_is_given_archived_or_restored AFTER UPDATE OF owner_id, archived_at ON agents
WHEN NEW.owner_id <> OLD.owner_id OR (NEW.archived_at IS NULL) <> (OLD.archived_at IS NULL)
BEGIN
    UPDATE usage SET agents = agents - (OLD.archived_at IS NULL), bytes = bytes - OLD.stored_bytes
    WHERE subject_id IN (OLD.tenant_id, OLD.owner_id);
    UPDATE usage SET agents = agents + (NEW.archived_at IS NULL), bytes = bytes + OLD.stored_bytes
    WHERE subject_id IN (NEW.tenant_id, NEW.owner_id);
END
--- next
CREATE TRIGGER usage_of_what_an_agent_stores AFTER UPDATE OF stored_bytes ON agents WHEN NEW.stored_bytes <> OLD.stored_bytes
BEGIN
    UPDATE usage SET bytes = bytes + NEW.stored_bytes - OLD.stored_bytes WHERE subject_id IN (NEW.tenant_id, NEW.owner_id);
END
--- next
CREATE TRIGGER usage_of_an_event AFTER INSERT ON inbox
BEGIN
    UPDATE agents SET stored_bytes = stored_bytes + 64 + length(CAST(NEW.data AS BLOB)) WHERE id = NEW.agent_id;
END
--- next
CREATE TRIGGER usage_of_an_acknowledged_event AFTER DELETE ON inbox
BEGIN
    UPDATE agents SET stored_bytes = max(0, stored_bytes - 64 - length(CAST(OLD.data AS BLOB))) WHERE id = OLD.agent_id;
END
--- next
DROP TRIGGER append_to_the_log
--- next
-- As it was, and with what the lines take: those that are forgotten give it back. A purged agent gives all back at once.
CREATE TRIGGER append_to_the_log INSTEAD OF INSERT ON do_log
BEGIN
    UPDATE agents
    SET log_seq = log_seq + json_array_length(NEW.lines),
        stored_bytes = max(0, stored_bytes
            + (SELECT sum(64 + length(CAST(l.value ->> 'text' AS BLOB))) FROM json_each(NEW.lines) l)
            - ifnull((SELECT sum(64 + length(CAST(o.text AS BLOB))) FROM agent_logs o
                      WHERE o.agent_id = agents.id AND o.seq <= agents.log_seq + json_array_length(NEW.lines) - 10000), 0))
    WHERE id = NEW.agent_id;
    INSERT INTO agent_logs (agent_id, seq, at, level, text)
    SELECT a.id, a.log_seq - json_array_length(NEW.lines) + 1 + l.key, NEW.at, l.value ->> 'level', l.value ->> 'text'
    FROM agents a, json_each(NEW.lines) l WHERE a.id = NEW.agent_id;
    DELETE FROM agent_logs WHERE agent_id = NEW.agent_id AND seq <= (SELECT log_seq - 10000 FROM agents WHERE id = NEW.agent_id);
END
--- next
CREATE TRIGGER usage_of_a_kept_answer AFTER INSERT ON idempotency WHEN NEW.user_id IS NOT NULL
BEGIN
    UPDATE usage SET bytes = bytes + 256 + length(NEW.answer)
    WHERE subject_id IN (NEW.user_id, (SELECT u.tenant_id FROM users u WHERE u.id = NEW.user_id));
END
--- next
-- A key whose time is over is used again.
CREATE TRIGGER usage_of_a_replaced_answer AFTER UPDATE OF answer ON idempotency
BEGIN
    UPDATE usage SET bytes = bytes - 256 - length(OLD.answer)
    WHERE OLD.user_id IS NOT NULL AND subject_id IN (OLD.user_id, (SELECT u.tenant_id FROM users u WHERE u.id = OLD.user_id));
    UPDATE usage SET bytes = bytes + 256 + length(NEW.answer)
    WHERE NEW.user_id IS NOT NULL AND subject_id IN (NEW.user_id, (SELECT u.tenant_id FROM users u WHERE u.id = NEW.user_id));
END
--- next
CREATE TRIGGER usage_of_a_forgotten_answer AFTER DELETE ON idempotency WHEN OLD.user_id IS NOT NULL
BEGIN
    UPDATE usage SET bytes = bytes - 256 - length(OLD.answer)
    WHERE subject_id IN (OLD.user_id, (SELECT u.tenant_id FROM users u WHERE u.id = OLD.user_id));
END
--- next
-- Live credentials, sessions apart: they end within a day, and the sign-in bounds them.
CREATE INDEX credentials_live_by_user ON credentials (user_id, expires_at) WHERE revoked_at IS NULL AND kind <> 'session'
--- next
CREATE INDEX credentials_live_by_tenant ON credentials (tenant_id, expires_at) WHERE revoked_at IS NULL AND kind <> 'session'
--- next
-- Whether the operator was told that the database is nearly full: 1 until it is so no more.
INSERT INTO leases (name, until) VALUES ('nearly full', 0)
