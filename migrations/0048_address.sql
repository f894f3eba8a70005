-- Another password also ends the wish for another address that was mailed before it.
DROP TRIGGER codes_end_with_the_password
--- next
CREATE TRIGGER codes_end_with_the_password AFTER UPDATE OF password_hash ON users
WHEN NEW.password_hash IS NOT OLD.password_hash
BEGIN
    DELETE FROM codes WHERE user_id = NEW.id AND kind IN ('invite', 'link', 'new_address', 'reset');
END
