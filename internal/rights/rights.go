package rights

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Role is a part that a login plays. A login may play several.
type Role string

// The roles. Only Producer may write the event store, and what the event store rests on.
const (
	Producer  Role = "producer"
	Projector Role = "projector"
	API       Role = "api"
	Monitor   Role = "monitor"
	Client    Role = "client"   // publishes commands and waits for replies
	Auditor   Role = "auditor"  // looks at everything and changes nothing
	Operator  Role = "operator" // retries and drops dead letters; those of messages between aggregates only Producer retries
)

// Roles are all of them.
func Roles() []Role { return []Role{Producer, Projector, API, Monitor, Client, Auditor, Operator} }

// Right is one thing that may be done with one resource, as one entry of Kafka's access control lists allows it. Reading and
// writing include Describe.
type Right struct {
	Resource  kmsg.ACLResourceType
	Name      string
	Prefixed  bool // with all whose names begin so
	Operation kmsg.ACLOperation
}

// String names it as in "Write on topic account.events".
func (r Right) String() string {
	text := OperationName(r.Operation) + " on " + strings.ReplaceAll(ResourceName(r.Resource), "-", " ") + " " + r.Name
	if r.Prefixed {
		text += "*"
	}
	return text
}

// ResourceName is as Kafka's own tool calls a kind of resource.
func ResourceName(t kmsg.ACLResourceType) string {
	return strings.ReplaceAll(strings.ToLower(t.String()), "_", "-")
}

