-- One row an account: what it is worth now.
CREATE TABLE {{table}} (
    account_id          text        PRIMARY KEY,
    owner               text        NOT NULL,
    currency            text        NOT NULL, -- ISO 4217
    status              text        NOT NULL, -- open, frozen, closed
    balance_minor       bigint      NOT NULL, -- in minor units of the currency
    version             bigint      NOT NULL, -- sequence of the account's last event
    transaction_count   bigint      NOT NULL, -- deposits and withdrawals
    opened_at           timestamptz NOT NULL,
    last_transaction_at timestamptz           -- NULL before the first
) WITH (fillfactor = 70) -- rows change often: room for updates in place
