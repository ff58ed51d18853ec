-- One row for each line of what was placed. _partition, _offset and _row say where in the log it stands.
CREATE TABLE {{table}} (
    order_id         String,
    line             Int64,                  -- 1, 2, 3 …
    customer         String,
    sku              LowCardinality(String),
    quantity         Int64,
    unit_price_minor Int64,                  -- in minor units of the currency
    currency         LowCardinality(String), -- ISO 4217
    placed_at        DateTime64(6, 'UTC'),
    _partition       Int32,
    _offset          Int64,
    _row             UInt32                  -- tells the rows of one event apart
)
ENGINE = MergeTree
ORDER BY (sku, placed_at)
SETTINGS non_replicated_deduplication_window = 10000 -- how many inserts a repeated one is recognised among
