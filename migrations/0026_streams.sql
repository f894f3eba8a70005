-- The event streams that are open now, so that one person or agent has only a few at once, on all hosts together. A row lives as long as
-- its stream renews it.
CREATE TABLE streams (
    id         TEXT NOT NULL PRIMARY KEY, -- of the request
    subject_id TEXT NOT NULL,             -- a user or an agent
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX streams_by_subject ON streams (subject_id, until)
--- next
CREATE INDEX streams_by_end ON streams (until)
