-- Requests of devices to be signed in (RFC 8628). Of both codes only the digests are stored.

CREATE TABLE device_requests (
    digest       BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32), -- of the device code
    user_digest  BLOB NOT NULL UNIQUE CHECK (length(user_digest) = 32), -- of the user code
    name         TEXT NOT NULL, -- the machine, as it calls itself
    client       TEXT NOT NULL, -- the program, as it calls itself
    address      TEXT NOT NULL, -- where the request came from
    scope        TEXT NOT NULL, -- patterns that are asked for; empty: whatever the person gives
    is_session   INTEGER NOT NULL CHECK (is_session IN (0, 1)), -- whether it asks for a session and not for a token
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    interval     INTEGER NOT NULL, -- seconds between two polls at least
    polled_at    INTEGER,
    is_too_fast  INTEGER NOT NULL DEFAULT 0 CHECK (is_too_fast IN (0, 1)), -- whether the last poll came too early
    state        TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'approved', 'denied', 'spent')),
    user_id      TEXT REFERENCES users (id), -- the person who decided
    granted      TEXT, -- patterns that the person gave
    days         INTEGER, -- how long the token lives
    CHECK ((state = 'waiting') = (user_id IS NULL))
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX device_requests_by_end ON device_requests (expires_at)
--- next
CREATE INDEX device_requests_of_a_user ON device_requests (user_id, state)
--- next
-- An approval that was not redeemed ends with the account, and does not come back with it.
CREATE TRIGGER device_approvals_end_with_the_account AFTER UPDATE OF deactivated_at, deleted_at ON users
WHEN NEW.deactivated_at IS NOT NULL OR NEW.deleted_at IS NOT NULL
BEGIN
    UPDATE device_requests SET state = 'denied' WHERE user_id = NEW.id AND state = 'approved';
END
