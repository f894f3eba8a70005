-- What a person made for agents of others, to be found when that person leaves or is no admin any more.
CREATE INDEX credentials_minted_by ON credentials (minted_by) WHERE minted_by IS NOT NULL AND agent_id IS NOT NULL
--- next
CREATE INDEX federated_credentials_by_maker ON federated_credentials (created_by)
