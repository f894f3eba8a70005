-- Mails that are to be sent. A row is written in the transaction of what it tells of, and sent later by the tick.

CREATE TABLE outbox (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    user_id    TEXT NOT NULL REFERENCES users (id), -- whom it tells
    kind       TEXT NOT NULL,                       -- what it tells; the text is made from it when it is sent
    recipient  TEXT NOT NULL,                       -- the address as it was then
    data       TEXT NOT NULL,                       -- a JSON object; never a secret
    state      TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'dead')),
    tries      INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,                    -- due: when it is tried next; sent or dead: when that came about
    last_error TEXT,                                -- short, without secrets
    created_at INTEGER NOT NULL,
    sent_at    INTEGER
) STRICT, WITHOUT ROWID
--- next
CREATE INDEX outbox_by_time ON outbox (state, due_at)
--- next
CREATE INDEX outbox_by_tenant ON outbox (tenant_id, created_at, id)
--- next
-- One instance sends at a time, in all hosts together.
INSERT INTO leases (name, until) VALUES ('mail', 0)
