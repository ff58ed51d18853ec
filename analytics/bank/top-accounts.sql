-- title: Top accounts by turnover
-- answers: Which accounts moved the most money, in each currency?
-- projection: analytics, event time business_time
-- param: top UInt16 = 20 [1..1000], how many accounts of each currency
-- param: currency String = '' matches /([A-Z]{3})?/, ISO 4217 code; empty: every currency, each on its own
-- limit: 20000 rows, 10s
-- notes: Turnover is all that came in and all that went out, over the whole life of the account; the balance is the one
--   less the other. Of accounts with the same turnover the one with the smaller id comes first.
WITH accounts AS (
    SELECT aggregate_id, max(currency) AS currency, sum(abs(amount_minor)) AS turnover, sum(amount_minor) AS balance, countIf(amount_minor != 0) AS transactions
    FROM bank.account_events
    GROUP BY aggregate_id
    HAVING turnover > 0 AND ({currency:String} = '' OR currency = {currency:String})
)
SELECT currency,
       aggregate_id AS account_id,
       turnover AS turnover_minor,
       intDiv(turnover + balance, 2) AS in_minor,
       intDiv(turnover - balance, 2) AS out_minor,
       balance AS balance_minor,
       transactions
FROM accounts
ORDER BY currency, turnover DESC, account_id
LIMIT {top:UInt16} BY currency
