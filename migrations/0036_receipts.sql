-- A closure can be signed: it knows the row of its change in the trail, and by name what has ended.
ALTER TABLE closures ADD COLUMN audit_id TEXT
--- next
ALTER TABLE closures ADD COLUMN ids TEXT
--- next
DROP TRIGGER a_closure_is_only_closed
--- next
CREATE TRIGGER a_closure_is_only_closed BEFORE UPDATE ON closures
WHEN OLD.closed_at IS NOT NULL OR (OLD.id, OLD.tenant_id, OLD.user_id, OLD.agent_id, OLD.action, OLD.object_id, OLD.at, OLD.since, OLD.epoch, OLD.ended, OLD.audit_id, OLD.ids)
     IS NOT (NEW.id, NEW.tenant_id, NEW.user_id, NEW.agent_id, NEW.action, NEW.object_id, NEW.at, NEW.since, NEW.epoch, NEW.ended, NEW.audit_id, NEW.ids)
BEGIN
    SELECT RAISE(ABORT, 'a closure stays as it is');
END
--- next
-- A service that is gone, or that fewer may ask about or use: what guards remember of its tokens may no longer be so.
CREATE TRIGGER epoch_of_a_deleted_resource AFTER DELETE ON resources
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (OLD.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = OLD.tenant_id), 0), 'tenant', OLD.tenant_id, 'narrowed');
END
--- next
-- Lists cannot be compared here: each change of one counts.
CREATE TRIGGER epoch_of_a_changed_resource AFTER UPDATE OF scopes, introspectors ON resources
WHEN NEW.scopes <> OLD.scopes OR NEW.introspectors <> OLD.introspectors
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'tenant', NEW.tenant_id, 'narrowed');
END
--- next
-- A secret of a client that was found in the open proves nothing from then on. It stays in place: a client without one is public.
ALTER TABLE oauth_clients ADD COLUMN secret_ended_at INTEGER
--- next
CREATE UNIQUE INDEX oauth_clients_by_secret ON oauth_clients (secret) WHERE secret IS NOT NULL
