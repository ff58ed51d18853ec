-- title: Balance of the bank over time
-- answers: How much money did all customers together have at the end of each period?
-- projection: analytics, event time business_time
-- param: step String = 'month' (day|week|month|quarter|year), length of a period; a week begins on Monday
-- param: from Date32 = 1900-01-01, first day (UTC) of business time to show
-- param: to Date32 = 2299-12-31, last day
-- param: currency String = '' matches /([A-Z]{3})?/, ISO 4217 code; empty: every currency, each on its own
-- limit: 100000 rows, 10s
-- notes: The balance at the end of a period counts everything up to then, also what happened before the days shown. A
--   period in which no money moved in a currency has no row for it: the balance stayed. Periods begin with the day shown.
WITH periods AS (
    SELECT toDate32(dateTrunc({step:String}, toDate32(business_time))) AS period, currency, sum(amount_minor) AS change_minor
    FROM bank.account_events
    WHERE type IN ('MoneyDeposited', 'MoneyWithdrawn') AND toDate32(business_time) <= {to:Date32}
      AND ({currency:String} = '' OR currency = {currency:String})
    GROUP BY period, currency
)
SELECT * FROM (
    SELECT period, currency, change_minor,
           sum(change_minor) OVER (PARTITION BY currency ORDER BY period) AS balance_minor
    FROM periods
)
WHERE period >= dateTrunc({step:String}, {from:Date32})
ORDER BY period, currency
