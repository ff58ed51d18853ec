// Package verify settles doubt: it reads the log of a kind from its beginning to its last stable offset, checks every
// event in it, and compares every row and every column of the projections with what the log gives.
//
// Of the log: each event is transactional, decodable, in the partition of its aggregate, named alike by key and ce_id;
// the sequences of an aggregate are 1, 2, 3 … without gap or repetition; each names the command that caused it, and that
// command is there as long as commands are kept.
//
// Of a projection: rows and the offsets they stand at are read as of one moment, and are what the events below those
// offsets give: nothing missing, extra, doubled or altered. Everything may go on running meanwhile.
//
// What does not fit is a [Finding] with topic, partition, offset and key, or projection, key, column and both values. What
// could not be looked at is an error: it says nothing about right or wrong.
package verify
