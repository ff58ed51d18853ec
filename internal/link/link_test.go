package link_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/link"
)

func TestMain(m *testing.M) { kit.Main(m) }

// ask connects and asks something; the error has the hint that a command would print.
func ask(t *testing.T, brokers []string, k link.Kafka) error {
	t.Helper()
	opts, err := k.Options()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = kadm.NewClient(cl).ListTopics(ctx)
	return err
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// deaf ends each connection at its first word, as a broker does that takes the beginning of TLS for a huge request.
func deaf(t *testing.T) []string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1<<10))
			_ = conn.Close()
		}
	}()
	return []string{l.Addr().String()}
}

func files(a *kit.Authority, id kit.Identity) link.TLS {
	return link.TLS{Flag: "--kafka-tls", CA: a.CA(), Cert: id.Cert, Key: id.Key}
}

func TestKafka_LogsInOverTLS_AndSaysWhatIsWrong(t *testing.T) {
	ca, stranger := kit.NewAuthority(t), kit.NewAuthority(t)
	login := []kfake.Opt{
		kfake.EnableSASL(), kfake.Superuser(link.Plain, "ann", "pass"), kfake.Superuser(link.ScramSHA256, "ann", "pass256"), kfake.Superuser(link.ScramSHA512, "ann", "pass512"),
	}
	secured := kit.FakeKafka(t, append(login, kfake.TLS(ca.Server(t)))...).Brokers()
	mutual := ca.Server(t)
	mutual.ClientAuth = tls.RequireAndVerifyClientCert
	asking := kit.FakeKafka(t, kfake.TLS(mutual)).Brokers()
	elsewhere := kit.FakeKafka(t, kfake.TLS(ca.Server(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"broker-1"} }))).Brokers()
	ended := kit.FakeKafka(t, kfake.TLS(ca.Server(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))).Brokers()
	plain, deaf, wantsLogin := kit.FakeKafka(t).Brokers(), deaf(t), kit.FakeKafka(t, login...).Brokers()

	trusting := link.TLS{Flag: "--kafka-tls", CA: ca.CA()}
	for name, c := range map[string]struct {
		brokers []string
		kafka   link.Kafka
		want    string // "": it works
	}{
		"plain":                    {plain, link.Kafka{}, ""},
		"PLAIN":                    {secured, link.Kafka{Encrypted: true, TLS: trusting, Mechanism: link.Plain, User: "ann", Password: "pass"}, ""},
		"SCRAM-SHA-256":            {secured, link.Kafka{Encrypted: true, TLS: trusting, Mechanism: link.ScramSHA256, User: "ann", Password: "pass256"}, ""},
		"SCRAM-SHA-512":            {secured, link.Kafka{Encrypted: true, TLS: trusting, Mechanism: link.ScramSHA512, User: "ann", PasswordFile: write(t, "pass512\n")}, ""},
		"SCRAM without TLS":        {wantsLogin, link.Kafka{Mechanism: link.ScramSHA512, User: "ann", Password: "pass512"}, ""},
		"client's certificate":     {asking, link.Kafka{Encrypted: true, TLS: files(ca, ca.Issue(t, "ann"))}, ""},
		"no login":                 {secured, link.Kafka{Encrypted: true, TLS: trusting}, "--kafka-sasl-mechanism"},
		"wrong CA":                 {secured, link.Kafka{Encrypted: true, TLS: link.TLS{Flag: "--kafka-tls", CA: stranger.CA()}}, "correct --kafka-tls-ca: no certificate in " + stranger.CA()},
		"no CA":                    {secured, link.Kafka{Encrypted: true, TLS: link.TLS{Flag: "--kafka-tls"}}, "give --kafka-tls-ca"},
		"another name":             {elsewhere, link.Kafka{Encrypted: true, TLS: trusting}, "is for other names"},
		"certificate ended":        {ended, link.Kafka{Encrypted: true, TLS: trusting}, "renewed"},
		"TLS with a plain broker":  {deaf, link.Kafka{Encrypted: true, TLS: trusting}, "leave --kafka-tls out"},
		"plain with a TLS broker":  {secured, link.Kafka{}, "--kafka-tls"},
		"login to a TLS broker":    {secured, link.Kafka{Mechanism: link.ScramSHA256, User: "ann", Password: "pass256"}, "--kafka-tls"},
		"no certificate":           {asking, link.Kafka{Encrypted: true, TLS: trusting}, "give --kafka-tls-cert and --kafka-tls-key"},
		"another CA's certificate": {asking, link.Kafka{Encrypted: true, TLS: files(ca, stranger.Issue(t, "ann"))}, "correct --kafka-tls-cert and --kafka-tls-key"},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, c.brokers, c.kafka, c.want)
		})
	}
}

// A password that is renewed in its file, and a certificate in its own, are used at the next connection.
func TestKafka_RenewedSecretsNeedNoRestart(t *testing.T) {
	broker := kit.FakeKafka(t, kfake.EnableSASL(), kfake.Superuser(link.ScramSHA512, "ann", "new"))
	k := link.Kafka{Mechanism: link.ScramSHA512, User: "ann", PasswordFile: write(t, "old")}
	opts, err := k.Options()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(broker.Brokers()...))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.Ping(t.Context()); err == nil {
		t.Fatal("the old password works")
	}
	if err := os.WriteFile(k.PasswordFile, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cl.Ping(t.Context()); err != nil {
		t.Fatalf("with the new password it says %v", err)
	}
}

