-- Guides of a tenant: pages by source, each source replaced as a whole, and the index of their words.
CREATE TABLE guides (
    id          INTEGER PRIMARY KEY,
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    source      TEXT NOT NULL,
    place       INTEGER NOT NULL, -- in its source, from 0
    name        TEXT NOT NULL,
    title       TEXT NOT NULL,
    body        TEXT NOT NULL,
    updated_at  INTEGER NOT NULL,
    updated_by  TEXT NOT NULL, -- the user or the agent that put it
    counted_for TEXT NOT NULL, -- the person whose quota it counts for
    UNIQUE (tenant_id, source, place),
    UNIQUE (tenant_id, source, name)
) STRICT
--- next
CREATE VIRTUAL TABLE guides_text USING fts5(tenant_id, title, body, content='guides', content_rowid='id', prefix='2 3', tokenize='unicode61 remove_diacritics 2')
--- next
CREATE TRIGGER guides_indexed AFTER INSERT ON guides
BEGIN
    INSERT INTO guides_text (rowid, tenant_id, title, body) VALUES (NEW.id, NEW.tenant_id, NEW.title, NEW.body);
END
--- next
CREATE TRIGGER guides_unindexed AFTER DELETE ON guides
BEGIN
    INSERT INTO guides_text (guides_text, rowid, tenant_id, title, body) VALUES ('delete', OLD.id, OLD.tenant_id, OLD.title, OLD.body);
END
--- next
-- A page is replaced, never changed: an index of its words would keep the old ones.
CREATE TRIGGER guides_stay BEFORE UPDATE ON guides
BEGIN
    SELECT RAISE(ABORT, 'a guide is replaced');
END
--- next
CREATE TRIGGER usage_of_a_guide AFTER INSERT ON guides
BEGIN
    UPDATE usage SET bytes = bytes + 256 + length(CAST(NEW.title AS BLOB)) + length(CAST(NEW.body AS BLOB))
    WHERE subject_id IN (NEW.counted_for, NEW.tenant_id);
END
--- next
CREATE TRIGGER usage_of_a_guide_that_is_gone AFTER DELETE ON guides
BEGIN
    UPDATE usage SET bytes = bytes - 256 - length(CAST(OLD.title AS BLOB)) - length(CAST(OLD.body AS BLOB))
    WHERE subject_id IN (OLD.counted_for, OLD.tenant_id);
END
