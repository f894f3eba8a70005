-- An access request can name the one request that it is for, and be approved for that one request alone, once.
ALTER TABLE access_requests ADD COLUMN for_method TEXT
--- next
-- As the router reads it, with its query.
ALTER TABLE access_requests ADD COLUMN for_path TEXT
--- next
-- The SHA-256 of its body, in hexadecimal; null: it has none.
ALTER TABLE access_requests ADD COLUMN for_body TEXT
--- next
-- The agent that its path names: another agent that gets the name later is another one.
ALTER TABLE access_requests ADD COLUMN for_agent TEXT
--- next
-- The patterns of a request that names one. Its `scope` has a word more, which stands for the request: the releases before this one know
-- one open request for each `scope`, and read no scope in that word.
ALTER TABLE access_requests ADD COLUMN for_scope TEXT
--- next
-- The patterns that were approved for once. `granted` is empty then, so that the look-up of a credential, also by the releases before this
-- one, gives nothing by it.
ALTER TABLE access_requests ADD COLUMN once TEXT CHECK (once IS NULL OR (granted = '' AND for_path IS NOT NULL))
--- next
ALTER TABLE access_requests ADD COLUMN spent_at INTEGER CHECK (spent_at IS NULL OR once IS NOT NULL)
--- next
-- What the person who denied it said.
ALTER TABLE access_requests ADD COLUMN word TEXT
--- next
-- For a request that would be refused: was it approved once?
CREATE INDEX access_once ON access_requests (agent_id, for_path) WHERE once IS NOT NULL
--- next
-- For a request that would be refused, and for an agent that asks: was the same denied lately?
CREATE INDEX access_denied ON access_requests (agent_id, decided_at) WHERE state = 'denied'
--- next
-- An approval that is spent has ended; nobody else has remembered it.
DROP TRIGGER epoch_of_an_approval
--- next
CREATE TRIGGER epoch_of_an_approval AFTER UPDATE OF state, granted, ends_at ON access_requests
WHEN OLD.state = 'approved' AND NEW.spent_at IS NULL
     AND (NEW.state <> 'approved' OR NEW.granted <> OLD.granted OR NEW.ends_at < OLD.ends_at)
BEGIN
    INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
    VALUES (NEW.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = NEW.tenant_id), 0), 'agent', NEW.agent_id, 'narrowed');
END
