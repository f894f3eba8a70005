-- One-time codes: what is mailed, typed at another device, or handed to a runtime. Of each only the digest is stored.

CREATE TABLE codes (
    digest     BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    kind       TEXT NOT NULL,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    user_id    TEXT REFERENCES users (id), -- the person whom it is for; NULL: nobody yet
    agent_id   TEXT REFERENCES agents (id), -- the agent that it is for
    data       TEXT NOT NULL CHECK (json_valid(data)), -- what it stands for beside that; never a secret
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    spent_at   INTEGER
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX codes_by_end ON codes (expires_at)
--- next
CREATE INDEX codes_of_a_user ON codes (user_id, kind)
--- next
CREATE INDEX codes_of_an_agent ON codes (agent_id, kind)
--- next
-- An account that may not be used any more has no way in by a code that was sent before: the code ends with the account, and does not come
-- back with it. Another address ends what was mailed to the old one.
CREATE TRIGGER codes_end_with_the_account AFTER UPDATE OF deactivated_at, deleted_at, email_key ON users
WHEN NEW.deactivated_at IS NOT NULL OR NEW.deleted_at IS NOT NULL OR NEW.email_key <> OLD.email_key
BEGIN
    DELETE FROM codes WHERE user_id = NEW.id;
END
--- next
CREATE TRIGGER codes_end_with_the_agent AFTER UPDATE OF archived_at ON agents WHEN NEW.archived_at IS NOT NULL
BEGIN
    DELETE FROM codes WHERE agent_id = NEW.id;
END
--- next
CREATE TRIGGER codes_of_a_purged_agent BEFORE DELETE ON agents
BEGIN
    DELETE FROM codes WHERE agent_id = OLD.id;
END
