-- title: Daily volume by type
-- answers: How much money moved on each day, in and out, and in how many transactions?
-- projection: analytics, event time business_time
-- param: from Date32 = 1900-01-01, first day (UTC) of business time
-- param: to Date32 = 2299-12-31, last day
-- param: currency String = '' matches /([A-Z]{3})?/, ISO 4217 code; empty: every currency, each on its own
-- limit: 100000 rows, 10s
-- notes: Only deposits and withdrawals move money, so only they are counted. volume_minor is above 0 both ways, in minor
--   units; no row adds two currencies. A day on which nothing moved has no row.
SELECT toDate32(business_time) AS day,
       currency,
       type,
       count() AS transactions,
       sum(abs(amount_minor)) AS volume_minor
FROM bank.account_events
WHERE type IN ('MoneyDeposited', 'MoneyWithdrawn')
  AND toDate32(business_time) BETWEEN {from:Date32} AND {to:Date32}
  AND ({currency:String} = '' OR currency = {currency:String})
GROUP BY day, currency, type
ORDER BY day, currency, type
