-- title: Balance distribution
-- answers: How many accounts hold how much, and how much of the bank's money do they hold together?
-- projection: analytics, event time business_time
-- param: currency String = '' matches /([A-Z]{3})?/, ISO 4217 code; empty: every currency, each on its own
-- limit: 5000 rows, 10s
-- notes: Balances are those of now, of accounts that are not closed. A range goes from from_minor, included, to to_minor,
--   not included, in steps of 1, 2, 5, 10, 20, 50 … minor units; accounts below zero are one range without from_minor,
--   and those at zero are the range from 0 to 1. A range that holds no account has no row. accounts_percent and
--   balance_percent are shares of the currency; balance_percent is empty where all balances come to zero.
WITH
    accounts AS (
        SELECT aggregate_id, max(currency) AS currency, sum(amount_minor) AS balance, countIf(type = 'AccountClosed') AS closings
        FROM bank.account_events
        GROUP BY aggregate_id
        HAVING closings = 0 AND currency != '' AND ({currency:String} = '' OR currency = {currency:String})
    ),
    arrayConcat([0], arraySort(arrayFlatten(arrayMap(e -> [toInt64(exp10(e)), 2 * toInt64(exp10(e)), 5 * toInt64(exp10(e))], range(18))))) AS bounds
SELECT currency,
       if(below, NULL, floor_minor) AS from_minor,
       if(below, 0, bounds[indexOf(bounds, floor_minor) + 1]) AS to_minor,
       sum(n) AS accounts,
       sum(balance_sum) AS balance_minor,
       round(100 * accounts / sum(accounts) OVER (PARTITION BY currency), 2) AS accounts_percent,
       round(100 * balance_minor / nullIf(sum(balance_minor) OVER (PARTITION BY currency), 0), 2) AS balance_percent
FROM (
    SELECT currency, balance < 0 AS below, roundDown(balance, bounds) AS floor_minor, count() AS n, sum(balance) AS balance_sum
    FROM accounts
    GROUP BY currency, below, floor_minor
)
GROUP BY currency, from_minor, to_minor
ORDER BY currency, to_minor, from_minor