// OperationName is as Kafka's own tool calls an operation.
func OperationName(o kmsg.ACLOperation) string {
	var name strings.Builder
	for word := range strings.SplitSeq(o.String(), "_") {
		name.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return name.String()
}

// Platform is what there is to have rights in.
type Platform struct {
	Prefix      string // before the names of topics and groups
	Kinds       []Kind
	Projections []Projection
	ReplyTopics []string // that commands may have replies copied to; patterns with *
}

// Kind of aggregates.
type Kind struct {
	Name            string
	Group           string   // of its producers
	TransactionalID string   // begins those of its producers
	SendsTo         []string // other kinds
}

// Projection reads one topic as one group.
type Projection struct{ Name, Topic, Group string }

// Only leaves some kinds, for who produces, or projections, for who projects; no names leave all.
func (p Platform) Only(names ...string) Platform {
	if len(names) > 0 {
		p.Kinds = slices.DeleteFunc(slices.Clone(p.Kinds), func(k Kind) bool { return !slices.Contains(names, k.Name) })
		p.Projections = slices.DeleteFunc(slices.Clone(p.Projections), func(j Projection) bool { return !slices.Contains(names, j.Name) })
	}
	return p
}

// DeadLetterTransactions is the transactional id under which dead letters of a kind are settled, by one operator at a time.
func DeadLetterTransactions(prefix, kind string) string { return prefix + kind + ".dlq" }

// Of gives the rights that a role needs, each once.
func (p Platform) Of(role Role) []Right {
	var all list
	for _, kind := range p.Kinds {
		t := schemas.TopicsOf(p.Prefix, kind.Name)
		switch role {
		case Producer:
			for _, name := range []string{t.Commands, t.Internal, t.Events, t.Snapshots, t.Replies} {
				all.topic(name, kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribeConfigs)
			}
			for _, name := range []string{t.Commands, t.Internal} {
				all.topic(name, kmsg.ACLOperationDelete) // old commands
			}
			for _, other := range kind.SendsTo {
				all.topic(schemas.TopicsOf(p.Prefix, other).Internal, kmsg.ACLOperationWrite)
			}
			all.topic(t.DeadLetters, kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribeConfigs)
			all.add(kmsg.ACLResourceTypeGroup, kind.Group, false, kmsg.ACLOperationRead)
			all.add(kmsg.ACLResourceTypeTransactionalId, kind.TransactionalID, true, kmsg.ACLOperationWrite)
			all.add(kmsg.ACLResourceTypeTransactionalId, DeadLetterTransactions(p.Prefix, kind.Name), false, kmsg.ACLOperationWrite) // of messages between aggregates
		case API:
			all.topic(t.Events, kmsg.ACLOperationRead)
			all.client(t)
		case Client:
			all.client(t)
		case Monitor:
			for _, name := range []string{t.Commands, t.Internal, t.Events} {
				all.topic(name, kmsg.ACLOperationRead)
			}
			for _, name := range []string{t.Snapshots, t.Replies, t.DeadLetters} {
				all.topic(name, kmsg.ACLOperationDescribe) // whether a transaction holds them up
			}
			all.add(kmsg.ACLResourceTypeGroup, kind.Group, false, kmsg.ACLOperationDescribe)
		case Auditor:
			for _, name := range []string{t.Commands, t.Internal, t.Events, t.Snapshots, t.Replies, t.DeadLetters} {
				all.topic(name, kmsg.ACLOperationRead, kmsg.ACLOperationDescribeConfigs)
			}
			all.add(kmsg.ACLResourceTypeGroup, kind.Group, false, kmsg.ACLOperationDescribe)
			all.add(kmsg.ACLResourceTypeTransactionalId, kind.TransactionalID, true, kmsg.ACLOperationDescribe)
			all.add(kmsg.ACLResourceTypeTransactionalId, DeadLetterTransactions(p.Prefix, kind.Name), false, kmsg.ACLOperationDescribe)
		case Operator:
			all.topic(t.DeadLetters, kmsg.ACLOperationRead, kmsg.ACLOperationWrite)
			all.topic(t.Commands, kmsg.ACLOperationWrite)
			all.add(kmsg.ACLResourceTypeTransactionalId, DeadLetterTransactions(p.Prefix, kind.Name), false, kmsg.ACLOperationWrite)
		case Projector:
		}
	}
	for _, projection := range p.Projections {
		switch role {
		case Projector:
			all.topic(projection.Topic, kmsg.ACLOperationRead)
			all.add(kmsg.ACLResourceTypeGroup, projection.Group, false, kmsg.ACLOperationRead)
		case Monitor, Auditor:
			all.add(kmsg.ACLResourceTypeGroup, projection.Group, false, kmsg.ACLOperationDescribe)
		case Producer, API, Client, Operator:
		}
	}
	switch role {
	case Producer:
		all.topic(schemas.PinsTopic(p.Prefix), kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribeConfigs)
		for _, pattern := range p.ReplyTopics {
			if name, prefixed, ok := plain(pattern); ok {
				all.add(kmsg.ACLResourceTypeTopic, name, prefixed, kmsg.ACLOperationWrite)
			}
		}
	case Auditor:
		all.topic(schemas.PinsTopic(p.Prefix), kmsg.ACLOperationRead, kmsg.ACLOperationDescribeConfigs)
	case Projector, API, Monitor, Client, Operator:
	}
	return all
}

// Beyond are patterns of reply topics that no entry of an access control list can say: the producer's rights there are to be
// given by hand.
func (p Platform) Beyond() []string {
	return slices.DeleteFunc(slices.Clone(p.ReplyTopics), func(pattern string) bool {
		_, _, ok := plain(pattern)
		return ok
	})
}

// plain reads a pattern that is a name, or the beginning of names.
func plain(pattern string) (name string, prefixed, ok bool) {
	name, prefixed = strings.CutSuffix(pattern, "*")
	return name, prefixed, name != "" && !strings.ContainsAny(name, `*?[\`)
}

type list []Right

func (l *list) topic(name string, operations ...kmsg.ACLOperation) {
	l.add(kmsg.ACLResourceTypeTopic, name, false, operations...)
}

func (l *list) client(t schemas.Topics) {
	l.topic(t.Commands, kmsg.ACLOperationWrite)
	l.topic(t.Replies, kmsg.ACLOperationRead)
}

func (l *list) add(resource kmsg.ACLResourceType, name string, prefixed bool, operations ...kmsg.ACLOperation) {
	for _, o := range operations {
		if r := (Right{resource, name, prefixed, o}); !slices.Contains(*l, r) {
			*l = append(*l, r)
		}
	}
}

// compare puts rights in the order of a listing.
func compare(a, b Right) int {
	return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Operation, b.Operation), cmp.Compare(fmt.Sprint(a.Prefixed), fmt.Sprint(b.Prefixed)))
}
