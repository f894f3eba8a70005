-- The ground: tenants, users, agents, grants, credentials, kept answers, throttles, audit.
-- Times are integer milliseconds since 1970-01-01T00:00:00Z. Booleans are 0 or 1.

CREATE TABLE schema_info (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    oldest_code INTEGER NOT NULL -- the lowest schema version that code must know to use this database
) STRICT
--- next
INSERT INTO schema_info (id, oldest_code) VALUES (1, 1)
--- next
CREATE TABLE tenants (
    id         TEXT NOT NULL PRIMARY KEY,
    slug       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
-- One row once the first tenant was made; its primary key lets nobody make it twice.
CREATE TABLE bootstrap (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    at        INTEGER NOT NULL
) STRICT
--- next
CREATE TABLE users (
    id             TEXT NOT NULL PRIMARY KEY,
    tenant_id      TEXT NOT NULL REFERENCES tenants (id),
    email          TEXT NOT NULL, -- as it was written
    email_key      TEXT NOT NULL, -- in lower case: one address is one user, whatever its case
    name           TEXT NOT NULL,
    role           TEXT NOT NULL CHECK (role IN ('viewer', 'member', 'curator', 'admin')),
    password_hash  TEXT, -- PHC string; NULL: no password yet
    created_at     INTEGER NOT NULL,
    deactivated_at INTEGER,
    deactivated_by TEXT,
    last_login_at  INTEGER,
    UNIQUE (tenant_id, email_key)
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX users_by_age ON users (tenant_id, created_at, id)
--- next
CREATE TABLE agents (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant_id    TEXT NOT NULL REFERENCES tenants (id),
    name         TEXT NOT NULL,
    owner_id     TEXT NOT NULL REFERENCES users (id),
    parent_id    TEXT REFERENCES agents (id),
    display_name TEXT,
    description  TEXT,
    runtime      TEXT,
    model        TEXT,
    labels       TEXT NOT NULL DEFAULT '{}', -- a JSON object of texts
    scope        TEXT NOT NULL, -- the agent's ceiling: patterns, separated by blanks
    preset       TEXT,
    state        TEXT NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'stopped')),
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    last_seen_at INTEGER,
    archived_at  INTEGER
) STRICT, WITHOUT ROWID
--- next
CREATE UNIQUE INDEX agents_by_name ON agents (tenant_id, name) WHERE archived_at IS NULL
--- next
CREATE INDEX agents_by_age ON agents (tenant_id, created_at, id) WHERE archived_at IS NULL
--- next
CREATE INDEX agents_by_owner ON agents (owner_id, created_at, id) WHERE archived_at IS NULL
--- next
CREATE INDEX agents_by_parent ON agents (parent_id) WHERE parent_id IS NOT NULL
--- next
-- Who may read or edit what, beside its owner (who is a column of the object, so that there is always exactly one).
CREATE TABLE grants (
    object_id   TEXT NOT NULL,
    subject_id  TEXT NOT NULL,
    relation    TEXT NOT NULL CHECK (relation IN ('editor', 'viewer')),
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    created_at  INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    PRIMARY KEY (object_id, subject_id, relation)
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX grants_by_subject ON grants (subject_id, object_id)
--- next
CREATE TABLE credentials (
    digest            BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32), -- SHA-256 of the whole secret
    id                TEXT NOT NULL UNIQUE,
    kind              TEXT NOT NULL CHECK (kind IN ('session', 'pat', 'agent_token', 'api_key')),
    prefix            TEXT NOT NULL, -- what may be shown of it
    tenant_id         TEXT NOT NULL REFERENCES tenants (id),
    user_id           TEXT NOT NULL REFERENCES users (id), -- whose it is; of an agent's: who owned it when it was made
    agent_id          TEXT REFERENCES agents (id),
    name              TEXT,
    scope             TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER, -- NULL: never
    revoked_at        INTEGER,
    place             TEXT CHECK (place IN ('active', 'grace')), -- agent tokens only
    user_agent        TEXT, -- sessions only
    last_used_at      INTEGER,
    last_used_address TEXT,
    CHECK ((kind IN ('agent_token', 'api_key')) = (agent_id IS NOT NULL)),
    CHECK ((kind = 'agent_token') = (place IS NOT NULL))
) STRICT, WITHOUT ROWID
--- next
-- At most one active token of an agent, and one more in its grace.
CREATE UNIQUE INDEX one_token_in_each_place ON credentials (agent_id, place) WHERE kind = 'agent_token' AND revoked_at IS NULL
--- next
-- With `revoked_at` before the rest: what is live is found without reading all that ever was.
CREATE INDEX credentials_by_user ON credentials (user_id, kind, revoked_at, created_at)
--- next
CREATE INDEX credentials_by_agent ON credentials (agent_id, revoked_at) WHERE agent_id IS NOT NULL
--- next
-- Revoked is revoked: no statement brings a credential back or moves the moment of its end.
CREATE TRIGGER a_revoked_credential_stays_revoked BEFORE UPDATE OF revoked_at, digest, scope ON credentials
WHEN OLD.revoked_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a revoked credential stays as it is');
END
--- next
-- First answers, kept for 24 hours by the write that they answer.
CREATE TABLE idempotency (
    digest        BLOB NOT NULL PRIMARY KEY, -- SHA-256 of tenant, user, agent, method, path and key
    caller        TEXT NOT NULL, -- whose row it is: the bound is for each of them
    credential_id TEXT NOT NULL,
    body_mac      BLOB NOT NULL,
    holds_secret  INTEGER NOT NULL CHECK (holds_secret IN (0, 1)),
    status        INTEGER NOT NULL,
    answer        BLOB NOT NULL, -- sealed
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX idempotency_by_caller ON idempotency (caller)
--- next
CREATE INDEX idempotency_by_end ON idempotency (expires_at)
--- next
-- Counters of tries: a guess of a password, a hash in this second.
CREATE TABLE attempts (
    key     BLOB NOT NULL PRIMARY KEY, -- SHA-256 of what is counted
    count   INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX attempts_by_end ON attempts (ends_at)
--- next
CREATE TABLE leases (
    name  TEXT NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
INSERT INTO leases (name, until) VALUES ('tick', 0)
--- next
CREATE TABLE audit (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    at            INTEGER NOT NULL,
    tenant_id     TEXT NOT NULL,
    user_id       TEXT,
    agent_id      TEXT,
    credential_id TEXT,
    address       TEXT,
    request_id    TEXT,
    action        TEXT NOT NULL,
    object_id     TEXT,
    outcome       TEXT NOT NULL CHECK (outcome IN ('done', 'refused')),
    count         INTEGER NOT NULL DEFAULT 1, -- of refusals summed in this row
    before        TEXT, -- JSON without secrets
    after         TEXT  -- JSON without secrets
) STRICT
--- next
CREATE INDEX audit_by_tenant ON audit (tenant_id, seq)
--- next
CREATE INDEX audit_by_object ON audit (object_id, seq) WHERE object_id IS NOT NULL
--- next
CREATE TRIGGER an_audit_row_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit rows are insert-only');
END
--- next
CREATE TRIGGER an_audit_row_is_never_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit rows are insert-only');
END
--- next
-- INSERT OR REPLACE deletes without asking the trigger above; so a taken number or id is refused here.
CREATE TRIGGER an_audit_row_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq OR id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'audit rows are insert-only');
END
--- next
-- Refusals, summed: the tick writes one audit row for each subject, slug and minute that is over.
CREATE TABLE refusals (
    subject       TEXT NOT NULL, -- a user's or an agent's id
    slug          TEXT NOT NULL,
    minute        INTEGER NOT NULL,
    count         INTEGER NOT NULL,
    tenant_id     TEXT NOT NULL,
    user_id       TEXT,
    agent_id      TEXT,
    credential_id TEXT,
    address       TEXT, -- of the last one
    request_id    TEXT, -- of the last one
    PRIMARY KEY (subject, slug, minute)
) STRICT, WITHOUT ROWID
