-- Clients of the authorization server, and what people gave them.

CREATE TABLE oauth_clients (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant_id     TEXT NOT NULL REFERENCES tenants (id),
    name          TEXT NOT NULL,
    redirect_uris TEXT NOT NULL CHECK (json_valid(redirect_uris)), -- a list of texts
    secret        BLOB CHECK (length(secret) = 32), -- SHA-256 of the client's secret; NULL: a public client
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    created_by    TEXT NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX oauth_clients_by_age ON oauth_clients (tenant_id, created_at, id)
--- next
-- What the documents of clients said that are known by a URL, for a while. They are public, so they belong to no tenant.
CREATE TABLE oauth_documents (
    url           TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL,
    redirect_uris TEXT NOT NULL CHECK (json_valid(redirect_uris)),
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX oauth_documents_by_end ON oauth_documents (expires_at)
--- next
-- What a person gave a client. Of refresh tokens only digests are stored.
CREATE TABLE oauth_grants (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant_id     TEXT NOT NULL REFERENCES tenants (id),
    user_id       TEXT NOT NULL REFERENCES users (id),
    client_id     TEXT NOT NULL, -- an id of oauth_clients, or a URL
    client_name   TEXT NOT NULL, -- as the person saw it
    resource      TEXT, -- the identifier of a service of the tenant; NULL: this server
    scope         TEXT NOT NULL, -- patterns, separated by blanks
    credential_id TEXT UNIQUE, -- the record of the access token, of a grant for this server
    family        BLOB NOT NULL UNIQUE CHECK (length(family) = 32), -- of the part that all its refresh tokens have in common
    refresh       BLOB NOT NULL CHECK (length(refresh) = 32), -- of the one refresh token that works
    created_at    INTEGER NOT NULL,
    used_at       INTEGER NOT NULL, -- when the client last got a token
    expires_at    INTEGER NOT NULL, -- its end at the latest
    ends_at       INTEGER NOT NULL, -- its end if the client gets no token any more
    ended_at      INTEGER -- when it was ended
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX oauth_grants_of_a_user ON oauth_grants (user_id, created_at, id)
--- next
CREATE INDEX oauth_grants_of_a_client ON oauth_grants (client_id)
--- next
CREATE INDEX oauth_grants_by_end ON oauth_grants (ends_at)
--- next
-- A grant ends with the account, and does not come back with it.
CREATE TRIGGER oauth_grants_end_with_the_account AFTER UPDATE OF deactivated_at, deleted_at ON users
WHEN NEW.deactivated_at IS NOT NULL OR NEW.deleted_at IS NOT NULL
BEGIN
    UPDATE oauth_grants SET ended_at = ifnull(NEW.deactivated_at, NEW.deleted_at) WHERE user_id = NEW.id AND ended_at IS NULL;
END
--- next
-- A grant and its access token end together, whichever is ended.
CREATE TRIGGER an_access_token_ends_with_its_grant AFTER UPDATE OF ended_at ON oauth_grants
WHEN NEW.ended_at IS NOT NULL AND OLD.ended_at IS NULL
BEGIN
    UPDATE credentials SET revoked_at = NEW.ended_at WHERE id = NEW.credential_id AND revoked_at IS NULL;
END
--- next
CREATE TRIGGER an_oauth_grant_ends_with_its_access_token AFTER UPDATE OF revoked_at ON credentials
WHEN NEW.revoked_at IS NOT NULL AND OLD.revoked_at IS NULL AND NEW.kind = 'pat'
BEGIN
    UPDATE oauth_grants SET ended_at = NEW.revoked_at WHERE credential_id = NEW.id AND ended_at IS NULL;
END
