-- The secret that a key for the requests of others had before, by which they may sign until its grace ends. Its row ends with the next
-- rotation, whichever release makes that, and with the key's own secret.
CREATE TABLE former_hook_secrets (
    id        TEXT NOT NULL PRIMARY KEY REFERENCES api_keys (id) ON DELETE CASCADE,
    tenant_id TEXT NOT NULL,
    agent_id  TEXT NOT NULL,
    sealed    BLOB NOT NULL,
    sealed_at INTEGER NOT NULL,
    grantee   TEXT,
    ends_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX former_hook_secrets_by_key ON former_hook_secrets (substr(sealed, 1, 8))
--- next
CREATE INDEX former_hook_secrets_by_end ON former_hook_secrets (ends_at)
--- next
CREATE TRIGGER end_of_a_former_hook_secret AFTER UPDATE OF sealed, sealed_at ON api_keys
WHEN NEW.sealed IS NULL OR NEW.sealed_at IS NOT OLD.sealed_at
BEGIN
    DELETE FROM former_hook_secrets WHERE id = NEW.id AND (NEW.sealed IS NULL OR sealed <> OLD.sealed);
END
