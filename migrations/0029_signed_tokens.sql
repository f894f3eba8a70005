-- Services of a tenant that take signed tokens, and the signed tokens that are out.

-- An identifier is what tokens name as their audience, so that it belongs to one tenant of the server: a service that trusts this server
-- would take the tokens of another tenant's agents for those of its own.
CREATE TABLE resources (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant_id     TEXT NOT NULL REFERENCES tenants (id),
    identifier    TEXT NOT NULL UNIQUE, -- a URI (RFC 8707), compared byte by byte
    name          TEXT NOT NULL,
    scopes        TEXT NOT NULL, -- names of custom scopes, separated by blanks: what tokens for it can carry
    introspectors TEXT NOT NULL, -- ids of users and agents whose credentials are the service's own: a list in JSON
    signing_alg   TEXT NOT NULL CHECK (signing_alg IN ('EdDSA', 'ES256')),
    created_at    INTEGER NOT NULL,
    created_by    TEXT NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX resources_by_age ON resources (tenant_id, created_at, id)
--- next
-- Signed tokens, each until its end, by the digest of the whole text: what is known here was signed here, and nothing has to be verified.
CREATE TABLE signed_tokens (
    digest        BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    id            TEXT NOT NULL, -- its `jti`
    resource_id   TEXT NOT NULL, -- a resource that is gone takes its tokens with it
    credential_id TEXT NOT NULL, -- the record of the credential whose authority it carries
    rests_on      TEXT NOT NULL, -- records of all credentials that must be live for it: that one, and one of each service that acts; JSON
    client_id     TEXT NOT NULL,
    act           TEXT, -- the claim `act` (RFC 8693): the services that act, the last one outside; JSON
    scope         TEXT NOT NULL, -- names, separated by blanks
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX signed_tokens_by_end ON signed_tokens (expires_at)
--- next
-- The live ones of a credential, without those that nobody has purged yet.
CREATE INDEX signed_tokens_of_a_credential ON signed_tokens (credential_id, expires_at, resource_id, client_id)
