-- Notifications for people, the inbox of each agent.

CREATE TABLE notifications (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    user_id    TEXT NOT NULL REFERENCES users (id), -- whom it tells
    agent_id   TEXT REFERENCES agents (id),         -- who tells it; NULL: the server itself
    source     TEXT NOT NULL,                       -- 'agent:<name>' as it was then, or 'accredit'
    title      TEXT NOT NULL,
    body       TEXT NOT NULL,
    priority   TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'high')),
    app_origin TEXT,                                -- what the agent says that it speaks for
    action_url TEXT,
    created_at INTEGER NOT NULL,
    read_at    INTEGER
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX notifications_by_user ON notifications (user_id, created_at, id)
--- next
CREATE INDEX notifications_unread ON notifications (user_id) WHERE read_at IS NULL
--- next
CREATE INDEX notifications_by_age ON notifications (created_at)
--- next
-- One statement notifies and keeps the answer: what a trigger must know is a column of what is inserted.
CREATE VIEW do_notify AS
SELECT n.id, n.tenant_id, n.user_id, n.agent_id, n.source, n.title, n.body, n.priority, n.app_origin, n.action_url, n.created_at,
       i.digest AS key_digest, i.caller, i.credential_id, i.body_mac, i.status, i.answer, i.expires_at
FROM notifications n, idempotency i
--- next
CREATE TRIGGER notify INSTEAD OF INSERT ON do_notify
BEGIN
    INSERT INTO notifications (id, tenant_id, user_id, agent_id, source, title, body, priority, app_origin, action_url, created_at)
    VALUES (NEW.id, NEW.tenant_id, NEW.user_id, NEW.agent_id, NEW.source, NEW.title, NEW.body, NEW.priority, NEW.app_origin,
            NEW.action_url, NEW.created_at);
    -- A key whose time is over may be used again; one that is live makes the whole statement fail.
    DELETE FROM idempotency WHERE digest = NEW.key_digest AND expires_at <= NEW.created_at;
    INSERT INTO idempotency (digest, caller, credential_id, body_mac, holds_secret, status, answer, expires_at)
    SELECT NEW.key_digest, NEW.caller, NEW.credential_id, NEW.body_mac, 0, NEW.status, NEW.answer, NEW.expires_at
    WHERE NEW.key_digest IS NOT NULL;
END
--- next
-- The number of the agent's last event, whether or not it was acknowledged.
ALTER TABLE agents ADD COLUMN inbox_seq INTEGER NOT NULL DEFAULT 0
--- next
-- Events for agents, each agent's counted by itself. Numbers are given under the write lock, so their order is the order of the
-- commits: who has read up to a number has missed none below it.
CREATE TABLE inbox (
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    seq        INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    data       TEXT NOT NULL, -- a JSON object
    created_at INTEGER NOT NULL,
    PRIMARY KEY (agent_id, seq)
) STRICT, WITHOUT ROWID
