-- Signed requests of other services: one more type of key, and what was seen of them.

-- The check of a table cannot be changed, so the table is made anew.
DROP INDEX api_keys_by_age
--- next
DROP INDEX api_keys_under_grants
--- next
CREATE TABLE api_keys_before AS SELECT * FROM api_keys
--- next
DROP TABLE api_keys
--- next
-- API keys of agents. A bearer's secrets are rows of credentials; a webhook's secret is here, encrypted.
CREATE TABLE api_keys (
    id          TEXT NOT NULL PRIMARY KEY,
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    agent_id    TEXT NOT NULL REFERENCES agents (id),
    name        TEXT NOT NULL,
    type        TEXT NOT NULL CHECK (type IN ('external', 'internal', 'github', 'slack', 'standard')),
    sealed      BLOB, -- of a webhook: its secret; NULL once that was revoked
    sealed_at   INTEGER, -- of a webhook: since when its secret is this one
    created_at  INTEGER NOT NULL,
    created_by  TEXT NOT NULL, -- a user or an agent
    minted_by   TEXT,
    minted_with TEXT,
    grantee     TEXT,
    UNIQUE (agent_id, name, type),
    CHECK ((type IN ('github', 'slack', 'standard')) = (sealed_at IS NOT NULL)),
    CHECK (sealed IS NULL OR sealed_at IS NOT NULL)
) STRICT, WITHOUT ROWID
--- next
INSERT INTO api_keys (id, tenant_id, agent_id, name, type, sealed, sealed_at, created_at, created_by, minted_by, minted_with, grantee)
SELECT id, tenant_id, agent_id, name, type, sealed, sealed_at, created_at, created_by, minted_by, minted_with, grantee FROM api_keys_before
--- next
DROP TABLE api_keys_before
--- next
CREATE INDEX api_keys_by_age ON api_keys (agent_id, created_at, id)
--- next
CREATE INDEX api_keys_by_key ON api_keys (substr(sealed, 1, 8)) WHERE sealed IS NOT NULL
--- next
CREATE INDEX api_keys_under_grants ON api_keys (grantee) WHERE grantee IS NOT NULL AND sealed IS NOT NULL
--- next
-- Signed requests that have arrived, so that each is taken once: by its own id, and by what was signed.
CREATE TABLE hooks_seen (
    key_id     TEXT NOT NULL,
    digest     BLOB NOT NULL CHECK (length(digest) = 32),
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, digest)
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX hooks_seen_by_end ON hooks_seen (expires_at)
