package schemas

// Record is any Avro record that has generated Go code; its methods stand on the pointer type.
type Record interface {
	// AvroName is the record's full Avro name, such as "ledgerline.account.MoneyDeposited".
	AvroName() string
}

// Type describes one Avro record to the codec. T is the generated pointer type, or the sealed interface (Command, Event)
// that the record belongs to.
type Type[T Record] struct {
	Name   string   // full Avro name
	Schema string   // the text of its .avsc, compacted: what is registered and what readers resolve to
	New    func() T // a fresh, empty record
}

// ShortName is the name without its namespace: "MoneyDeposited". The stores' type columns hold it.
func (t Type[T]) ShortName() string { return ShortName(t.Name) }

// ShortName cuts the namespace off a full Avro name.
func ShortName(full string) string {
	for i := len(full) - 1; i >= 0; i-- {
		if full[i] == '.' {
			return full[i+1:]
		}
	}
	return full
}

// Kind describes one aggregate kind: the state S (a generated struct, handled by value), and the sealed interfaces C of
// its commands and E of its events. The generated code of a kind's folder holds it as a variable named Kind.
type Kind[S any, C, E Record] struct {
	Name     string // "account": the first part of its topics' names
	State    StateType[S]
	Commands []Type[C]
	Events   []Type[E]
}

// StateType describes a kind's state record.
type StateType[S any] struct {
	Name   string
	Schema string
	Record func(*S) Record // the state's address as a Record, without reflection
}

// KindName is the kind's name; with EventTypes it makes a Kind an EventSource.
func (k Kind[S, C, E]) KindName() string { return k.Name }

// EventTypes are the types that the kind's events topic may hold.
func (k Kind[S, C, E]) EventTypes() []Type[E] { return k.Events }

// EventSource is what a projection reads from: a kind, seen as its events alone.
type EventSource[E Record] interface {
	KindName() string
	EventTypes() []Type[E]
}
