package schemas

// The .avsc files are the source; the Go code beside them is made from them, and a test fails when it is stale.
//go:generate go run ../internal/generate/cmd/generate account ledgerline