func TestKafka_SettingsThatCannotWork(t *testing.T) {
	ca := kit.NewAuthority(t)
	ann, bob := ca.Issue(t, "ann"), ca.Issue(t, "bob")
	old := ca.Issue(t, "old", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	certs := func(files link.TLS) link.Kafka {
		files.Flag = "--kafka-tls"
		return link.Kafka{Encrypted: true, TLS: files}
	}
	for want, k := range map[string]link.Kafka{
		"--kafka-tls-ca: open /none: no such file":                                certs(link.TLS{CA: "/none"}),
		"holds no certificate in PEM":                                             certs(link.TLS{CA: ann.Key}),
		"--kafka-tls-cert and --kafka-tls-key belong together":                    certs(link.TLS{Cert: ann.Cert}),
		"--kafka-tls-key: open /none":                                             certs(link.TLS{Cert: ann.Cert, Key: "/none"}),
		"--kafka-tls-cert: open /none":                                            certs(link.TLS{Cert: "/none", Key: ann.Key}),
		"private key does not match public key: give a certificate and the":       certs(link.TLS{Cert: ann.Cert, Key: bob.Key}),
		"old.pem ended on":                                                        certs(link.TLS{Cert: old.Cert, Key: old.Key}),
		"give --kafka-tls too":                                                    {TLS: link.TLS{Flag: "--kafka-tls", CA: ca.CA()}},
		"--kafka-sasl-user is given without --kafka-sasl-mechanism: give PLAIN, ": {User: "ann"},
		"SCRAM-SHA-512 wants --kafka-sasl-user":                                   {Mechanism: link.ScramSHA512, Password: "x"},
		"SCRAM-SHA-512 wants a password: give --kafka-sasl-password-file, or LED": {Mechanism: link.ScramSHA512, User: "ann"},
		"--kafka-sasl-password-file: open /none":                                  {Mechanism: link.ScramSHA512, User: "ann", PasswordFile: "/none"},
		"is empty: write the password":                                            {Mechanism: link.Plain, User: "ann", PasswordFile: write(t, "\n")},
		"has several lines":                                                       {Mechanism: link.Plain, User: "ann", PasswordFile: write(t, "a\nb\n")},
		"give one of them":                                                        {Mechanism: link.Plain, User: "ann", Password: "x", PasswordFile: write(t, "x")},
		"OAUTHBEARER wants --kafka-sasl-token-file":                               {Mechanism: link.OAuthBearer},
		"--kafka-sasl-token-file: open /none":                                     {Mechanism: link.OAuthBearer, TokenFile: "/none"},
		"--kafka-sasl-token-file is given without --kafka-sasl-mechanism OAUTHBE": {Mechanism: link.Plain, User: "ann", Password: "x", TokenFile: "/none"},
	} {
		if _, err := k.Options(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %v, wanted %q", err, want)
		}
	}
}

func TestRegistry_LogsInOverTLS_AndSaysWhatIsWrong(t *testing.T) {
	ca, stranger := kit.NewAuthority(t), kit.NewAuthority(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", ca.Server(t))
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, basic := r.BasicAuth()
		if !(basic && user == "ann" && pass == "pass") && r.Header.Get("Authorization") != "Bearer token-1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("[]"))
	})}}
	server.Start()
	t.Cleanup(server.Close)
	url := "https://" + listener.Addr().String()
	trusting := link.TLS{Flag: "--registry-tls", CA: ca.CA()}
	for name, c := range map[string]struct {
		registry link.Registry
		want     string
	}{
		"basic":          {link.Registry{URL: url, TLS: trusting, User: "ann", PasswordFile: write(t, "pass")}, ""},
		"bearer":         {link.Registry{URL: url, TLS: trusting, TokenFile: write(t, "token-1\n")}, ""},
		"wrong password": {link.Registry{URL: url, TLS: trusting, User: "ann", Password: "?"}, "the registry wants another login"},
		"no login":       {link.Registry{URL: url, TLS: trusting}, "the registry wants another login"},
		"wrong CA":       {link.Registry{URL: url, TLS: link.TLS{Flag: "--registry-tls", CA: stranger.CA()}}, "correct --registry-tls-ca"},
		"no CA":          {link.Registry{URL: url, TLS: link.TLS{Flag: "--registry-tls"}}, "give --registry-tls-ca"},
	} {
		t.Run(name, func(t *testing.T) {
			opts, err := c.registry.Options()
			if err != nil {
				t.Fatal(err)
			}
			cl, err := sr.NewClient(append(opts, sr.URLs(url))...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = cl.Subjects(t.Context())
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if text := err.Error() + (link.Kafka{}).Hint(err); !strings.Contains(text, c.want) {
				t.Errorf("it says %q, wanted %q", text, c.want)
			}
		})
	}
	for want, r := range map[string]link.Registry{
		"has to begin with https://":              {URL: "http://" + net.JoinHostPort("127.0.0.1", "1"), TLS: trusting},
		"--registry-user wants a password":        {URL: url, User: "ann"},
		"a password for the registry is given wi": {URL: url, Password: "x"},
		"are two logins":                          {URL: url, User: "ann", Password: "x", TokenFile: "/none"},
		"--registry-token-file: open /none":       {URL: url, TokenFile: "/none"},
	} {
		if _, err := r.Options(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %v, wanted %q", err, want)
		}
	}
}

// says connects and holds what it is told against what it should hear; "": it works.
func says(t *testing.T, brokers []string, kafka link.Kafka, want string) {
	t.Helper()
	err := ask(t, brokers, kafka)
	if want == "" {
		if err != nil {
			t.Fatalf("it says %v", err)
		}
		return
	}
	if err == nil {
		t.Fatal("it works")
	}
	text := err.Error() + ": " + kafka.Hint(err)
	t.Log(text)
	if !strings.Contains(text, want) {
		t.Errorf("it says %q, wanted %q", text, want)
	}
}
