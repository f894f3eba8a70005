-- Whether it was said that four fifths of a quota are used: 0 or 1.
ALTER TABLE usage ADD COLUMN is_told INTEGER NOT NULL DEFAULT 0
--- next
INSERT INTO leases (name, until) VALUES ('quotas', 0)
