-- Guides of a tenant: pages by source, each source replaced as a whole.
CREATE TABLE guides (
    id         INTEGER PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    source     TEXT NOT NULL,
    place      INTEGER NOT NULL,
    name       TEXT NOT NULL,
    title      TEXT NOT NULL,
    body       TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    UNIQUE (tenant_id, source, place),
    UNIQUE (tenant_id, source, name)
) STRICT
--- next
CREATE VIRTUAL TABLE guides_text USING fts5(tenant_id, title, body, content='guides', content_rowid='id', tokenize='unicode61 remove_diacritics 2')
--- next
CREATE TRIGGER guides_indexed AFTER INSERT ON guides BEGIN
    INSERT INTO guides_text (rowid, tenant_id, title, body) VALUES (NEW.id, NEW.tenant_id, NEW.title, NEW.body);
END
--- next
CREATE TRIGGER guides_unindexed AFTER DELETE ON guides BEGIN
    INSERT INTO guides_text (guides_text, rowid, tenant_id, title, body) VALUES ('delete', OLD.id, OLD.tenant_id, OLD.title, OLD.body);
END
--- next
-- A page is replaced, never changed: an index of its words would keep the old ones.
CREATE TRIGGER guides_stay BEFORE UPDATE ON guides BEGIN
    SELECT RAISE(ABORT, 'a guide is replaced');
END
