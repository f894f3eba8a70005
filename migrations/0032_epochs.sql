-- Every change that takes a right away has a number, the epoch of its tenant, given in the transaction of the change. Guards ask what came
-- behind the last one that they know. A stop says from when on nobody accepts what it has ended: that is its closure.

CREATE TABLE epochs (
    tenant_id TEXT NOT NULL,
    epoch     INTEGER NOT NULL, -- 1, 2, 3 … of each tenant; the newest row is never purged
    kind      TEXT NOT NULL CHECK (kind IN ('credential', 'key', 'agent', 'user', 'tenant')),
    object_id TEXT NOT NULL,
    change    TEXT NOT NULL CHECK (change IN ('ended', 'halted', 'narrowed')),
    seen_at   INTEGER, -- when the tick first saw it, since a trigger knows no time
    PRIMARY KEY (tenant_id, epoch)
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX epochs_by_age ON epochs (seen_at, tenant_id, epoch)
--- next
CREATE TRIGGER epoch_of_a_revoked_credential AFTER UPDATE OF revoked_at ON credentials
WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'credential', NEW.id, 'ended');
END
--- next
CREATE TRIGGER epoch_of_a_narrowed_credential AFTER UPDATE OF expires_at, scope ON credentials
WHEN NEW.revoked_at IS NULL AND (NEW.scope <> OLD.scope OR NEW.expires_at < ifnull(OLD.expires_at, NEW.expires_at + 1))
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'credential', NEW.id, 'narrowed');
END
--- next
CREATE TRIGGER epoch_of_a_deleted_credential AFTER DELETE ON credentials WHEN OLD.revoked_at IS NULL
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (OLD.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = OLD.tenant_id), 0), 'credential', OLD.id, 'ended');
END
--- next
-- The secret of a webhook of others, with which a sender proves itself.
CREATE TRIGGER epoch_of_an_ended_secret AFTER UPDATE OF sealed ON api_keys WHEN OLD.sealed IS NOT NULL AND NEW.sealed IS NULL
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'key', NEW.id, 'ended');
END
--- next
CREATE TRIGGER epoch_of_a_deleted_secret AFTER DELETE ON api_keys WHEN OLD.sealed IS NOT NULL
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (OLD.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = OLD.tenant_id), 0), 'key', OLD.id, 'ended');
END
--- next
CREATE TRIGGER epoch_of_a_halted_agent AFTER UPDATE OF state ON agents WHEN NEW.state <> OLD.state AND NEW.state <> 'running'
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'agent', NEW.id, 'halted');
END
--- next
CREATE TRIGGER epoch_of_an_agent_over_its_budget AFTER UPDATE OF spent_cents, budget_cents ON agents
WHEN NEW.spent_cents > NEW.budget_cents AND (OLD.spent_cents > OLD.budget_cents) IS NOT TRUE
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'agent', NEW.id, 'halted');
END
--- next
CREATE TRIGGER epoch_of_an_archived_agent AFTER UPDATE OF archived_at ON agents WHEN OLD.archived_at IS NULL AND NEW.archived_at IS NOT NULL
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'agent', NEW.id, 'ended');
END
--- next
-- Patterns cannot be compared here: each change of a ceiling counts.
CREATE TRIGGER epoch_of_an_agents_ceiling_or_owner AFTER UPDATE OF scope, owner_id ON agents
WHEN NEW.scope <> OLD.scope OR NEW.owner_id <> OLD.owner_id
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'agent', NEW.id, 'narrowed');
END
--- next
CREATE TRIGGER epoch_of_an_approval AFTER UPDATE OF state, granted, ends_at ON access_requests
WHEN OLD.state = 'approved' AND (NEW.state <> 'approved' OR NEW.granted <> OLD.granted OR NEW.ends_at < OLD.ends_at)
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'agent', NEW.agent_id, 'narrowed');
END
--- next
CREATE TRIGGER epoch_of_a_grant AFTER DELETE ON grants
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (OLD.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = OLD.tenant_id), 0),
            iif(substr(OLD.subject_id, 1, 4) = 'agt_', 'agent', 'user'), OLD.subject_id, 'narrowed');
END
--- next
CREATE TRIGGER epoch_of_an_account AFTER UPDATE OF deactivated_at, deleted_at ON users
WHEN (OLD.deactivated_at IS NULL AND NEW.deactivated_at IS NOT NULL) OR (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'user', NEW.id, 'ended');
END
--- next
CREATE TRIGGER epoch_of_a_role AFTER UPDATE OF role ON users
WHEN instr('viewer member curator admin', NEW.role) < instr('viewer member curator admin', OLD.role)
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'user', NEW.id, 'narrowed');
END
--- next
CREATE TRIGGER epoch_of_a_custom_scope AFTER DELETE ON custom_scopes
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (OLD.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = OLD.tenant_id), 0), 'tenant', OLD.tenant_id, 'narrowed');
END
--- next
-- The guards that have asked lately: until when each may go on without asking again, and the last epoch that it has taken in.
CREATE TABLE guards (
    tenant_id     TEXT NOT NULL,
    credential_id TEXT NOT NULL, -- that it asks with
    name          TEXT NOT NULL,
    heard         INTEGER NOT NULL,
    until         INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, credential_id, name)
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX guards_by_lease ON guards (tenant_id, until)
--- next
CREATE INDEX guards_by_end ON guards (until)
--- next
-- What a change has ended, and since when nobody accepts it. A row is written once, in the transaction of its change, and closed once.
CREATE TABLE closures (
    id        TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    user_id   TEXT NOT NULL, -- the person behind the change
    agent_id  TEXT,          -- the agent that made it
    action    TEXT NOT NULL, -- that of its audit row
    object_id TEXT NOT NULL,
    at        INTEGER NOT NULL,
    since     INTEGER NOT NULL, -- the last epoch before the change
    epoch     INTEGER NOT NULL, -- its last one
    ended     TEXT NOT NULL,    -- JSON: how many of each kind
    closed_at INTEGER           -- since when no guard can accept any of it; NULL: one still may
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX closures_that_are_open ON closures (tenant_id, id) WHERE closed_at IS NULL
--- next
CREATE TRIGGER a_closure_is_only_closed BEFORE UPDATE ON closures
WHEN OLD.closed_at IS NOT NULL OR (OLD.id, OLD.tenant_id, OLD.user_id, OLD.agent_id, OLD.action, OLD.object_id, OLD.at, OLD.since, OLD.epoch, OLD.ended)
     IS NOT (NEW.id, NEW.tenant_id, NEW.user_id, NEW.agent_id, NEW.action, NEW.object_id, NEW.at, NEW.since, NEW.epoch, NEW.ended)
BEGIN
    SELECT RAISE(ABORT, 'a closure stays as it is');
END
--- next
CREATE TRIGGER a_closure_is_never_deleted BEFORE DELETE ON closures
BEGIN
    SELECT RAISE(ABORT, 'a closure stays as it is');
END
