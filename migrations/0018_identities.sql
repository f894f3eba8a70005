-- Identities of people at the providers through which they sign in.

CREATE TABLE identities (
    id           TEXT NOT NULL PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES users (id),
    issuer       TEXT NOT NULL, -- the provider's own name for itself, `iss`
    subject      TEXT NOT NULL, -- the provider's name for the person, `sub`: never used again for another one
    provider     TEXT NOT NULL, -- the operator's name for the provider, when it was last used
    email        TEXT, -- as the provider said it last; for the person to recognise it, and for nothing else
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    UNIQUE (issuer, subject) -- one identity is one account
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX identities_of_a_user ON identities (user_id, created_at, id)
--- next
-- A person that is gone has no way in, and frees the identity.
CREATE TRIGGER identities_end_with_the_account AFTER UPDATE OF deleted_at ON users WHEN NEW.deleted_at IS NOT NULL
BEGIN
    DELETE FROM identities WHERE user_id = NEW.id;
END
--- next
-- When it was last proved that the person reads the mail of the address. NULL: an admin wrote it down, and nothing more is known.
ALTER TABLE users ADD COLUMN email_verified_at INTEGER
--- next
CREATE TRIGGER another_address_is_not_verified AFTER UPDATE OF email_key ON users WHEN NEW.email_key <> OLD.email_key
BEGIN
    UPDATE users SET email_verified_at = NULL WHERE id = NEW.id;
END
--- next
-- A link to sign in is only ever mailed: the person that spends it reads the mail of the address.
CREATE TRIGGER a_mailed_link_verifies_the_address AFTER UPDATE OF spent_at ON codes
WHEN NEW.kind = 'link' AND NEW.spent_at IS NOT NULL AND NEW.user_id IS NOT NULL
BEGIN
    UPDATE users SET email_verified_at = NEW.spent_at WHERE id = NEW.user_id;
END
