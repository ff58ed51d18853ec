// Package tools pins the programs that developers run: golangci-lint, gotestsum and govulncheck. It is a module of its
// own, so that what they depend on stays out of ours. The Makefile runs them by `go -C internal/tools tool -n NAME`, which
// builds them into Go's build cache.
package tools
