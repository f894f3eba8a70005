-- What people are told by mail: which kinds they do not want, and agents that have gone silent.

-- The kinds of mail that a person has turned off: words with a blank before and behind each.
ALTER TABLE users ADD COLUMN mails_off TEXT NOT NULL DEFAULT ' '
--- next
-- Minutes without a heartbeat after which an agent is silent; NULL: nobody watches.
ALTER TABLE agents ADD COLUMN silent_after_minutes INTEGER CHECK (silent_after_minutes BETWEEN 1 AND 525600)
--- next
-- When its silence was told; NULL: it was not, since its last heartbeat.
ALTER TABLE agents ADD COLUMN silent_told_at INTEGER
--- next
-- Agents by the moment at which they become silent. One that has just been started or resumed is given its time; one that was never heard
-- of has no such moment.
CREATE INDEX agents_by_silence ON agents (max(last_seen_at, ifnull(state_changed_at, 0)) + silent_after_minutes * 60000)
WHERE silent_after_minutes IS NOT NULL AND silent_told_at IS NULL AND state = 'running' AND archived_at IS NULL
--- next
-- A person's mails: those that wait, and those of the last hour.
CREATE INDEX outbox_by_turn ON outbox (user_id, state, due_at)
--- next
DROP TRIGGER an_agent_is_written
--- next
DROP TRIGGER an_agent_is_written_anew
--- next
DROP VIEW written_agents
--- next
-- In the order in which the code writes a single agent; a test compares the two.
CREATE VIEW written_agents AS
SELECT a.id, rtrim(json_object(
    'id', a.id, 'name', a.name, 'display_name', a.display_name, 'description', a.description, 'runtime', a.runtime, 'model', a.model,
    'url', a.url, 'compute', json(a.compute), 'access', a.access, 'labels', json(a.labels),
    'scope', json(iif(a.scope = '', '[]', '["' || replace(a.scope, ' ', '","') || '"]')),
    'preset', a.preset, 'preset_version', a.preset_version, 'tier', a.tier, 'max_concurrent_tasks', a.max_concurrent_tasks,
    'budget_cents', a.budget_cents, 'spent_cents', a.spent_cents,
    'silent_after_minutes', a.silent_after_minutes, 'state', a.state,
    'state_changed_at', strftime('%Y-%m-%dT%H:%M:%fZ', a.state_changed_at / 1000.0, 'unixepoch'),
    'state_changed_by', a.state_changed_by,
    'created_at', strftime('%Y-%m-%dT%H:%M:%fZ', a.created_at / 1000.0, 'unixepoch'),
    'updated_at', strftime('%Y-%m-%dT%H:%M:%fZ', a.updated_at / 1000.0, 'unixepoch'),
    'last_seen_at', strftime('%Y-%m-%dT%H:%M:%fZ', a.last_seen_at / 1000.0, 'unixepoch')), '}') AS text
FROM agents a
--- next
CREATE TRIGGER an_agent_is_written AFTER INSERT ON agents
BEGIN
    UPDATE agents SET written = (SELECT text FROM written_agents WHERE id = NEW.id) WHERE id = NEW.id;
END
--- next
CREATE TRIGGER an_agent_is_written_anew AFTER UPDATE OF name, display_name, description, runtime, model, url, compute, access, labels, scope,
    preset, preset_version, tier, max_concurrent_tasks, budget_cents, spent_cents, silent_after_minutes, state, state_changed_at,
    state_changed_by, created_at, updated_at, last_seen_at ON agents
BEGIN
    UPDATE agents SET written = (SELECT text FROM written_agents WHERE id = NEW.id) WHERE id = NEW.id;
END
--- next
UPDATE agents SET written = (SELECT w.text FROM written_agents w WHERE w.id = agents.id)
