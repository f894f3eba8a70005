-- Seals over the audit trail: one chain over the rows of all tenants, in the order of their numbers. Numbers are given under
-- the write lock, so their order is that of the commits, and none is left out.

CREATE TABLE audit_seals (
    from_seq  INTEGER PRIMARY KEY, -- one more than the to_seq of the seal before; the first one's is 1
    to_seq    INTEGER NOT NULL UNIQUE,
    sealed_at INTEGER NOT NULL,
    key_id    BLOB NOT NULL CHECK (length(key_id) = 8), -- which key made it
    mac       BLOB NOT NULL CHECK (length(mac) = 32), -- HMAC-SHA-256 over all of this and the mac of the seal before
    digests   BLOB NOT NULL, -- 40 bytes for each row: its number, and the SHA-256 of all its columns
    CHECK (to_seq >= from_seq)
) STRICT
--- next
-- By the head that was logged. Not unique: INSERT OR REPLACE would delete the other one without asking a trigger.
CREATE INDEX audit_seals_by_mac ON audit_seals (mac)
--- next
CREATE TRIGGER a_seal_is_never_changed BEFORE UPDATE ON audit_seals
BEGIN
    SELECT RAISE(ABORT, 'audit seals are insert-only');
END
--- next
CREATE TRIGGER a_seal_is_never_deleted BEFORE DELETE ON audit_seals
BEGIN
    SELECT RAISE(ABORT, 'audit seals are insert-only');
END
--- next
-- One chain, whoever seals: a seal begins where the newest one ends. So none can be replaced either.
CREATE TRIGGER a_seal_continues_the_chain BEFORE INSERT ON audit_seals
WHEN NEW.from_seq IS NOT (SELECT ifnull(max(to_seq), 0) + 1 FROM audit_seals)
BEGIN
    SELECT RAISE(ABORT, 'audit seals are insert-only');
END
--- next
-- What an agent has done.
CREATE INDEX audit_by_agent ON audit (agent_id, seq) WHERE agent_id IS NOT NULL
