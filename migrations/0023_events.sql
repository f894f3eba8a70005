-- Events: what happened, for the inboxes of agents and for the webhooks of people.

-- An event whose cause is the empty text counts for nobody: it always arrives, and of such the newest are kept.
DROP TRIGGER usage_of_a_caused_event
--- next
CREATE TRIGGER usage_of_a_caused_event AFTER INSERT ON inbox WHEN NEW.caused_by <> ''
BEGIN
    UPDATE usage SET bytes = bytes + 64 + length(CAST(NEW.data AS BLOB))
    WHERE subject_id IN (NEW.caused_by, (SELECT u.tenant_id FROM users u WHERE u.id = NEW.caused_by));
END
--- next
DROP TRIGGER usage_of_a_caused_event_that_is_gone
--- next
CREATE TRIGGER usage_of_a_caused_event_that_is_gone AFTER DELETE ON inbox WHEN OLD.caused_by <> ''
BEGIN
    UPDATE usage SET bytes = bytes - 64 - length(CAST(OLD.data AS BLOB))
    WHERE subject_id IN (OLD.caused_by, (SELECT u.tenant_id FROM users u WHERE u.id = OLD.caused_by));
END
--- next
-- Where a person wants events sent.
CREATE TABLE webhooks (
    id                  TEXT NOT NULL PRIMARY KEY,
    tenant_id           TEXT NOT NULL REFERENCES tenants (id),
    user_id             TEXT NOT NULL REFERENCES users (id), -- it sees what this person may see
    name                TEXT NOT NULL,
    url                 TEXT NOT NULL,
    kinds               TEXT CHECK (json_valid(kinds)),      -- an array of words and groups; NULL: all
    agents              TEXT CHECK (json_valid(agents)),     -- an array of ids; NULL: all
    takes_notifications INTEGER NOT NULL CHECK (takes_notifications IN (0, 1)),
    sealed              BLOB,             -- its secret; NULL once the operator revoked it
    sealed_at           INTEGER NOT NULL,
    former              BLOB,             -- the secret before, which signs too until former_ends
    former_ends         INTEGER,
    state               TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    why                 TEXT CHECK (why IN ('by_hand', 'gone', 'failing', 'revoked')),
    failures            INTEGER NOT NULL DEFAULT 0, -- tries since the last one that arrived
    failing_since       INTEGER,
    left_out            INTEGER NOT NULL DEFAULT 0, -- events that it did not get, since too many waited
    leased_until        INTEGER NOT NULL DEFAULT 0, -- nobody sends to it until then but the sender that took it
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    CHECK ((state = 'disabled') = (why IS NOT NULL))
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX webhooks_by_tenant ON webhooks (tenant_id, created_at, id)
--- next
CREATE INDEX webhooks_of_a_user ON webhooks (user_id)
--- next
CREATE INDEX webhooks_active ON webhooks (tenant_id, takes_notifications) WHERE state = 'active'
--- next
CREATE INDEX webhooks_by_lease ON webhooks (leased_until) WHERE state = 'active'
--- next
-- What has happened and is not yet given to the webhooks that ask for it. Written only where there is an active webhook.
CREATE TABLE events (
    seq       INTEGER NOT NULL PRIMARY KEY,
    id        TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    kind      TEXT NOT NULL,
    agent_id  TEXT, -- the agent that it is about
    agent     TEXT, -- its name then
    user_id   TEXT, -- the user that it is about; of an agent, its owner then
    at        INTEGER NOT NULL,
    data      TEXT NOT NULL -- a JSON object; never a secret
) STRICT
--- next
-- What is to be sent to a webhook, and what was or could not be.
CREATE TABLE deliveries (
    id         TEXT NOT NULL PRIMARY KEY,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id   TEXT NOT NULL,
    kind       TEXT NOT NULL,
    agent_id   TEXT,
    agent      TEXT,
    user_id    TEXT,
    at         INTEGER NOT NULL,
    data       TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'dead')),
    tries      INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL, -- due: when it is tried next; sent or dead: when that came about
    status     INTEGER,          -- of the last answer
    answer     TEXT,             -- its beginning
    error      TEXT,             -- why there was none, or why it is not good; short
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX deliveries_by_turn ON deliveries (webhook_id, state, due_at)
--- next
CREATE INDEX deliveries_by_age ON deliveries (webhook_id, created_at, id)
--- next
CREATE INDEX deliveries_by_end ON deliveries (state, due_at)
--- next
-- A notification is an event too, for webhooks alone. While very many events wait, it is left out.
CREATE TRIGGER event_of_a_notification AFTER INSERT ON notifications
WHEN NEW.agent_id IS NOT NULL
     AND EXISTS (SELECT 1 FROM webhooks w WHERE w.tenant_id = NEW.tenant_id AND w.state = 'active' AND w.takes_notifications = 1)
     AND ifnull((SELECT max(seq) FROM events) - (SELECT min(seq) FROM events), 0) < 20000
BEGIN
    INSERT INTO events (id, tenant_id, kind, agent_id, agent, user_id, at, data)
    VALUES ('msg_' || substr(NEW.id, 5), NEW.tenant_id, 'notification', NEW.agent_id, substr(NEW.source, 7), NEW.user_id, NEW.created_at,
            json_object('notification_id', NEW.id, 'user_id', NEW.user_id, 'priority', NEW.priority));
END
--- next
-- A deleted user gets no events by a webhook made before.
CREATE TRIGGER webhooks_end_with_the_user AFTER UPDATE OF deleted_at ON users WHEN NEW.deleted_at IS NOT NULL
BEGIN
    DELETE FROM webhooks WHERE user_id = NEW.id;
END
--- next
-- When the agent was found to have spent more than its budget; NULL: it has not, or nobody knows yet.
ALTER TABLE agents ADD COLUMN over_budget_at INTEGER
--- next
-- The days before its end of which the credential's people were told last: 7, then 1.
ALTER TABLE credentials ADD COLUMN told_days INTEGER
--- next
INSERT INTO leases (name, until) VALUES ('expiring', 0)
