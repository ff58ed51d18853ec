-- One row a transfer: how far it has come.
CREATE TABLE {{table}} (
    transfer_id  text        PRIMARY KEY, -- <source>:<sequence of its TransferStarted>
    source       text        NOT NULL,
    target       text        NOT NULL,
    amount_minor bigint      NOT NULL, -- in minor units of the currency
    currency     text        NOT NULL, -- ISO 4217
    status       text        NOT NULL, -- pending, completed, refunded
    reason       text        NOT NULL, -- why it was refunded: the rule by which the target refused; empty else
    started_at   timestamptz NOT NULL,
    stalled_at   timestamptz,          -- when no answer had come in time; NULL: one had
    ended_at     timestamptz           -- NULL while it is pending
) WITH (fillfactor = 70) -- each row changes once: room for it in place
