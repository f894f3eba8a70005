-- The part of a token's JSON that does not change with each use, written when the token is made or changed, as that of its agent is
-- (0013): a list of agents says it for each of them.

-- Without braces, and without the last use.
ALTER TABLE credentials ADD COLUMN written TEXT
--- next
-- In the order in which the code writes a single agent's token; a test compares the two. Ids and prefixes hold nothing that JSON escapes.
CREATE VIEW written_tokens AS
SELECT c.digest, '"id":"' || c.id || '","prefix":"' || c.prefix ||
    '","issued_at":' || ifnull(strftime('"%Y-%m-%dT%H:%M:%fZ"', c.created_at / 1000.0, 'unixepoch'), 'null') ||
    ',"expires_at":' || ifnull(strftime('"%Y-%m-%dT%H:%M:%fZ"', c.expires_at / 1000.0, 'unixepoch'), 'null') ||
    ',"scope":' || iif(c.scope = '', '[]', '["' || replace(c.scope, ' ', '","') || '"]') ||
    ',"minted_by":' || ifnull('"' || c.minted_by || '"', 'null') ||
    ',"minted_with":' || ifnull('"' || c.minted_with || '"', 'null') ||
    ',"grantee":' || ifnull('"' || c.grantee || '"', 'null') AS text
FROM credentials c
--- next
CREATE TRIGGER a_token_is_written AFTER INSERT ON credentials WHEN NEW.kind = 'agent_token'
BEGIN
    UPDATE credentials SET written = (SELECT text FROM written_tokens WHERE digest = NEW.digest) WHERE digest = NEW.digest;
END
--- next
CREATE TRIGGER a_token_is_written_anew AFTER UPDATE OF digest, id, prefix, created_at, expires_at, scope, minted_by, minted_with, grantee
    ON credentials WHEN NEW.kind = 'agent_token'
BEGIN
    UPDATE credentials SET written = (SELECT text FROM written_tokens WHERE digest = NEW.digest) WHERE digest = NEW.digest;
END
--- next
UPDATE credentials SET written = (SELECT w.text FROM written_tokens w WHERE w.digest = credentials.digest) WHERE kind = 'agent_token'
