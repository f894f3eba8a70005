-- Users can be deleted: the row stays, so that the audit trail and what was archived go on to say who it was; its address is free.

ALTER TABLE users ADD COLUMN deleted_at INTEGER
--- next
-- The admins that a tenant must not lose the last of.
CREATE INDEX users_admins ON users (tenant_id) WHERE role = 'admin' AND deactivated_at IS NULL
