-- Confidential clients that prove themselves by a key (RFC 7523, section 2.2) in place of a secret.

-- The row of `key_sets` with the client's public keys.
ALTER TABLE oauth_clients ADD COLUMN key_source TEXT
--- next
-- The keys themselves, if an admin has pasted them: a list in JSON.
ALTER TABLE oauth_clients ADD COLUMN keys TEXT
