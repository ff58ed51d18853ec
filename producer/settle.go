package producer

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
)

// surelyAborted asks the coordinator what became of a transaction whose offsets were sent and which the client says is not committed,
// without an error. Mostly the coordinator of the group refused the offsets, since a rebalance had moved the generation on, and the
// transaction was aborted; but the client says the same when the end of a transaction was answered with a server's error, whatever
// happened. All requests are answered by then, and the transaction had begun, for something was flushed in it: so an end that the
// coordinator remembers for our id is that of this transaction. Anything but an abort stays unknown, and ends the session.
func (s *session) surelyAborted(ctx context.Context) bool {
	id := s.takeover.self
	described, err := kadm.NewClient(s.takeover.cl).DescribeTransactions(ctx, id)
	if err != nil {
		return false
	}
	tx, ok := described[id]
	return ok && tx.Err == nil && (tx.State == "PrepareAbort" || tx.State == "CompleteAbort")
}
