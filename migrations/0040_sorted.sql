-- People sorted by their last sign-in.
CREATE INDEX users_by_login ON users (tenant_id, ifnull(last_login_at, 0), id)
