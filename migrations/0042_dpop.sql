-- Credentials that are bound to a key (DPoP, RFC 9449): without a proof of the key nobody uses them.

-- The thumbprint (RFC 7638) of the key; NULL: its bearer may use it.
ALTER TABLE credentials ADD COLUMN bound_to TEXT
--- next
-- The same of a signed token, in its claim `cnf`.
ALTER TABLE signed_tokens ADD COLUMN bound_to TEXT
--- next
-- The same of the refresh tokens of a public client.
ALTER TABLE oauth_grants ADD COLUMN bound_to TEXT
--- next
-- Proofs that were taken, so that each is taken in one request.
CREATE TABLE proofs_seen (
    digest     BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32), -- of the key's thumbprint and the proof's `jti`
    request    TEXT NOT NULL, -- the id of the request
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX proofs_seen_by_end ON proofs_seen (expires_at)
