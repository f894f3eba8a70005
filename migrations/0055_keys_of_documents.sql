-- The keys by which a client proves itself that is known by a document: where they are, or what stands in the document. Once a person has
-- given such a client something, the row is kept for as long as that may last, so that a refresh can be held against it; what the document
-- says of the way back counts until `counts_until`. NULL there: until `expires_at`.
ALTER TABLE oauth_documents ADD COLUMN keys_from TEXT
--- next
ALTER TABLE oauth_documents ADD COLUMN keys TEXT
--- next
ALTER TABLE oauth_documents ADD COLUMN is_public INTEGER NOT NULL DEFAULT 1 CHECK (is_public IN (0, 1))
--- next
ALTER TABLE oauth_documents ADD COLUMN counts_until INTEGER
--- next
-- Code that does not know these columns takes such a client for one that need not prove itself. It works beside newer code until there is the
-- first one, and then answers 503.
CREATE TRIGGER a_new_client_with_keys_needs_code AFTER INSERT ON oauth_documents WHEN NEW.is_public = 0
BEGIN
    UPDATE schema_info SET oldest_code = 55 WHERE oldest_code < 55;
END
--- next
CREATE TRIGGER a_changed_client_with_keys_needs_code AFTER UPDATE OF is_public ON oauth_documents WHEN NEW.is_public = 0
BEGIN
    UPDATE schema_info SET oldest_code = 55 WHERE oldest_code < 55;
END
