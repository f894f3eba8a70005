-- Another password ends what was mailed before it and was not used; what was used stays until its time, so that the page of its link can
-- say that it was.
DROP TRIGGER codes_end_with_the_password
--- next
CREATE TRIGGER codes_end_with_the_password AFTER UPDATE OF password_hash ON users
WHEN NEW.password_hash IS NOT OLD.password_hash
BEGIN
    DELETE FROM codes
    WHERE user_id = NEW.id AND kind IN ('invite', 'link', 'new_address', 'reset') AND spent_at IS NULL;
END
--- next
-- The person that spends a code which was mailed reads the mail of the address: a link to sign in, which is only ever mailed, and an
-- invitation or a reset that no admin has handed over.
DROP TRIGGER a_mailed_link_verifies_the_address
--- next
CREATE TRIGGER a_mailed_link_verifies_the_address AFTER UPDATE OF spent_at ON codes
WHEN NEW.spent_at IS NOT NULL AND NEW.user_id IS NOT NULL
     AND (NEW.kind = 'link' OR (NEW.kind IN ('invite', 'reset') AND NEW.data ->> 'mailed' = 1))
BEGIN
    UPDATE users SET email_verified_at = NEW.spent_at WHERE id = NEW.user_id;
END
