-- Who made each credential, with what, and on whose grant its making rests.

-- The id of the user or agent that made it; NULL: made before this was recorded.
ALTER TABLE credentials ADD COLUMN minted_by TEXT
--- next
-- The record's id of the credential that it was made with.
ALTER TABLE credentials ADD COLUMN minted_with TEXT
--- next
-- The id of the user or agent that could make it only as an editor of the agent; NULL: its maker was owner or admin. What is made with
-- such a credential has the same one. It reaches its agent alone, and ends with the grant.
ALTER TABLE credentials ADD COLUMN grantee TEXT
--- next
CREATE INDEX credentials_under_grants ON credentials (grantee) WHERE grantee IS NOT NULL AND revoked_at IS NULL
--- next
-- The same of a webhook's secret, which is not a credential.
ALTER TABLE api_keys ADD COLUMN minted_by TEXT
--- next
ALTER TABLE api_keys ADD COLUMN minted_with TEXT
--- next
ALTER TABLE api_keys ADD COLUMN grantee TEXT
--- next
CREATE INDEX api_keys_under_grants ON api_keys (grantee) WHERE grantee IS NOT NULL AND sealed IS NOT NULL
--- next
-- Users and agents that lost a right in the transaction that is under way, however it came about: before it commits, what rests on
-- their grants ends, and they are removed from here.
CREATE TABLE lost_rights (
    tenant_id  TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    PRIMARY KEY (tenant_id, subject_id)
) STRICT, WITHOUT ROWID
--- next
CREATE TRIGGER a_grant_was_lost AFTER DELETE ON grants WHEN OLD.relation = 'editor'
BEGIN
    INSERT INTO lost_rights (tenant_id, subject_id) VALUES (OLD.tenant_id, OLD.subject_id) ON CONFLICT DO NOTHING;
END
--- next
CREATE TRIGGER a_role_was_lost AFTER UPDATE OF role, deactivated_at ON users
WHEN NEW.role <> OLD.role OR NEW.deactivated_at IS NOT OLD.deactivated_at
BEGIN
    INSERT INTO lost_rights (tenant_id, subject_id) VALUES (NEW.tenant_id, NEW.id) ON CONFLICT DO NOTHING;
END
--- next
CREATE TRIGGER an_owner_or_a_ceiling_was_lost AFTER UPDATE OF owner_id, archived_at, scope ON agents
WHEN NEW.owner_id <> OLD.owner_id OR NEW.archived_at IS NOT OLD.archived_at OR NEW.scope <> OLD.scope
BEGIN
    INSERT INTO lost_rights (tenant_id, subject_id) VALUES (NEW.tenant_id, NEW.id) ON CONFLICT DO NOTHING;
END
