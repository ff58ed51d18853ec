-- title: Best sellers
-- answers: Which articles sell best, in each currency?
-- projection: order-lines, event time placed_at
-- param: top UInt16 = 10 [1..1000], how many articles of each currency
-- param: from Date32 = 1900-01-01, first day (UTC) to count
-- limit: 5000 rows, 10s
-- notes: What was placed counts, whether or not it was paid later.
SELECT currency,
       sku,
       sum(quantity) AS sold,
       sum(quantity * unit_price_minor) AS turnover_minor
FROM orders.order_lines
WHERE toDate32(placed_at) >= {from:Date32}
GROUP BY currency, sku
ORDER BY currency, sold DESC, sku
LIMIT {top:UInt16} BY currency
