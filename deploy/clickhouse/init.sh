#!/bin/sh
# Runs once, in an empty data folder: the user that dashboards read with. Grafana's plugin sets limits of its own for each
# query, which readonly = 1 would refuse.
set -eu
clickhouse-client --user "$CLICKHOUSE_USER" --password "$CLICKHOUSE_PASSWORD" --multiquery <<SQL
CREATE USER grafana IDENTIFIED BY '$CLICKHOUSE_GRAFANA_PASSWORD' SETTINGS readonly = 2, max_execution_time = 30;
GRANT SELECT ON bank.* TO grafana;
GRANT SELECT ON ledgerline.* TO grafana;
SQL
