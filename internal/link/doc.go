// Package link makes the connections to Kafka and to the schema registry: TLS, logins, and errors that say what to do. Its errors
// name settings by their flags, since it serves the command line alone.
//
//	tls.go       certificates of files
//	secret.go    passwords and tokens of files, read anew at each login
//	kafka.go     options of every Kafka client
//	registry.go  options of the registry's client
//	hint.go      what to do about an error that the other side caused
package link
