-- A notification's id begins with the moment of its making, so that the old ones are found by it: one index less to write.

DROP INDEX notifications_by_age
