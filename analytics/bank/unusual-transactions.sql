-- title: Unusual transactions
-- answers: Which recent transactions are far larger than what is usual on their account?
-- projection: analytics, event time business_time
-- param: days UInt16 = 31 [1..65000], how many days before the latest event to look at
-- param: fence Float64 = 3 [0.5..20], how many widths above the upper quartile a transaction is unusual
-- param: history UInt16 = 12 [4..10000], accounts with fewer transactions in the same direction are not judged
-- param: currency String = '' matches /([A-Z]{3})?/, ISO 4217 code; empty: every currency
-- limit: 1000 rows, 10s
-- notes: Each account is its own measure, deposits and withdrawals apart, over its whole history. Q1 and Q3 are the
--   quartiles of its amounts (nearest rank). The width is Q3 / Q1, taken as 1.25 where it is less, so that a rent that has
--   always been the same may rise by a little. A transaction is unusual when it is above usual_most_minor = Q3 * width ^
--   fence: Tukey's outer fence on a logarithmic scale. Quartiles are not moved by the outliers that they are to find, and
--   no account is measured by another's habits. score is how many widths the amount is above Q3.
WITH
    profiles AS (
        SELECT aggregate_id,
               arraySort(groupArrayIf(amount_minor, amount_minor != 0)) AS amounts,
               countIf(amount_minor > 0) AS in_count,
               toUInt64(length(amounts) - in_count) AS out_count,
               amounts[out_count + intDiv(in_count + 3, 4)] AS in_q1,
               amounts[out_count + intDiv(3 * in_count + 3, 4)] AS in_q3,
               -amounts[1 + out_count - intDiv(out_count + 3, 4)] AS out_q1,
               -amounts[1 + out_count - intDiv(3 * out_count + 3, 4)] AS out_q3
        FROM bank.account_events
        GROUP BY aggregate_id
    ),
    recent AS (
        SELECT *
        FROM bank.account_events
        WHERE amount_minor != 0
          AND business_time > (SELECT max(business_time) FROM bank.account_events) - toIntervalDay({days:UInt16})
          AND ({currency:String} = '' OR currency = {currency:String})
    )
SELECT * EXCEPT width
FROM (
    SELECT r.currency AS currency,
           r.aggregate_id AS account_id,
           r.sequence AS sequence,
           r.business_time AS business_time,
           r.amount_minor AS amount_minor,
           r.operation AS operation,
           r.category AS category,
           r.counterparty AS counterparty,
           if(r.amount_minor > 0, p.in_count, p.out_count) AS history,
           if(r.amount_minor > 0, p.in_q3, p.out_q3) AS upper_quartile_minor,
           greatest(1.25, upper_quartile_minor / if(r.amount_minor > 0, p.in_q1, p.out_q1)) AS width,
           toInt64(upper_quartile_minor * pow(width, {fence:Float64})) AS usual_most_minor,
           round(log(abs(r.amount_minor) / upper_quartile_minor) / log(width), 2) AS score
    FROM recent AS r
    JOIN (SELECT aggregate_id, in_count, out_count, in_q1, in_q3, out_q1, out_q3 FROM profiles) AS p ON p.aggregate_id = r.aggregate_id
)
WHERE history >= {history:UInt16} AND abs(amount_minor) > usual_most_minor
ORDER BY score DESC, currency, account_id, sequence
