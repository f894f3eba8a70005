-- One index for a person's notifications instead of two: how many are unread is counted in it, as how many there are.

DROP INDEX notifications_unread
--- next
DROP INDEX notifications_by_user
--- next
CREATE INDEX notifications_by_user ON notifications (user_id, created_at, id, read_at)
