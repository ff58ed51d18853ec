-- One row for each order: where it stands now.
CREATE TABLE {{table}} (
    order_id    text        PRIMARY KEY,
    customer    text        NOT NULL,
    status      text        NOT NULL, -- placed, paid, shipped, cancelled
    currency    text        NOT NULL, -- ISO 4217
    total_minor bigint      NOT NULL, -- in minor units of the currency
    version     bigint      NOT NULL, -- how many events it has
    placed_at   timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL
) WITH (fillfactor = 70) -- rows change often: room for updates in place
