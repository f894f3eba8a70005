-- Requests for a mail by somebody who has not signed in: for a link to sign in, or to set a forgotten password. Whether the address has
-- an account is looked up when the mail is sent, so that the request's answer and its time say nothing about it.

CREATE TABLE mail_requests (
    seq        INTEGER NOT NULL PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('link', 'reset')),
    tenant     TEXT,             -- the slug that was sent; NULL: the tenant of the bootstrap
    email_key  TEXT NOT NULL,
    data       TEXT NOT NULL CHECK (json_valid(data)), -- what the mail is made of
    address    TEXT NOT NULL,    -- where the request came from
    request_id TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT
--- next
-- Another password ends what was mailed before it. What a person gave to an agent stays.
CREATE TRIGGER codes_end_with_the_password AFTER UPDATE OF password_hash ON users
WHEN NEW.password_hash IS NOT OLD.password_hash
BEGIN
    DELETE FROM codes WHERE user_id = NEW.id AND kind IN ('invite', 'link', 'reset');
END
