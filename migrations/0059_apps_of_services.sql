-- What people gave for a service ends with it, and is found by its identifier.
CREATE INDEX oauth_grants_of_a_service ON oauth_grants (resource) WHERE resource IS NOT NULL
--- next
-- What was given for a service that was deleted, also if it was registered again since.
UPDATE oauth_grants SET ended_at = unixepoch() * 1000
WHERE resource IS NOT NULL AND ended_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM resources r
    WHERE r.identifier = oauth_grants.resource AND r.tenant_id = oauth_grants.tenant_id AND r.created_at <= oauth_grants.created_at)
