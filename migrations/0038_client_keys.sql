-- Confidential clients that prove themselves by a key (RFC 7523, section 2.2) in place of a secret: where their public keys are, or the keys.
ALTER TABLE oauth_clients ADD COLUMN key_source TEXT -- the row of `key_sets`
--- next
ALTER TABLE oauth_clients ADD COLUMN keys TEXT -- a list in JSON, if an admin has pasted them
