-- What the first page of a person shows is read by indexes alone.

-- How many agents are in which state, and whose they are. With `archived_at`, or SQLite reads each row for it.
CREATE INDEX agents_by_state ON agents (tenant_id, owner_id, state, archived_at) WHERE archived_at IS NULL
--- next
-- What was done and what was refused in each hour of a day, by everybody or by one person.
CREATE INDEX audit_by_time ON audit (tenant_id, at, user_id, outcome, count)
--- next
-- The requests that wait: each page shows how many.
CREATE INDEX access_open ON access_requests (tenant_id, created_at, id) WHERE state = 'open'
