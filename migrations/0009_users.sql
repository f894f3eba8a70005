-- Users can be deleted: the row stays, so that the audit trail and what was archived go on to say who it was; its address is free.

ALTER TABLE users ADD COLUMN deleted_at INTEGER
--- next
-- The admins that a tenant must not lose the last of.
CREATE INDEX users_admins ON users (tenant_id) WHERE role = 'admin' AND deactivated_at IS NULL
--- next
-- Who is deleted leaves no archived agents behind.
CREATE INDEX agents_archived_by_owner ON agents (owner_id) WHERE archived_at IS NOT NULL
--- next
-- What still waits to be sent to somebody, or was given up.
CREATE INDEX outbox_by_user ON outbox (user_id) WHERE state <> 'sent'
