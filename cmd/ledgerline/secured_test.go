package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/internal/rights"
)

// securedBank is the program against an Apache Kafka that speaks TLS alone and permits nothing that was not granted, beside the
// other real servers.
type securedBank struct {
	*program
	kafka  *kit.SecuredKafkaServer
	prefix string
	common []string
	stores []string
}

func newSecured(t *testing.T) *securedBank {
	t.Helper()
	kit.Start(t, kit.UseSecuredKafka, kit.UseRegistry, kit.UsePostgres, kit.UseClickHouse)
	s := &securedBank{program: newProgram(t), kafka: kit.SecuredKafka(t), prefix: kit.Prefix(t)}
	clickhouse := kit.ClickHouse(t).URL()
	for _, database := range []string{"bank", "ledgerline"} { // of another test in the same engine
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, clickhouse, strings.NewReader("DROP DATABASE IF EXISTS "+database))
		if err != nil {
			t.Fatal(err)
		}
		if code, body, err := do(req); err != nil || code != http.StatusOK {
			t.Fatalf("drop database %s: %d %s %v", database, code, body, err)
		}
	}
	s.common = []string{"--registry-url", kit.Registry(t).URL(), "--topic-prefix", s.prefix, "--kafka-tls", "--kafka-tls-ca", s.kafka.Authority().CA()}
	s.stores = []string{"--postgres-url", kit.Postgres(t).URL(), "--clickhouse-url", clickhouse}
	return s
}

func (s *securedBank) user(role rights.Role) string { return s.prefix + string(role) }

// login are the flags by which a user logs in: each role by another way.
func (s *securedBank) login(user string) []string {
	byPassword := func(mechanism string) []string {
		s.write(user+".password", user+"\n")
		return []string{"--kafka-brokers", s.kafka.Brokers()[0], "--kafka-sasl-mechanism", mechanism, "--kafka-sasl-user", user, "--kafka-sasl-password-file", user + ".password"}
	}
	switch user {
	case s.user(rights.Projector):
		id := s.kafka.Authority().Issue(s.t, user)
		return []string{"--kafka-brokers", s.kafka.CertificateBrokers()[0], "--kafka-tls-cert", id.Cert, "--kafka-tls-key", id.Key}
	case s.user(rights.Monitor):
		s.write(user+".token", kit.Token(user)+"\n")
		return []string{"--kafka-brokers", s.kafka.Brokers()[0], "--kafka-sasl-mechanism", "OAUTHBEARER", "--kafka-sasl-token-file", user + ".token"}
	case s.user(rights.API):
		return byPassword("SCRAM-SHA-256")
	}
	return byPassword("SCRAM-SHA-512")
}

// as are the arguments of a command that somebody calls.
func (s *securedBank) as(user string, args ...string) []string {
	return slices.Concat(args, s.common, s.login(user))
}

// role runs a role until stop is called.
func (s *securedBank) role(role rights.Role, args ...string) (admin string, stop func()) {
	s.t.Helper()
	port, err := process.FreePort()
	if err != nil {
		s.t.Fatal(err)
	}
	admin = fmt.Sprintf("127.0.0.1:%d", port)
	r := s.begin(append(s.as(s.user(role), args...), "--admin-listen", admin)...)
	s.await(func() error {
		if code, body := s.ask(admin, "/readyz"); code != http.StatusOK {
			return fmt.Errorf("/readyz of %s answers %d %s", role, code, body)
		}
		return nil
	})
	return admin, func() {
		s.t.Helper()
		r.signal(syscall.SIGTERM)
		r.ends(0)
	}
}

