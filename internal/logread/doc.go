// Package logread reads what a topic holds as of one moment: from its first offset, or a time, to its last stable offset,
// partition by partition, without a consumer group. For those who look at the log from outside: verify, and the commands that
// show what is there.
package logread
