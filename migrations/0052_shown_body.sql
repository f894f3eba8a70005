-- The body of the one request that an access request names, as the agent has shown it to the person who decides; null: it has not.
ALTER TABLE access_requests ADD COLUMN for_text TEXT CHECK (for_text IS NULL OR for_body IS NOT NULL)
