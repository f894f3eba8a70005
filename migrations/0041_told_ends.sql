-- Whom an approval's end by time concerns is told once.
ALTER TABLE access_requests ADD COLUMN end_told_at INTEGER
--- next
-- What ended long before this release is no news.
UPDATE access_requests SET end_told_at = ends_at WHERE state = 'approved' AND ends_at <= (unixepoch() - 86400) * 1000
--- next
-- For the tick: what has ended that nobody was told of? What lasts is behind everything else in it.
CREATE INDEX access_ending ON access_requests (ends_at) WHERE state = 'approved' AND spent_at IS NULL AND end_told_at IS NULL
