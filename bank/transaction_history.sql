-- One row a deposit or withdrawal: what moved, and what was there after it.
CREATE TABLE {{table}} (
    account_id    text        NOT NULL,
    sequence      bigint      NOT NULL, -- of the event in its account
    type          text        NOT NULL, -- MoneyDeposited, MoneyWithdrawn
    amount_minor  bigint      NOT NULL, -- above 0 in, below 0 out: the sum is the balance
    balance_minor bigint      NOT NULL, -- after it
    currency      text        NOT NULL, -- ISO 4217
    operation     text        NOT NULL,
    category      text        NOT NULL,
    counterparty  text        NOT NULL,
    business_time timestamptz NOT NULL,
    PRIMARY KEY (account_id, sequence)
)
