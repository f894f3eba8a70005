-- Workload identity (RFC 7523): issuers whose workloads get credentials of an agent without a secret, and the key sets of these issuers.

-- Whom an agent trusts: workloads of an issuer, by their subject and further claims.
CREATE TABLE federated_credentials (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant_id    TEXT NOT NULL,
    agent_id     TEXT NOT NULL,
    name         TEXT NOT NULL,
    issuer       TEXT NOT NULL, -- `iss`, compared byte by byte
    audience     TEXT NOT NULL, -- what `aud` must hold
    subject      TEXT NOT NULL, -- a pattern: `*` stands for characters other than `:` and `/`
    claims       TEXT NOT NULL, -- further claims that must be equal: an object of texts in JSON
    scope        TEXT NOT NULL, -- patterns
    key_source   TEXT, -- the row of `key_sets`; NULL: the keys are here
    keys         TEXT, -- a list in JSON, if an admin has pasted them
    single_use   INTEGER NOT NULL CHECK (single_use IN (0, 1)), -- whether an assertion is taken once
    life         INTEGER NOT NULL CHECK (life BETWEEN 60 AND 3600), -- of a credential at most, seconds
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    last_used_at INTEGER,
    UNIQUE (agent_id, name),
    CHECK ((key_source IS NULL) <> (keys IS NULL))
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX federated_credentials_by_age ON federated_credentials (agent_id, created_at, id)
--- next
-- The federated credential that an agent's credential was given for.
ALTER TABLE credentials ADD COLUMN federated_id TEXT
--- next
CREATE INDEX credentials_of_federation ON credentials (federated_id, expires_at) WHERE federated_id IS NOT NULL AND revoked_at IS NULL
--- next
-- Assertions that were taken, so that each is taken once.
CREATE TABLE assertions_seen (
    digest     BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX assertions_seen_by_end ON assertions_seen (expires_at)
--- next
-- Key sets of others, each under where it comes from: `issuer <URL>` by discovery, or `jwks <URL>`. It may be lost: it is fetched again.
CREATE TABLE key_sets (
    source     TEXT NOT NULL PRIMARY KEY,
    keys       TEXT, -- a list in JSON, as it was served
    fetched_at INTEGER, -- when that was
    wanted_at  INTEGER, -- since when somebody waits for it; NULL: nobody does
    tried_at   INTEGER NOT NULL, -- when it was last asked for
    ended_at   INTEGER, -- when that try ended; NULL: it runs
    failure    TEXT -- why it failed, in a few words
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX key_sets_wanted ON key_sets (wanted_at) WHERE wanted_at IS NOT NULL
--- next
CREATE INDEX key_sets_by_age ON key_sets (tried_at)
