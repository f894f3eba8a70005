-- What is sealed under which key, to seal it again when the operator replaces the key.
CREATE INDEX webhooks_by_key ON webhooks (substr(sealed, 1, 8)) WHERE sealed IS NOT NULL
--- next
CREATE INDEX webhooks_by_former_key ON webhooks (substr(former, 1, 8)) WHERE former IS NOT NULL
--- next
-- `outbox_by_turn` serves what it served.
DROP INDEX outbox_by_user