// The whole bank with TLS, logins and the rights that topics acl grants, and no other: every role, by every way to log in.
func TestSecured_TheBankWithJustItsRights(t *testing.T) {
	s := newSecured(t)
	var principals []string
	for _, role := range rights.Roles() {
		s.kafka.User(t, s.user(role))
		principals = append(principals, "--"+string(role)+"-principal", "User:"+s.user(role))
	}
	s.run(0, s.as(kit.AdminUser, "topics", "create", "--kafka-replication", "1")...)
	s.run(0, s.as(kit.AdminUser, append([]string{"topics", "acl", "--apply"}, principals...)...)...)

	_, stopProducer := s.role(rights.Producer, "producer", "--kafka-replication", "1")
	_, stopProjector := s.role(rights.Projector, append([]string{"projector"}, s.stores...)...)
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	api := fmt.Sprintf("127.0.0.1:%d", port)
	_, stopAPI := s.role(rights.API, append([]string{"api", "--api-listen", api}, s.stores...)...)
	monitor, stopMonitor := s.role(rights.Monitor, append([]string{"monitor"}, s.stores...)...)

	s.write("transactions.csv", `account_id,transaction_id,date,direction,amount_minor,balance_minor,operation,category,counterparty
ann,1,2026-01-05,credit,250000,250000,transfer_in,wages,AB/1234567
ann,2,2026-01-06,debit,80000,170000,transfer_out,household,CD/7654321
`)
	client := s.user(rights.Client)
	s.run(0, s.as(client, "import", "transactions.csv", "--currency", "EUR")...)
	s.run(0, s.as(client, "publish", "account", "DepositMoney", "--id", "ann", `{"amount_minor":1}`)...)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+api+"/accounts/ann/deposits", strings.NewReader(`{"amount_minor":11}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if code, body, err := do(req); err != nil || code != http.StatusOK || !strings.Contains(body, `"version":5`) {
		t.Errorf("a deposit is answered %d %s %v", code, body, err)
	}
	auditor := s.user(rights.Auditor)
	s.await(func() error {
		out, err := s.try(0, s.as(auditor, append([]string{"verify"}, s.stores...)...)...)
		if err == nil && strings.Contains(out.out, "behind:") {
			err = fmt.Errorf("verify says\n%s", out)
		}
		return err
	})
	s.await(func() error {
		_, body := s.ask(monitor, "/metrics")
		for _, projection := range bankProjections {
			if want := fmt.Sprintf("projection_lag{projector=%q} 0\n", projection); !strings.Contains(body, want) {
				return fmt.Errorf("the monitor's metrics don't hold %q", want)
			}
		}
		return nil
	})
	for _, role := range rights.Roles() {
		s.run(0, s.as(s.user(role), "topics", "acl", "--login", "--roles", string(role))...)
	}

	// Who is not permitted to is told what is missing; who is not let in, what to correct.
	if out := s.run(1, s.as(client, "events", "account", "ann")...); !strings.Contains(out.err, "this login lacks Read on topic "+s.prefix+"account.events") || !strings.Contains(out.err, "topics acl") {
		t.Errorf("a client that reads events is told\n%s", out)
	}
	s.write(client+".password", "wrong")
	wrong := slices.Concat([]string{"events", "account", "ann"}, s.common, []string{
		"--kafka-brokers", s.kafka.Brokers()[0], "--kafka-sasl-mechanism", "SCRAM-SHA-512", "--kafka-sasl-user", client, "--kafka-sasl-password-file", client + ".password",
	})
	if out := s.run(1, wrong...); !strings.Contains(out.err, "correct --kafka-sasl-user and its password") {
		t.Errorf("with a wrong password it says\n%s", out)
	}
	plain := []string{"events", "account", "ann", "--kafka-brokers", s.kafka.Brokers()[0]}
	if out := s.run(1, plain...); !strings.Contains(out.err, "--kafka-tls") {
		t.Errorf("without TLS it says\n%s", out)
	}
	if out := s.run(1, append(plain, "--kafka-tls", "--kafka-tls-ca", kit.NewAuthority(t).CA())...); !strings.Contains(out.err, "correct --kafka-tls-ca") {
		t.Errorf("with another CA it says\n%s", out)
	}
	if out := s.run(2, append(plain, "--kafka-tls", "--kafka-tls-ca", filepath.Join(s.folder, "none.pem"))...); !strings.Contains(out.err, "--kafka-tls-ca: open") {
		t.Errorf("without the file it says\n%s", out)
	}
	stopMonitor()
	stopAPI()
	stopProjector()
	stopProducer()
}
