-- Personal access tokens that are rotated, and scopes that a tenant defines.

-- The record's id of the credential that replaced this one; it lives on through its grace only.
ALTER TABLE credentials ADD COLUMN replaced_by TEXT
--- next
CREATE INDEX credentials_by_successor ON credentials (replaced_by) WHERE replaced_by IS NOT NULL
--- next
-- For admins, who see all credentials of the tenant.
CREATE INDEX credentials_by_tenant ON credentials (tenant_id, created_at, id)
--- next
-- Names such as x.crm.read. They open no route of ours; other services ask for them by introspection.
CREATE TABLE custom_scopes (
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID
