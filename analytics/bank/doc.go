// Package bank holds the questions that the reference domain can be asked: one .sql file each, with its own explanation.
//
// # What keeps them fast
//
// make bench-analytics asks them of the same rows kept in four ways, in turn. Over 10 million events of 100,000 accounts on
// 2 cores that were busy with other work (load 7 to 15), the least and the median time in ms:
//
//	                                   plain table   materialized   projection   projections
//	                                                        views       by day   by day, by account
//	balance-distribution                 470 / 676       55 / 132    390 / 981    156 / 320
//	bank-balance                         505 / 701        11 / 18      15 / 18      16 / 19
//	categories                           502 / 793        13 / 18      18 / 25      18 / 26
//	daily-volume                         334 / 383        23 / 26      30 / 33      28 / 30
//	top-accounts                         398 / 531       71 / 100    386 / 466    149 / 178
//	unusual-transactions                 395 / 473      420 / 544    385 / 512    363 / 461
//	an insert of 1,000 rows               10 / 17         16 / 34      11 / 24      13 / 26
//	bytes on disk a row                       28.6           29.0         28.7         29.8
//
// The plain table is too slow for half a second at most. Views are a little faster to ask and slower to write to, and want
// tables of their own: with a deduplication window, one set a generation, to be rebuilt and swapped with it, and questions
// written against other names. Projections are parts of the table's parts. They need nothing, and a question names the
// table alone; so they were chosen. Medians cannot be added up: unusual-transactions reads the amounts, whatever is kept.
package bank
