-- The part of an agent's JSON that its own row decides, written when the row changes: lists are read far more often than agents are changed,
-- and writing JSON was half of a list's time.

-- Without the last brace. Lists append what other rows decide: approvals, owner, parent and token.
ALTER TABLE agents ADD COLUMN written TEXT NOT NULL DEFAULT ''
--- next
-- In the order in which the code writes a single agent; a test compares the two.
CREATE VIEW written_agents AS
SELECT a.id, rtrim(json_object(
    'id', a.id, 'name', a.name, 'display_name', a.display_name, 'description', a.description, 'runtime', a.runtime, 'model', a.model,
    'url', a.url, 'labels', json(a.labels),
    'scope', json(iif(a.scope = '', '[]', '["' || replace(a.scope, ' ', '","') || '"]')),
    'preset', a.preset, 'preset_version', a.preset_version, 'tier', a.tier, 'max_concurrent_tasks', a.max_concurrent_tasks,
    'budget_cents', a.budget_cents, 'spent_cents', a.spent_cents, 'state', a.state,
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
CREATE TRIGGER an_agent_is_written_anew AFTER UPDATE OF name, display_name, description, runtime, model, url, labels, scope, preset,
    preset_version, tier, max_concurrent_tasks, budget_cents, spent_cents, state, state_changed_at, state_changed_by, created_at,
    updated_at, last_seen_at ON agents
BEGIN
    UPDATE agents SET written = (SELECT text FROM written_agents WHERE id = NEW.id) WHERE id = NEW.id;
END
--- next
UPDATE agents SET written = (SELECT w.text FROM written_agents w WHERE w.id = agents.id)
