-- Asking the trail what a credential or a request did, and remembering which credentials there were.

CREATE INDEX audit_by_credential ON audit (credential_id, seq) WHERE credential_id IS NOT NULL
--- next
CREATE INDEX audit_by_request ON audit (request_id, seq) WHERE request_id IS NOT NULL
--- next
-- Credentials whose rows went with their purged agent: audit rows go on to name them.
CREATE TABLE purged_credentials (
    id     TEXT NOT NULL PRIMARY KEY,
    kind   TEXT NOT NULL,
    key_id TEXT -- whose secret it was, of an API key's
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX purged_by_key ON purged_credentials (key_id) WHERE key_id IS NOT NULL
--- next
-- All secrets that a key ever had.
CREATE INDEX credentials_by_key ON credentials (key_id) WHERE key_id IS NOT NULL
--- next
-- What the tick said last of the schema, so that it logs a change once; NULL: that it is as the migrations make it.
ALTER TABLE schema_info ADD COLUMN schema_said TEXT
