-- What people are told by mail: which kinds they do not want, and agents that have gone silent.

-- The kinds of mail that a person has turned off: words with a blank before and behind each.
ALTER TABLE users ADD COLUMN mails_off TEXT NOT NULL DEFAULT ' '
--- next
-- Minutes without a heartbeat from which on an agent is silent; NULL: nobody watches.
ALTER TABLE agents ADD COLUMN silent_after_minutes INTEGER CHECK (silent_after_minutes BETWEEN 1 AND 525600)
--- next
-- When its silence was told; NULL: it was not, since its last heartbeat.
ALTER TABLE agents ADD COLUMN silent_told_at INTEGER
--- next
-- Agents by the moment from which on they are silent. One that has just been started or resumed is given its time; one that was never heard
-- of has no such moment.
CREATE INDEX agents_by_silence ON agents (max(last_seen_at, ifnull(state_changed_at, 0)) + silent_after_minutes * 60000)
WHERE silent_after_minutes IS NOT NULL AND silent_told_at IS NULL AND state = 'running' AND archived_at IS NULL
--- next
-- A person's mails: those that wait, and those of the last hour.
CREATE INDEX outbox_by_turn ON outbox (user_id, state, due_at)
