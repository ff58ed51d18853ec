package projector_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/schemas"
)

func TestEventThatCannotBeDecoded_StopsWithItsPlace(t *testing.T) {
	log, store := fakeLog(t, 27), newMemory()
	log.Write(50, 5)
	rec := log.Deposit(log.Accounts()[0])
	rec.Value = []byte("not Avro")
	log.Commit(rec)
	err := ends(t, projector.New(log.Config(), entries("entries"), store))
	var poison *projector.EventError
	if !errors.As(err, &poison) || poison.Topic != rec.Topic || poison.Partition != rec.Partition || poison.Offset != rec.Offset || poison.Key != string(rec.Key) {
		t.Errorf("it stopped with %v, the event is %s/%d offset %d key %s", err, rec.Topic, rec.Partition, rec.Offset, rec.Key)
	}
	if !errors.Is(err, schemas.ErrNotWireFormat) {
		t.Errorf("the reason is lost: %v", err)
	}
}

func TestUnknownType_StopsUnlessIgnored(t *testing.T) {
	log := fakeLog(t, 28)
	log.Write(50, 5)
	strange := schemas.NewSerde(schemas.NewCodec(log.Registry), log.Topics.Events, schemas.FullTransitive, schemas.Type[*renamed]{
		Name: "ledgerline.account.AccountRenamed", New: func() *renamed { return &renamed{} },
		Schema: `{"type":"record","name":"AccountRenamed","namespace":"ledgerline.account","fields":[{"name":"owner","type":"string"}]}`,
	})
	if err := strange.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec := log.Deposit(log.Accounts()[0])
	value, err := strange.Append(nil, &renamed{Owner: "x"})
	if err != nil {
		t.Fatal(err)
	}
	rec.Value = value
	logtest.SetHeader(rec, schemas.HeaderType, "ledgerline.account.AccountRenamed")
	log.Commit(rec)

	store := newMemory()
	if err := ends(t, projector.New(log.Config(), entries("entries"), store)); !errors.Is(err, schemas.ErrUnknownType) || !strings.Contains(err.Error(), "Ignore") {
		t.Errorf("it stopped with %v", err)
	}
	declared := logtest.Entries("entries", memoryTable, "CREATE TABLE "+projector.TableMark)
	declared.Ignore = []string{"ledgerline.account.AccountRenamed"}
	store = newMemory()
	p := projector.New(log.Config(), declared, store)
	logtest.Run(t, p)
	eventuallyComplete(t, store, log, p)
}

type renamed struct {
	Owner string `avro:"owner"`
}

func (*renamed) AvroName() string { return "ledgerline.account.AccountRenamed" }

func TestPanicInApply_StopsWithTheEvent(t *testing.T) {
	log := fakeLog(t, 29)
	log.Write(50, 5)
	bad := logtest.Entries("entries", memoryTable, "CREATE TABLE "+projector.TableMark)
	apply := bad.Apply
	bad.Apply = func(e projector.Event[logtest.AccountEvent], emit func(logtest.Row)) {
		if e.Sequence == 3 {
			panic("three")
		}
		apply(e, emit)
	}
	err := ends(t, projector.New(log.Config(), bad, newMemory()))
	var poison *projector.EventError
	if !errors.As(err, &poison) || !strings.HasSuffix(poison.Key, "/3") || !strings.Contains(err.Error(), "three") {
		t.Errorf("it stopped with %v", err)
	}
}

func TestTopicThatComesLater_IsWaitedFor(t *testing.T) {
	fake := kit.FakeKafka(t)
	registry, _ := logtest.Registry(t)
	prefix := kit.Prefix(t)
	store := newMemory()
	cfg := projector.Config{Client: []kgo.Opt{kgo.SeedBrokers(fake.Brokers()...), kgo.MetadataMinAge(10 * time.Millisecond)}, Registry: schemas.NewRegistry(registry), TopicPrefix: prefix, BackoffMax: 100 * time.Millisecond}
	p := projector.New(cfg, entries("entries"), store)
	logtest.Run(t, p)
	logtest.Eventually(t, func() error {
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), prefix+"account.events") {
			return fmt.Errorf("ready says %w", err)
		}
		return nil
	})
	log := logtest.New(t, fake.Brokers(), registry, prefix, 4, 30)
	log.Write(100, 10)
	eventuallyComplete(t, store, log, p)
}

func TestStoreBeyondTheLog_Stops(t *testing.T) {
	log, store := fakeLog(t, 31), newMemory()
	log.Write(100, 10)
	store.next[2] = 100_000
	cfg := log.Config()
	cfg.BackoffMax = 50 * time.Millisecond
	err := ends(t, projector.New(cfg, entries("entries"), store))
	var stop *projector.FatalError
	if !errors.As(err, &stop) || !strings.Contains(err.Error(), "100000") || stop.Remedy == "" {
		t.Errorf("it stopped with %v", err)
	}
}

func TestTopicMadeAnew_Stops(t *testing.T) {
	log, store := fakeLog(t, 32), newMemory()
	log.Write(100, 10)
	reached := make(chan struct{})
	once := false
	store.writeErr = func([]*projector.Batch) error {
		if !once {
			once = true
			close(reached)
		}
		return errors.New("not now")
	}
	p := projector.New(log.Config(), entries("entries"), store)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	defer cancel()
	go func() { done <- p.Run(ctx) }()
	<-reached
	admin := kadm.NewClient(mustClient(t, log))
	if _, err := admin.DeleteTopic(t.Context(), log.Topics.Events); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(t.Context(), 4, 1, nil, log.Topics.Events); err != nil {
		t.Fatal(err)
	}
	store.set(func(m *memory) {
		m.writeErr = func([]*projector.Batch) error { return projector.ErrFenced } // it looks where it stands
	})
	select {
	case err := <-done:
		var stop *projector.FatalError
		if !errors.As(err, &stop) || !strings.Contains(err.Error(), "made anew") {
			t.Errorf("it stopped with %v", err)
		}
	case <-time.After(90 * time.Second):
		t.Fatalf("it goes on; ready says %v", p.Ready())
	}
}
