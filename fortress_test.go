package ledgerline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/internal/rights"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// fortress is the bank on a Kafka that permits nothing that was not granted. Each role logs in under its own name.
type fortress struct {
	t        *testing.T
	kafka    *kit.SecuredKafkaServer
	admin    *kgo.Client
	prefix   string
	topics   schemas.Topics
	flags    []string // of every command, but for the login
	stores   []string
	granted  map[rights.Role][]rights.Grant
	password string // folder of files
}

func newFortress(t *testing.T) *fortress {
	t.Helper()
	kit.Start(t, kit.UseSecuredKafka, kit.UsePostgres)
	f := &fortress{t: t, kafka: kit.SecuredKafka(t), prefix: kit.Prefix(t), granted: map[rights.Role][]rights.Grant{}, password: t.TempDir()}
	f.admin, f.topics = f.kafka.Admin(t), schemas.TopicsOf(f.prefix, "account")
	reg, err := registry.Start(t.Context(), registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reg.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	f.flags = []string{
		"--kafka-brokers", f.kafka.Brokers()[0], "--kafka-tls", "--kafka-tls-ca", f.kafka.Authority().CA(), "--registry-url", reg.URL(), "--topic-prefix", f.prefix,
		"--kafka-sasl-mechanism", "SCRAM-SHA-512",
	}
	f.stores = []string{"--postgres-url", kit.Postgres(t).URL()}
	return f
}

// user is the login of a role.
func (f *fortress) user(role rights.Role) string { return f.prefix + string(role) }

// as are the flags of a command that logs in as a user.
func (f *fortress) as(user string, args ...string) []string {
	file := filepath.Join(f.password, user)
	if err := os.WriteFile(file, []byte(user+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return slices.Concat(args, f.flags, []string{"--kafka-sasl-user", user, "--kafka-sasl-password-file", file})
}

// run runs a command to its end.
func (f *fortress) run(user string, args ...string) (code int, out, said string) {
	f.t.Helper()
	return runDomain(f.t, bank.Domain(), f.as(user, args...)...)
}

// must is run for what has to succeed.
func (f *fortress) must(user string, args ...string) string {
	f.t.Helper()
	code, out, said := f.run(user, args...)
	if code != 0 {
		f.t.Fatalf("%v: exit code %d\n%s%s", args, code, out, said)
	}
	return out
}

// principals are the flags that name every role's.
func (f *fortress) principals() []string {
	var args []string
	for _, role := range rights.Roles() {
		args = append(args, "--"+string(role)+"-principal", "User:"+f.user(role))
	}
	return args
}

// build makes users and topics, and grants what topics acl says.
func (f *fortress) build() {
	f.t.Helper()
	for _, role := range rights.Roles() {
		f.kafka.User(f.t, f.user(role))
	}
	f.must(kit.AdminUser, "topics", "create", "--kafka-replication", "1")
	f.must(kit.AdminUser, append([]string{"topics", "acl", "--apply"}, f.principals()...)...)
	for _, role := range rights.Roles() {
		grants, err := rights.Read(f.t.Context(), f.admin, "User:"+f.user(role))
		if err != nil || len(grants) == 0 {
			f.t.Fatalf("%s was given %v, %v", role, grants, err)
		}
		f.granted[role] = grants
	}
	f.await(func() error {
		if code, out, said := f.run(kit.AdminUser, append([]string{"topics", "acl", "--compare"}, f.principals()...)...); code != 0 {
			return fmt.Errorf("after --apply, --compare says\n%s%s", out, said)
		}
		return nil
	})
}

func (f *fortress) await(check func() error) {
	f.t.Helper()
	kit.Await(f.t, 2*time.Minute, check)
}

// without takes one right away while something is done.
func (f *fortress) without(g rights.Grant, do func()) {
	f.t.Helper()
	if err := rights.Remove(f.t.Context(), f.admin, []rights.Grant{g}); err != nil {
		f.t.Fatal(err)
	}
	do()
	if err := rights.Add(f.t.Context(), f.admin, []rights.Grant{g}); err != nil {
		f.t.Fatal(err)
	}
}

// start runs a role; its parts are what /readyz says of them.
func (f *fortress) start(role rights.Role, args ...string) (parts func() map[string]string, stop func()) {
	f.t.Helper()
	port, err := process.FreePort()
	if err != nil {
		f.t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	ctx, cancel := context.WithCancel(f.t.Context())
	ended := make(chan struct{})
	var out, said kit.Output
	go func() {
		defer close(ended)
		ledgerline.Run(ctx, bank.Domain(), f.as(f.user(role), append(args, "--admin-listen", address)...), &out, &said)
	}()
	parts = func() map[string]string {
		req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, "http://"+address+"/readyz", http.NoBody)
		if err != nil {
			f.t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return map[string]string{"listener": err.Error()}
		}
		defer res.Body.Close()
		var doc struct{ Parts map[string]string }
		if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
			return map[string]string{"listener": err.Error()}
		}
		return doc.Parts
	}
	return parts, func() {
		cancel()
		<-ended
		if f.t.Failed() {
			f.t.Logf("%s said\n%s", role, said.String())
		}
	}
}
