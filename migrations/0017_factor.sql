-- Second factors, what a tenant lets and demands of sign-ins, and when the person behind a session last proved who they are.

CREATE TABLE factors (
    user_id      TEXT NOT NULL PRIMARY KEY REFERENCES users (id),
    sealed       BLOB NOT NULL, -- the secret of TOTP (RFC 6238), under the operator's secrets_key
    created_at   INTEGER NOT NULL,
    confirmed_at INTEGER, -- NULL: begun, and asked for nowhere yet
    last_step    INTEGER NOT NULL DEFAULT 0 -- the time step of the newest code that was taken: it and all before it are used up
) STRICT, WITHOUT ROWID
--- next
CREATE TABLE recovery_codes (
    digest  BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32), -- of the person's id and the code
    user_id TEXT NOT NULL REFERENCES users (id),
    used_at INTEGER
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id)
--- next
CREATE TRIGGER a_factor_ends_with_the_account AFTER UPDATE OF deleted_at ON users WHEN NEW.deleted_at IS NOT NULL
BEGIN
    DELETE FROM recovery_codes WHERE user_id = NEW.id;
    DELETE FROM factors WHERE user_id = NEW.id;
END
--- next
-- A sign-in that waits for its second factor has proved a password, or nothing of it: another password ends it.
CREATE TRIGGER tickets_end_with_the_password AFTER UPDATE OF password_hash ON users
WHEN NEW.password_hash IS NOT OLD.password_hash
BEGIN
    DELETE FROM codes WHERE user_id = NEW.id AND kind = 'ticket';
END
--- next
-- The name that pages show; NULL: the slug.
ALTER TABLE tenants ADD COLUMN name TEXT
--- next
-- The ways to sign in that the tenant lets its people use: words with blanks between them.
ALTER TABLE tenants ADD COLUMN ways TEXT NOT NULL DEFAULT 'password link oidc'
--- next
-- Of whom a second factor is demanded.
ALTER TABLE tenants ADD COLUMN second_factor TEXT NOT NULL DEFAULT 'nobody' CHECK (second_factor IN ('nobody', 'admins', 'all'))
--- next
-- Days that a personal access token lives if its maker does not say; NULL: for ever.
ALTER TABLE tenants ADD COLUMN pat_days INTEGER DEFAULT 90
--- next
-- Of a session: when its person last proved who they are; NULL: when it began.
ALTER TABLE credentials ADD COLUMN proved_at INTEGER
--- next
-- Of a session: whether two factors were proved when it began.
ALTER TABLE credentials ADD COLUMN two_factors INTEGER NOT NULL DEFAULT 0 CHECK (two_factors IN (0, 1))
