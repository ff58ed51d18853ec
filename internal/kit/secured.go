package kit

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// SecuredKafkaServer is an Apache Kafka that speaks TLS alone, wants a login, and permits nothing that was not granted. It is a
// broker of its own, beside the one that Kafka gives.
type SecuredKafkaServer struct {
	*KafkaServer
	secured *secured
}

// SecuredKafka starts it if it does not run.
func SecuredKafka(t testing.TB) *SecuredKafkaServer {
	t.Helper()
	s := shared.of(UseSecuredKafka)
	s.use(t)
	broker := s.starter.(*kafka)
	return &SecuredKafkaServer{&KafkaServer{t: t, server: s, broker: broker}, broker.secured}
}

// Brokers are the addresses of the listener that wants a login: SCRAM-SHA-256 and -512, OAUTHBEARER with tokens that nobody signed
// (Token makes one), and PLAIN for the user "plain" with the password "plain".
func (k *SecuredKafkaServer) Brokers() []string { return []string{k.broker.addr()} }

// CertificateBrokers are the addresses of the listener that wants a certificate of Authority: User:<its common name> is who comes.
func (k *SecuredKafkaServer) CertificateBrokers() []string { return []string{k.secured.addr()} }

// Authority signs its certificate, and those of clients.
func (k *SecuredKafkaServer) Authority() *Authority { return k.secured.authority }

// AdminUser may do everything; its password is the same.
const AdminUser = "admin"

// Admin is a client that may do everything, and closes with the test.
func (k *SecuredKafkaServer) Admin(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return k.As(t, AdminUser, opts...)
}

// As is a client that logs in as a user, and closes with the test.
func (k *SecuredKafkaServer) As(t testing.TB, user string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	login, err := k.secured.login(user)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, k.Brokers(), append(login, opts...))
}

// User makes a user who logs in by SCRAM, and is permitted nothing yet. The password is the user's name.
func (k *SecuredKafkaServer) User(t testing.TB, name string) {
	t.Helper()
	adm := kadm.NewClient(k.Admin(t))
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		done, err := adm.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: name, Mechanism: mechanism, Iterations: 4096, Password: name}})
		if err == nil {
			err = done.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Token is what lets somebody in by OAUTHBEARER.
func Token(user string) string {
	now := time.Now()
	claims, _ := json.Marshal(map[string]any{"sub": user, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}) //nolint:errchkjson // numbers and a text
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims) + "."
}

// Tool runs one of Kafka's own command-line tools as AdminUser.
func (k *SecuredKafkaServer) Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "client.properties")
	text := strings.Join([]string{
		"security.protocol=SASL_SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=" + k.Authority().CA(), "sasl.mechanism=SCRAM-SHA-512",
		fmt.Sprintf("sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=%q password=%q;", AdminUser, AdminUser), "",
	}, "\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return k.KafkaServer.Tool(t, name, append([]string{"--command-config", file}, args...)...)
}

// secured is what a broker has of it beside a plain one.
type secured struct {
	port int // of the listener that wants certificates

	once      sync.Once
	authority *Authority
	err       error
}

func (s *secured) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// prepare makes the certificates.
func (s *secured) prepare(dir string) error {
	s.once.Do(func() {
		folder := filepath.Join(dir, "certificates")
		if s.err = os.MkdirAll(folder, 0o700); s.err != nil {
			return
		}
		if s.authority, s.err = newAuthority(folder); s.err != nil {
			return
		}
		_, s.err = s.authority.issue("broker")
	})
	if s.err != nil || s.port != 0 {
		return s.err
	}
	var err error
	s.port, err = process.FreePort()
	return err
}

// settings are those that differ from a plain broker's.
func (s *secured) settings(k *kafka) map[string]string {
	modules := "org.apache.kafka.common.security."
	return map[string]string{
		"listeners":                      fmt.Sprintf("SASL_SSL://%s,SSL://%s,CONTROLLER://127.0.0.1:%d", k.addr(), s.addr(), k.controller),
		"advertised.listeners":           fmt.Sprintf("SASL_SSL://%s,SSL://%s", k.addr(), s.addr()),
		"listener.security.protocol.map": "SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":     "SSL",

		"ssl.keystore.type":                                     "PEM",
		"ssl.keystore.location":                                 filepath.Join(s.authority.dir, "broker.both.pem"),
		"ssl.truststore.type":                                   "PEM",
		"ssl.truststore.location":                               s.authority.CA(),
		"listener.name.ssl.ssl.client.auth":                     "required",
		"ssl.principal.mapping.rules":                           "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
		"sasl.enabled.mechanisms":                               "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"sasl.oauthbearer.expected.audience":                    "",
		"connections.max.reauth.ms":                             "0",
		"authorizer.class.name":                                 "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                           "User:" + AdminUser + ";User:broker;User:ANONYMOUS", // the last is the controller's own listener
		"listener.name.sasl_ssl.plain.sasl.jaas.config":         modules + `plain.PlainLoginModule required user_plain="plain";`,
		"listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": modules + "scram.ScramLoginModule required;",
		"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": modules + "scram.ScramLoginModule required;",
		"listener.name.sasl_ssl.oauthbearer.sasl.jaas.config":   modules + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
	}
}

// format are further arguments of the storage tool: nobody could make the first user otherwise.
func (s *secured) format() []string {
	return []string{"--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", AdminUser, AdminUser)}
}

// login is that of a user whose password is the same.
func (s *secured) login(user string) ([]kgo.Opt, error) {
	pem, err := os.ReadFile(s.authority.CA())
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(bytes.TrimSpace(pem)) {
		return nil, errors.New("the authority's certificate can't be read")
	}
	return []kgo.Opt{
		kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted}),
		kgo.SASL(scram.Sha512(func(context.Context) (scram.Auth, error) { return scram.Auth{User: user, Pass: user}, nil })),
	}, nil
}
