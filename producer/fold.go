package producer

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Fold evolves one aggregate by its events, for those who look at it from outside. It is not safe for concurrent use.
type Fold struct {
	version int64
	state   folder
}

// folder is a state with the kind's types erased.
type folder interface {
	evolve(ctx context.Context, data []byte) error
	show() ([]byte, error)
}

// Fold begins with an aggregate that has no events.
func (v *Viewer) Fold() *Fold { return &Fold{state: v.machine.newFolder()} }

// Add evolves the aggregate by its next event. Errors are those of schemas.Serde.Decode, of rules that panic, and of a history
// with a gap or a fork.
func (f *Fold) Add(ctx context.Context, sequence int64, rec *kgo.Record) error {
	if sequence != f.version+1 {
		return fmt.Errorf("event %d follows event %d: the history has a gap or a fork; run verify", sequence, f.version)
	}
	if err := f.state.evolve(ctx, rec.Value); err != nil {
		return err
	}
	f.version = sequence
	return nil
}

// Version is the sequence of the last event; 0: there is none yet.
func (f *Fold) Version() int64 { return f.version }

// State is the state as plain JSON.
func (f *Fold) State() (json.RawMessage, error) { return f.state.show() }

type typedFolder[S any, C, E schemas.Record] struct {
	machine *typedMachine[S, C, E]
	state   S
}

func (m *typedMachine[S, C, E]) newFolder() folder { return &typedFolder[S, C, E]{machine: m} }

func (f *typedFolder[S, C, E]) evolve(ctx context.Context, data []byte) (err error) {
	e, err := f.machine.events.Decode(ctx, data)
	if err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r, debug.Stack()}
		}
	}()
	f.state = f.machine.aggregate.Evolve(f.state, e)
	return nil
}

func (f *typedFolder[S, C, E]) show() ([]byte, error) {
	return f.machine.states.ToJSON(f.machine.aggregate.Kind.State.Record(&f.state))
}
