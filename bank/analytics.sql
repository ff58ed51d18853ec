-- One row an event of an account. _partition and _offset say where in the log it stands.
CREATE TABLE {{table}} (
    aggregate_id  String,
    sequence      Int64,                  -- of the event in its account
    type          LowCardinality(String), -- MoneyDeposited, AccountOpened …
    amount_minor  Int64,                  -- above 0 in, below 0 out, else 0: the sum is the balance
    balance_minor Int64,                  -- after a deposit or withdrawal; 0 in events that move no money
    currency      LowCardinality(String), -- ISO 4217; empty in events that have none
    operation     LowCardinality(String),
    category      LowCardinality(String),
    counterparty  String,
    business_time DateTime64(6, 'UTC'),
    recorded_at   DateTime64(6, 'UTC'),   -- when it was written to the log
    _partition    Int32,
    _offset       Int64
)
ENGINE = MergeTree
ORDER BY (aggregate_id, sequence)
SETTINGS non_replicated_deduplication_window = 10000 -- how many inserts a repeated one is recognised among
