-- People sorted by their names.
CREATE INDEX users_by_name ON users (tenant_id, lower(name), id)
