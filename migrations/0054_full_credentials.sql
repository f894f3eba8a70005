-- Credentials on which as many live signed tokens rest as may, until there are fewer. To count them for each new one would take
-- longer than all else about it, so that one of 64 looks, by its digest, which nobody chooses.
CREATE TABLE full_credentials (
    credential_id TEXT NOT NULL PRIMARY KEY,
    until         INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX full_credentials_by_end ON full_credentials (until)
--- next
CREATE TRIGGER a_credential_is_full AFTER INSERT ON signed_tokens WHEN NEW.digest < x'04'
BEGIN
    INSERT OR REPLACE INTO full_credentials
    SELECT NEW.credential_id, min(expires_at)
    FROM (SELECT expires_at FROM signed_tokens
          WHERE credential_id = NEW.credential_id AND expires_at > NEW.created_at ORDER BY expires_at DESC LIMIT 5000)
    HAVING count(*) = 5000;
END
