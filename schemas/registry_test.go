package schemas_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// registries are those that the platform's use of a registry is held against.
var registries = map[string]func(t *testing.T) *sr.Client{
	"embedded": func(t *testing.T) *sr.Client { return newServer(t).reg.Client() },
	"apicurio": func(t *testing.T) *sr.Client { return kit.Registry(t).Client(t) },
}

func onEach(t *testing.T, test func(t *testing.T, cl *sr.Client, topic string)) {
	for name, client := range registries {
		t.Run(name, func(t *testing.T) { test(t, client(t), kit.Prefix(t)+"account.events") })
	}
}

func events(cl *sr.Client, topic string, types ...schemas.Type[account.Event]) *schemas.Serde[account.Event] {
	return schemas.NewSerde(schemas.NewCodec(schemas.NewRegistry(cl)), topic, schemas.FullTransitive, types...)
}

func TestRegister_SubjectsAndLevels(t *testing.T) {
	onEach(t, func(t *testing.T, cl *sr.Client, topic string) {
		var first []byte
		for range 2 { // two processes, one after the other
			s := events(cl, topic, account.Kind.Events...)
			for range 2 {
				if err := s.Register(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			data, err := s.Append(nil, &account.AccountClosed{Reason: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if first != nil && !bytes.Equal(first, data) {
				t.Errorf("the second process writes %x, the first %x", data, first)
			}
			first = data
		}
		for _, typ := range account.Kind.Events {
			subject := schemas.Subject(topic, typ.Name)
			if versions, err := cl.SubjectVersions(t.Context(), subject); err != nil || len(versions) != 1 {
				t.Errorf("%s: versions %v, %v", subject, versions, err)
			}
			if got := cl.Compatibility(t.Context(), subject)[0]; got.Err != nil || got.Level != sr.CompatFullTransitive {
				t.Errorf("%s: level %v, %v", subject, got.Level, got.Err)
			}
		}
		// Another process, which registered nothing, reads.
		got, err := events(cl, topic, account.Kind.Events...).Decode(t.Context(), first)
		if err != nil || got.(*account.AccountClosed).Reason != "x" {
			t.Errorf("read %+v, %v", got, err)
		}
	})
}

// Processes that start at the same moment register the same: the registry may refuse one of them what another has just set.
func TestRegister_SideBySide(t *testing.T) {
	onEach(t, func(t *testing.T, cl *sr.Client, topic string) {
		var starting sync.WaitGroup
		for range 8 {
			starting.Go(func() {
				if err := events(cl, topic, account.Kind.Events...).Register(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		starting.Wait()
	})
}

func TestRegister_HeldAgainstAllEarlierVersions(t *testing.T) {
	onEach(t, func(t *testing.T, cl *sr.Client, topic string) {
		typ := depositedType(t)
		if _, err := cl.RegisterSchema(t.Context(), schemas.Subject(topic, typ.Name), sr.Schema{Schema: withoutFields(t, typ.Schema, "category")}, -1, -1); err != nil {
			t.Fatal(err)
		}
		if err := events(cl, topic, typ).Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A subject whose earlier version cannot be read.
		other := schemas.Subject(topic, "ledgerline.account.AccountClosed")
		if _, err := cl.RegisterSchema(t.Context(), other, sr.Schema{Schema: `{"type":"record","name":"AccountClosed","namespace":"ledgerline.account","fields":[{"name":"reason","type":"long"}]}`}, -1, -1); err != nil {
			t.Fatal(err)
		}
		err := events(cl, topic, account.Kind.Events...).Register(t.Context())
		if !errors.Is(err, schemas.ErrIncompatible) || errors.Is(err, schemas.ErrRegistryUnavailable) || !strings.Contains(err.Error(), other) || !strings.Contains(err.Error(), "reason") {
			t.Errorf("an incompatible version: %v", err)
		}
	})
}

// What the registries themselves let pass.
func TestRegister_ChangedUnitsAndScalesAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, cl *sr.Client, topic string) {
		typ := everythingType(t)
		for i, change := range [][2]string{
			{`"at","type":{"type":"long","logicalType":"timestamp-micros"}`, `"at","type":{"type":"long","logicalType":"timestamp-millis"}`},
			{`"precision":9,"scale":4`, `"precision":9,"scale":3`},
		} {
			topic := fmt.Sprintf("%s.%d", topic, i)
			subject := schemas.Subject(topic, typ.Name)
			earlier := strings.Replace(typ.Schema, change[0], change[1], 1)
			if earlier == typ.Schema {
				t.Fatalf("the schema has no %s", change[0])
			}
			if _, err := cl.RegisterSchema(t.Context(), subject, sr.Schema{Schema: earlier}, -1, -1); err != nil {
				t.Fatal(err)
			}
			s := schemas.NewSerde(schemas.NewCodec(schemas.NewRegistry(cl)), topic, schemas.BackwardTransitive, typ)
			if err := s.Register(t.Context()); !errors.Is(err, schemas.ErrIncompatible) || !strings.Contains(err.Error(), subject) {
				t.Errorf("%s: %v", change[1], err)
			}
			if versions, err := cl.SubjectVersions(t.Context(), subject); err != nil || len(versions) != 1 {
				t.Errorf("%s: versions %v, %v", subject, versions, err)
			}
		}
	})
}

func TestRegister_AnotherLevelIsCorrected(t *testing.T) {
	onEach(t, func(t *testing.T, cl *sr.Client, topic string) {
		typ := depositedType(t)
		subject := schemas.Subject(topic, typ.Name)
		if _, err := cl.RegisterSchema(t.Context(), subject, sr.Schema{Schema: typ.Schema}, -1, -1); err != nil {
			t.Fatal(err)
		}
		setLevel := cl.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatNone}, subject)[0]
		if setLevel.Err != nil {
			t.Fatal(setLevel.Err)
		}
		if err := events(cl, topic, typ).Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := cl.Compatibility(t.Context(), subject)[0]; got.Err != nil || got.Level != sr.CompatFullTransitive {
			t.Errorf("level %v, %v", got.Level, got.Err)
		}
	})
}

func TestDecode_SchemaWithReferences(t *testing.T) {
	onEach(t, func(t *testing.T, cl *sr.Client, topic string) {
		money := `{"type":"record","name":"Who","namespace":"ledgerline.account","fields":[{"name":"name","type":"string"}]}`
		if _, err := cl.RegisterSchema(t.Context(), topic+"-who", sr.Schema{Schema: money}, -1, -1); err != nil {
			t.Fatal(err)
		}
		schema := `{"type":"record","name":"AccountClosed","namespace":"ledgerline.account","fields":[{"name":"who","type":"ledgerline.account.Who"},{"name":"reason","type":"string"}]}`
		id, err := cl.RegisterSchema(t.Context(), topic+"-with", sr.Schema{Schema: schema, References: []sr.SchemaReference{{Name: "ledgerline.account.Who", Subject: topic + "-who", Version: 1}}}, -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := events(cl, topic, account.Kind.Events...).Decode(t.Context(), wire(id, []byte("\x06Jan\x04ok")))
		if err != nil || got.(*account.AccountClosed).Reason != "ok" {
			t.Errorf("read %+v, %v", got, err)
		}
	})
}

func TestDecode_UnknownSchemaID(t *testing.T) {
	onEach(t, func(t *testing.T, cl *sr.Client, topic string) {
		_, err := events(cl, topic, account.Kind.Events...).Decode(t.Context(), wire(1<<30, []byte{0}))
		if !errors.Is(err, schemas.ErrUnknownSchema) || errors.Is(err, schemas.ErrRegistryUnavailable) || !strings.Contains(err.Error(), fmt.Sprint(1<<30)) {
			t.Errorf("%v", err)
		}
	})
}

// answers is a registry that always says the same.
func answers(status int, body string) failure {
	return func(*http.Request) (int, string, error) { return status, body, nil }
}

func TestRegistry_DownIsNotTheValuesFault(t *testing.T) {
	srv := newServer(t)
	cl := srv.reg.Client()
	id := srv.written(t, "s", depositedType(t).Schema)
	value := wire(id, encodeAs(t, depositedType(t).Schema, map[string]any{"amount_minor": 1, "balance_minor": 1, "currency": "EUR", "operation": "", "category": "", "counterparty": ""}))
	s := events(cl, "t", account.Kind.Events...)
	for name, fail := range map[string]failure{
		"refused":      func(*http.Request) (int, string, error) { return 0, "", errors.New("connection refused") },
		"500":          answers(500, `{"error_code":50001,"message":"store"}`),
		"503 page":     answers(503, "<html>"),
		"429":          answers(429, ""),
		"401":          answers(401, `{"error_code":401,"message":"who are you"}`),
		"404 page":     answers(404, "404 page not found"),
		"not a schema": answers(200, "<html>"),
	} {
		srv.fail.Store(&fail)
		if _, err := s.Decode(t.Context(), value); !errors.Is(err, schemas.ErrRegistryUnavailable) || errors.Is(err, schemas.ErrUnknownSchema) {
			t.Errorf("%s: Decode: %v", name, err)
		}
		if err := s.Register(t.Context()); !errors.Is(err, schemas.ErrRegistryUnavailable) {
			t.Errorf("%s: Register: %v", name, err)
		}
		srv.fail.Store(nil)
		// And at once when it is back.
		if _, err := events(cl, "t", account.Kind.Events...).Decode(t.Context(), value); err != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
	}
	if _, err := s.Decode(t.Context(), value); err != nil {
		t.Errorf("the serde that had seen it down: %v", err)
	}
}

func TestRegistry_RefusalsSayWhy(t *testing.T) {
	srv := newServer(t)
	typ := depositedType(t)
	subject := schemas.Subject("t", typ.Name)
	refuse := func(status int, body string) failure {
		return func(req *http.Request) (int, string, error) {
			if req.Method != http.MethodPost || !strings.HasSuffix(req.URL.Path, "/versions") {
				return 0, "", nil
			}
			return status, body, nil
		}
	}
	for says, c := range map[string]struct {
		fail failure
		want error
	}{
		"for this and that reason": {refuse(409, `{"error_code":409,"message":"for this and that reason"}`), schemas.ErrIncompatible},
		"field without a type":     {refuse(422, `{"error_code":42201,"message":"field without a type"}`), nil},
	} {
		srv.fail.Store(&c.fail)
		err := events(srv.reg.Client(), "t", typ).Register(t.Context())
		if err == nil || c.want != nil && !errors.Is(err, c.want) || errors.Is(err, schemas.ErrRegistryUnavailable) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), subject) {
			t.Errorf("%v; want it to say %q and %s", err, says, subject)
		}
	}
	// A registry that keeps its own level.
	fail := failure(func(req *http.Request) (int, string, error) {
		if !strings.HasPrefix(req.URL.Path, "/config/") {
			return 0, "", nil
		}
		return http.StatusOK, `{"compatibilityLevel":"NONE","compatibility":"NONE"}`, nil
	})
	srv.fail.Store(&fail)
	if err := events(srv.reg.Client(), "t", typ).Register(t.Context()); err == nil || !strings.Contains(err.Error(), subject) || !strings.Contains(err.Error(), "NONE") {
		t.Errorf("a level that stays: %v", err)
	}
	// A registry that gives an id of something else.
	wrong := srv.written(t, "other", withoutFields(t, typ.Schema, "balance_minor"))
	fail = refuse(http.StatusOK, fmt.Sprintf(`{"id":%d}`, wrong))
	if err := events(srv.reg.Client(), "t", typ).Register(t.Context()); err == nil || !strings.Contains(err.Error(), "another schema") {
		t.Errorf("an id of another schema: %v", err)
	}
}

func TestDecode_UnknownIDIsAskedForOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked, known := 0, false
		rt := failure(func(*http.Request) (int, string, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			if known {
				body, err := json.Marshal(sr.Schema{Schema: depositedType(t).Schema})
				return http.StatusOK, string(body), err
			}
			return http.StatusNotFound, `{"error_code":40403,"message":"Schema not found"}`, nil
		})
		cl, err := sr.NewClient(sr.HTTPClient(&http.Client{Transport: rt}))
		if err != nil {
			t.Fatal(err)
		}
		s := events(cl, "t", account.Kind.Events...)
		value := wire(7, encodeAs(t, depositedType(t).Schema, map[string]any{"amount_minor": 1, "balance_minor": 1, "currency": "EUR", "operation": "", "category": "", "counterparty": ""}))
		for range 100 {
			if _, err := s.Decode(t.Context(), value); !errors.Is(err, schemas.ErrUnknownSchema) {
				t.Fatal(err)
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		known = true
		<-time.After(3 * time.Second) // of the test's own clock: the answer is believed for two
		if _, err := s.Decode(t.Context(), value); err != nil {
			t.Error(err)
		}
		for range 100 {
			if _, err := s.Decode(t.Context(), value); err != nil {
				t.Error(err)
			}
		}
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestDecode_OneWhoStopsWaitingStopsNobodyElse(t *testing.T) {
	srv := newServer(t)
	id := srv.written(t, "s", depositedType(t).Schema)
	value := wire(id, encodeAs(t, depositedType(t).Schema, map[string]any{"amount_minor": 1, "balance_minor": 1, "currency": "EUR", "operation": "", "category": "", "counterparty": ""}))
	arrived, open := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hold := failure(func(*http.Request) (int, string, error) {
		once.Do(func() { close(arrived) })
		<-open
		return 0, "", nil
	})
	srv.fail.Store(&hold)
	s := events(srv.reg.Client(), "t", account.Kind.Events...)
	impatient, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := s.Decode(impatient, value); first <- err }()
	<-arrived
	go func() { _, err := s.Decode(t.Context(), value); second <- err }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) || !errors.Is(err, schemas.ErrRegistryUnavailable) {
		t.Errorf("who stopped waiting: %v", err)
	}
	close(open)
	if err := <-second; err != nil {
		t.Errorf("who waited on: %v", err)
	}
}
