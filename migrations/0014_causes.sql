-- What a person causes counts for that person, and not for the owner of the agent that gets it.

-- The id of the person who caused the event, and whose quota it counts for. NULL: the agent's owner's, since it is older than this.
ALTER TABLE inbox ADD COLUMN caused_by TEXT
--- next
CREATE INDEX inbox_by_cause ON inbox (agent_id, caused_by)
--- next
DROP TRIGGER usage_of_an_event
--- next
CREATE TRIGGER usage_of_an_event AFTER INSERT ON inbox WHEN NEW.caused_by IS NULL
BEGIN
    UPDATE agents SET stored_bytes = stored_bytes + 64 + length(CAST(NEW.data AS BLOB)) WHERE id = NEW.agent_id;
END
--- next
DROP TRIGGER usage_of_an_acknowledged_event
--- next
CREATE TRIGGER usage_of_an_acknowledged_event AFTER DELETE ON inbox WHEN OLD.caused_by IS NULL
BEGIN
    UPDATE agents SET stored_bytes = max(0, stored_bytes - 64 - length(CAST(OLD.data AS BLOB))) WHERE id = OLD.agent_id;
END
--- next
CREATE TRIGGER usage_of_a_caused_event AFTER INSERT ON inbox WHEN NEW.caused_by IS NOT NULL
BEGIN
    UPDATE usage SET bytes = bytes + 64 + length(CAST(NEW.data AS BLOB))
    WHERE subject_id IN (NEW.caused_by, (SELECT u.tenant_id FROM users u WHERE u.id = NEW.caused_by));
END
--- next
CREATE TRIGGER usage_of_a_caused_event_that_is_gone AFTER DELETE ON inbox WHEN OLD.caused_by IS NOT NULL
BEGIN
    UPDATE usage SET bytes = bytes - 64 - length(CAST(OLD.data AS BLOB))
    WHERE subject_id IN (OLD.caused_by, (SELECT u.tenant_id FROM users u WHERE u.id = OLD.caused_by));
END
--- next
-- The id of the person whose change a notification of the server's own is about. NULL: nobody's, or it is an agent's.
ALTER TABLE notifications ADD COLUMN caused_by TEXT
--- next
-- The server's own: they are bounded for each cause, and are no part of what agents may send.
CREATE INDEX notifications_of_the_server ON notifications (user_id, caused_by) WHERE source = 'accredit'
--- next
-- Whether no agent of another person may notify the person any more: they may use half of the person's notifications.
ALTER TABLE users ADD COLUMN is_notified_enough_by_others INTEGER NOT NULL DEFAULT 0 CHECK (is_notified_enough_by_others IN (0, 1))
--- next
CREATE INDEX users_notified_enough_by_others ON users (id) WHERE is_notified_enough_by_others = 1
