package link

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

// Registry says how the schema registry is reached.
type Registry struct {
	URL string // one or more, with commas between
	TLS TLS

	User         string
	Password     string
	PasswordFile string // in place of Password; read at each request
	TokenFile    string // of a bearer token; read at each request
}

// requestTimeout is that of the registry's client when it is not given one of ours.
const requestTimeout = 5 * time.Second

// Options are those of its client, but for the addresses. The error names each setting that can't be used.
func (r Registry) Options() ([]sr.ClientOpt, error) {
	var opts []sr.ClientOpt
	var errs []error
	if r.TLS.given() {
		if !strings.Contains(r.URL, "https://") {
			errs = append(errs, fmt.Errorf("%s-ca, -cert and -key are for TLS: --registry-url has to begin with https://", r.TLS.Flag))
		}
		cfg, err := r.TLS.config()
		errs = append(errs, err)
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = cfg
		opts = append(opts, sr.HTTPClient(&http.Client{Timeout: requestTimeout, Transport: explaining{r.TLS, transport}}))
	} else if strings.Contains(r.URL, "https://") {
		opts = append(opts, sr.HTTPClient(&http.Client{Timeout: requestTimeout, Transport: explaining{r.TLS, http.DefaultTransport}}))
	}
	login, err := r.login()
	errs = append(errs, err)
	if login != nil {
		opts = append(opts, sr.PreReq(login))
	}
	return opts, errors.Join(errs...)
}

// login adds to a request who asks.
func (r Registry) login() (func(*http.Request) error, error) {
	password := secret{text: r.Password, file: r.PasswordFile, flag: "--registry-password-file", what: "password of --registry-user"}
	token := secret{file: r.TokenFile, flag: "--registry-token-file", what: "token"}
	switch {
	case token.given() && (r.User != "" || password.given()):
		return nil, fmt.Errorf("%s and --registry-user are two logins: give one of them", token.flag)
	case token.given():
		return func(req *http.Request) error {
			text, err := token.read()
			req.Header.Set("Authorization", "Bearer "+text)
			return err
		}, token.check("")
	case r.User == "":
		return nil, belong(password.given(), "a password for the registry", "--registry-user")
	case !password.given():
		return nil, errors.New("--registry-user wants a password: give --registry-password-file, or LEDGERLINE_REGISTRY_PASSWORD in the environment")
	}
	return func(req *http.Request) error {
		text, err := password.read()
		req.SetBasicAuth(r.User, text)
		return err
	}, password.check("LEDGERLINE_REGISTRY_PASSWORD")
}

// explaining says what to do when TLS fails.
type explaining struct {
	tls  TLS
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (e explaining) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := e.next.RoundTrip(req)
	return res, e.tls.explain(err)
}
