# make without a target prints what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

MODULE := github.com/ledgerline-es/ledgerline
TOOL = "$$(go -C $(CURDIR)/internal/tools tool -n $(1))"

# The tests' settings: make test RACE= goes without the race detector (and gcc), PKG=./producer/... tests one part.
RACE ?= -race
PKG ?= ./...
TEST_TIMEOUT ?= 40m# one package
TOTAL_TIMEOUT ?= 90m# all of make test, where no terminal is there to stop it

# On a terminal Ctrl-C must reach what runs, and timeout would stand between.
LIMIT := $(shell [ -t 0 ] || ! command -v timeout >/dev/null || echo timeout --kill-after=60 $(TOTAL_TIMEOUT))

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## the whole platform on loopback, in the foreground; flags by ARGS="…"
	@exec bin/ledgerline demo $(ARGS)

.PHONY: test
test: ## lint, then all tests on the real servers; PKG=./producer/... for a part
	@$(LIMIT) $(MAKE) test-all

.PHONY: test-all
test-all: gcc lint generated deps tests

# Packages whose tests can start servers run one after another: each has its own, and a machine has only so many cores.
# The rest runs side by side, first. All is compiled before, since -p 1 would compile one after another too. The log of both, as JSON, is read for the slowest tests and removed.
.PHONY: tests
tests:
	@log=$$(mktemp -d) && trap 'rm -rf "$$log"' EXIT; \
	all=$$(go list -test -f '{{.ImportPath}} {{join .Deps " "}} ' $(PKG) | { grep -E '^[^ ]+\.test ' || true; }); \
	servers=' $(MODULE)/internal/(kit|process) '; \
	integration=$$(echo "$$all" | { grep -E "$$servers" || true; } | sed 's/\.test .*//'); \
	unit=$$(echo "$$all" | { grep -vE "$$servers" || true; } | sed 's/\.test .*//'); \
	run() { $(call TOOL,gotestsum) --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile "$$log/$$1.json" -- $(RACE) -count=1 -timeout $(TEST_TIMEOUT) "$${@:2}"; }; \
	go list $(RACE) -test -export $(PKG) >/dev/null; \
	failed=0; \
	if [ -n "$$unit" ]; then run unit $$unit || failed=1; fi; \
	if [ -n "$$integration" ]; then run integration -p 1 $$integration || failed=1; fi; \
	echo "The slowest tests:"; cat "$$log"/*.json | $(call TOOL,gotestsum) tool slowest --threshold 1s --num 20; \
	exit $$failed

.PHONY: gcc
gcc:
	@[ -z "$(RACE)" ] || command -v "$${CC:-gcc}" >/dev/null || { \
	  echo "$${CC:-gcc} is missing: the race detector needs a C compiler: apt-get install gcc libc6-dev, or make test RACE=" >&2; exit 1; }

.PHONY: lint
lint: ## golangci-lint, pinned in internal/tools; its first build takes minutes
	@$(call TOOL,golangci-lint) run
	@cd examples/orders && $(call TOOL,golangci-lint) run --config ../../.golangci.yml

.PHONY: generate
generate: ## write what is made of other files: the Go code of Avro schemas, the template of new domains
	@go generate ./schemas/... ./internal/generate/...
	@go -C examples/orders generate
	@go generate ./internal/scaffold/...

.PHONY: generated
generated:
	@go test -count=1 -run 'TestGenerated' ./internal/generate ./internal/scaffold

.PHONY: deps
deps: ## fetch modules and the real servers (Kafka, Apicurio, PostgreSQL, ClickHouse) into the user's cache
	@go mod download
	@go run ./internal/deps/cmd/deps

.PHONY: build
build: ## bin/ledgerline
	@[ -e bin/ledgerline ] || echo "compiling; the first time that takes minutes" >&2
	@go build -o bin/ledgerline ./cmd/ledgerline

.PHONY: bench
bench: ## the Go benchmarks of all packages; BENCH=regexp picks some
	@go test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem $(PKG)

.PHONY: bench-analytics
bench-analytics: ## the bank's questions over BENCH_ROWS=10000000 rows, and what keeps them fast; BENCH_JSON=file
	@go run ./internal/bench/analytics

.PHONY: bench-system
bench-system: ## `ledgerline benchmark` against the bank on the real servers; BENCH_WARM=60s, BENCH_DURATION=10s, BENCH_ONLY=rows, BENCH_JSON=file
	@go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./internal/bench/system

.PHONY: bench-write
bench-write: ## the write side, transfers too, beside the bare client and Kafka Streams on Apache Kafka; BENCH=Transfer for a part, BENCH_COMMANDS=1000000, BENCH_ACCOUNTS=100000, BENCH_TRANSFERS=200000, BENCH_SCHEDULED=200000, BENCH_RESTORE_ACCOUNTS=1000000, BENCH_STREAMS=off, BENCH_JSON=file
	@go test -run '^$$' -bench '$(or $(BENCH),.)' -benchtime 1x -timeout 90m ./internal/bench/write

.PHONY: chaos
chaos: ## producers and brokers killed, stopped and continued under load for CHAOS_TIME=10m each; CHAOS_SEED=n repeats a run's decisions
	@CHAOS_TIME=$(or $(CHAOS_TIME),10m) CLUSTER_CHAOS_TIME=$(or $(CHAOS_TIME),10m) CHAOS_SEED=$(or $(CHAOS_SEED),1) \
		go test -race -count=1 -v -p 1 -timeout 4h -run 'Chaos|BrokersOfAClusterKilled' ./producer ./bank

.PHONY: fuzz
fuzz: ## each fuzzed decoder for FUZZ_TIME=1m, one after another; FUZZ=regexp picks some
	@grep -rEo --include='*_test.go' '^func Fuzz\w+' . | grep -E '$(or $(FUZZ),.)' | while IFS=: read -r file target; do \
		go test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(or $(FUZZ_TIME),1m) -fuzzminimizetime 10x "$$(dirname "$$file")"; done

.PHONY: vuln
vuln: ## known vulnerabilities, from the internet
	@$(call TOOL,govulncheck) ./...
