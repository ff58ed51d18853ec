-- One row an event of an account. _partition and _offset say where in the log it stands.
-- The sums that most questions need are projections: each part of the table holds its own, made when it is written, so they
-- are as exactly once as the rows, belong to the generation, and serve any query that asks for them, whoever wrote it.
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
    _offset       Int64,
    PROJECTION by_day (
        SELECT toDate32(business_time), currency, type, category, count(), sum(amount_minor), sum(abs(amount_minor)), max(business_time)
        GROUP BY toDate32(business_time), currency, type, category
    ),
    PROJECTION by_account (
        SELECT aggregate_id, max(currency), sum(amount_minor), sum(abs(amount_minor)), countIf(amount_minor != 0), countIf(type = 'AccountClosed'),
               countIf(amount_minor > 0), groupArrayIf(amount_minor, amount_minor != 0)
        GROUP BY aggregate_id
    )
)
ENGINE = MergeTree
ORDER BY (aggregate_id, sequence)
SETTINGS non_replicated_deduplication_window = 10000, -- how many inserts a repeated one is recognised among
    lightweight_mutation_projection_mode = 'rebuild'   -- DELETE FROM changes the sums with the rows
