package link

import (
	"errors"
	"net/http"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

// Hint says what to do about an error that a server answered with, or "" when there is nothing to add.
func (k Kafka) Hint(err error) string {
	var eof *kgo.ErrFirstReadEOF
	var registry *sr.ResponseError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errNoTLS) && !strings.Contains(err.Error(), errNoTLS.Error()): // the client tells what it takes the end of a connection for
		return errNoTLS.Error()
	case k.Mechanism == OAuthBearer && (errors.Is(err, kerr.SaslAuthenticationFailed) || strings.Contains(err.Error(), "oauth response")):
		return "Kafka refuses the login: the token in --kafka-sasl-token-file may have ended, or be of an issuer that the brokers don't trust"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "Kafka refuses the login: correct --kafka-sasl-user and its password, and look whether the user has one for " + k.Mechanism + ": each mechanism has its own"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "that listener does not know --kafka-sasl-mechanism " + k.Mechanism + ": give one that it knows, or the address of another listener"
	case errors.Is(err, kerr.IllegalSaslState):
		return "that listener wants no login: leave --kafka-sasl-mechanism out, or give the address of another listener"
	case strings.Contains(err.Error(), "tls alert record"):
		return "that listener speaks TLS: add --kafka-tls, or give the address of another listener"
	case errors.As(err, &eof) && !k.Encrypted && k.Mechanism == "":
		return "the broker ended the connection at the first word: its listener may speak TLS (--kafka-tls) or want a login (--kafka-sasl-mechanism)"
	case errors.As(err, &eof) && k.Mechanism == "":
		return "the broker ended the connection at the first word: its listener may want a login (--kafka-sasl-mechanism)"
	case errors.As(err, &eof) && !k.Encrypted:
		return "the broker ended the connection at the first word: its listener may speak TLS (--kafka-tls)"
	case errors.As(err, &registry) && registry.StatusCode == http.StatusUnauthorized:
		return "the registry wants another login: give --registry-user with its password, or --registry-token-file"
	case errors.As(err, &registry) && registry.StatusCode == http.StatusForbidden:
		return "the registry knows this login and forbids what was asked: a producer and those who publish register schemas, all others read them"
	}
	return ""
}
