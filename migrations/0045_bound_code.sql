-- Code that does not know keys (0042) would take a credential that is bound to one from anybody who has it. It works beside newer code until
-- there is the first such credential, and then answers 503: an upgrade refuses nothing to those who bind nothing.

CREATE TRIGGER a_bound_credential_needs_code AFTER UPDATE OF bound_to ON credentials WHEN NEW.bound_to IS NOT NULL
BEGIN
    UPDATE schema_info SET oldest_code = 42 WHERE oldest_code < 42;
END
--- next
CREATE TRIGGER a_bound_signed_token_needs_code AFTER INSERT ON signed_tokens WHEN NEW.bound_to IS NOT NULL
BEGIN
    UPDATE schema_info SET oldest_code = 42 WHERE oldest_code < 42;
END
--- next
UPDATE schema_info SET oldest_code = 42 WHERE oldest_code < 42 AND (
    EXISTS (SELECT 1 FROM credentials WHERE bound_to IS NOT NULL) OR EXISTS (SELECT 1 FROM signed_tokens WHERE bound_to IS NOT NULL)
)
