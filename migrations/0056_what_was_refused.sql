-- What was made with a credential, to be found when that has leaked.
CREATE INDEX credentials_minted_with ON credentials (minted_with) WHERE minted_with IS NOT NULL
--- next
-- What the last refusal was about: JSON, with the route and the scopes that were lacking.
ALTER TABLE refusals ADD COLUMN last TEXT
--- next
-- When the first of them was; NULL: code of an earlier release has counted it.
ALTER TABLE refusals ADD COLUMN first_at INTEGER
