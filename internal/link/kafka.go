package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// SASL mechanisms, as Kafka names them.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
)

// Mechanisms are those that there are.
func Mechanisms() []string { return []string{Plain, ScramSHA256, ScramSHA512, OAuthBearer} }

// Kafka says how its brokers are reached.
type Kafka struct {
	Encrypted bool // TLS is spoken
	TLS       TLS

	Mechanism    string // "": no login
	User         string
	Password     string
	PasswordFile string // in place of Password; read at each login
	TokenFile    string // of OAuthBearer; read at each login
}

// Options are those of every client. The error names each setting that can't be used.
func (k Kafka) Options() ([]kgo.Opt, error) {
	var opts []kgo.Opt
	var errs []error
	switch {
	case k.Encrypted:
		cfg, err := k.TLS.config()
		errs = append(errs, err)
		opts = append(opts, kgo.Dialer(dialer{k.TLS, cfg}.dial))
	case k.TLS.given():
		errs = append(errs, fmt.Errorf("%[1]s-ca, -cert and -key are for TLS: give %[1]s too", k.TLS.Flag))
	}
	mechanism, err := k.mechanism()
	errs = append(errs, err)
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, errors.Join(errs...)
}

// InClear reports whether the login sends a secret as it is over connections that anyone on the way can read.
func (k Kafka) InClear() bool {
	return !k.Encrypted && (k.Mechanism == Plain || k.Mechanism == OAuthBearer)
}

func (k Kafka) password() secret {
	return secret{text: k.Password, file: k.PasswordFile, flag: "--kafka-sasl-password-file", what: "password of --kafka-sasl-user"}
}

func (k Kafka) token() secret {
	return secret{file: k.TokenFile, flag: "--kafka-sasl-token-file", what: "token"}
}

func (k Kafka) mechanism() (sasl.Mechanism, error) {
	password, token := k.password(), k.token()
	switch {
	case k.Mechanism == "":
		with := "--kafka-sasl-mechanism: give " + strings.Join(Mechanisms(), ", ")
		return nil, errors.Join(belong(k.User != "", "--kafka-sasl-user", with), belong(password.given(), "a password for Kafka", with), belong(token.given(), token.flag, with))
	case !slices.Contains(Mechanisms(), k.Mechanism):
		return nil, nil // the setting's own check says so
	case k.Mechanism == OAuthBearer:
		if !token.given() {
			return nil, fmt.Errorf("--kafka-sasl-mechanism %s wants %s, the file that holds the token", k.Mechanism, token.flag)
		}
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			text, err := token.read()
			return oauth.Auth{Token: text}, err
		}), token.check("")
	}
	var errs []error
	if k.User == "" {
		errs = append(errs, fmt.Errorf("--kafka-sasl-mechanism %s wants --kafka-sasl-user", k.Mechanism))
	}
	if !password.given() {
		errs = append(errs, fmt.Errorf("--kafka-sasl-mechanism %s wants a password: give %s, or LEDGERLINE_KAFKA_SASL_PASSWORD in the environment", k.Mechanism, password.flag))
	}
	errs = append(errs, belong(token.given(), token.flag, "--kafka-sasl-mechanism "+OAuthBearer), password.check("LEDGERLINE_KAFKA_SASL_PASSWORD"))
	return k.byPassword(password), errors.Join(errs...)
}

func (k Kafka) byPassword(password secret) sasl.Mechanism {
	login := func(context.Context) (scram.Auth, error) {
		text, err := password.read()
		return scram.Auth{User: k.User, Pass: text}, err
	}
	switch k.Mechanism {
	case ScramSHA256:
		return scram.Sha256(login)
	case ScramSHA512:
		return scram.Sha512(login)
	}
	return plain.Plain(func(ctx context.Context) (plain.Auth, error) {
		a, err := login(ctx)
		return plain.Auth{User: a.User, Pass: a.Pass}, err
	})
}

// dialer speaks TLS, and says what to do when that fails.
type dialer struct {
	tls TLS
	cfg *tls.Config
}

// errNoTLS says what a broker that speaks no TLS leaves unsaid.
var errNoTLS = errors.New("nothing there answers in TLS: leave --kafka-tls out, or give the address of a TLS listener")

// dialTimeout is for connecting, and again for the handshake: the client's own default.
const dialTimeout = 10 * time.Second

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	cfg := d.cfg.Clone()
	if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	conn := tls.Client(raw, cfg)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("TLS with %s: %w: %w", address, err, errNoTLS)
		}
		return nil, fmt.Errorf("TLS with %s: %w", address, d.tls.explain(err))
	}
	return encrypted{conn, d.tls}, nil
}

// encrypted explains what a server says of the client's certificate, which in TLS 1.3 comes after the handshake.
type encrypted struct {
	*tls.Conn
	tls TLS
}

// Read implements net.Conn.
func (c encrypted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if remote(err) {
		err = c.tls.explain(err)
	}
	return n, err
}
