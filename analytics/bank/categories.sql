-- title: Category breakdown
-- answers: What is money received for and spent on?
-- projection: analytics, event time business_time
-- param: from Date32 = 1900-01-01, first day (UTC) of business time
-- param: to Date32 = 2299-12-31, last day
-- param: currency String = '' matches /([A-Z]{3})?/, ISO 4217 code; empty: every currency, each on its own
-- limit: 10000 rows, 10s
-- notes: Transactions without a category are the row whose category is empty. percent is the share of what went the same
--   way in the same currency; average_minor is rounded to whole minor units, half away from zero.
SELECT currency,
       if(type = 'MoneyDeposited', 'in', 'out') AS direction,
       category,
       count() AS transactions,
       sum(abs(amount_minor)) AS volume_minor,
       intDiv(2 * volume_minor + transactions, 2 * transactions) AS average_minor,
       round(100 * volume_minor / sum(volume_minor) OVER (PARTITION BY currency, direction), 2) AS percent
FROM bank.account_events
WHERE type IN ('MoneyDeposited', 'MoneyWithdrawn')
  AND toDate32(business_time) BETWEEN {from:Date32} AND {to:Date32}
  AND ({currency:String} = '' OR currency = {currency:String})
GROUP BY currency, type, category
ORDER BY currency, direction, volume_minor DESC, category
