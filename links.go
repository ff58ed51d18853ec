package ledgerline

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/link"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// linkSettings are how Kafka and the registry are reached. Postgres and ClickHouse have all that in their URLs.
var linkSettings = []cli.Setting{
	{Key: "kafka.tls", Default: false, Help: "speak TLS with the brokers"},
	{Key: "kafka.tls-ca", Default: "", Help: "PEM file of the certificates that sign the brokers'; none: those that the system trusts"},
	{Key: "kafka.tls-cert", Default: "", Help: "PEM file of this client's certificate, for brokers that ask for one; read at each connection"},
	{Key: "kafka.tls-key", Default: "", Help: "PEM file of its private key"},
	{Key: "kafka.sasl-mechanism", Default: "", Help: "how to log in to the brokers: " + strings.Join(link.Mechanisms(), ", ") + "; none: no login", Check: orNone(checkMechanism)},
	{Key: "kafka.sasl-user", Default: "", Help: "who logs in"},
	{Key: "kafka.sasl-password", Default: "", Secret: true, Help: "the user's password; in the environment or a file, never a flag"},
	{Key: "kafka.sasl-password-file", Default: "", Help: "file that holds the password; read at each login"},
	{Key: "kafka.sasl-token-file", Default: "", Help: "file that holds the token of " + link.OAuthBearer + "; read at each login"},
	{Key: "registry.tls-ca", Default: "", Help: "PEM file of the certificates that sign the registry's"},
	{Key: "registry.tls-cert", Default: "", Help: "PEM file of this client's certificate, for a registry that asks for one"},
	{Key: "registry.tls-key", Default: "", Help: "PEM file of its private key"},
	{Key: "registry.user", Default: "", Help: "who logs in to the registry, with a password"},
	{Key: "registry.password", Default: "", Secret: true, Help: "the user's password; in the environment or a file, never a flag"},
	{Key: "registry.password-file", Default: "", Help: "file that holds the password; read at each request"},
	{Key: "registry.token-file", Default: "", Help: "file that holds a bearer token for the registry; read at each request"},
}

func checkMechanism(value any) string {
	if text, ok := value.(string); ok && !slices.Contains(link.Mechanisms(), text) {
		return "give one of " + strings.Join(link.Mechanisms(), ", ")
	}
	return ""
}

// links are how the servers are reached, as options of their clients.
type links struct {
	said     link.Kafka
	kafka    []kgo.Opt
	registry []sr.ClientOpt
}

// readLinks reads the files that the settings name. The error names every setting that can't be used.
func (a *App) readLinks() error {
	text := a.values.String
	certificates := func(section string) link.TLS {
		return link.TLS{Flag: "--" + section + "-tls", CA: text(section + ".tls-ca"), Cert: text(section + ".tls-cert"), Key: text(section + ".tls-key")}
	}
	a.links.said = link.Kafka{
		Encrypted: a.values.Bool("kafka.tls"), TLS: certificates("kafka"),
		Mechanism: text("kafka.sasl-mechanism"), User: text("kafka.sasl-user"), Password: text("kafka.sasl-password"),
		PasswordFile: text("kafka.sasl-password-file"), TokenFile: text("kafka.sasl-token-file"),
	}
	registry := link.Registry{
		URL: text("registry.url"), TLS: certificates("registry"),
		User: text("registry.user"), Password: text("registry.password"), PasswordFile: text("registry.password-file"), TokenFile: text("registry.token-file"),
	}
	var errs [2]error
	a.links.kafka, errs[0] = a.links.said.Options()
	a.links.registry, errs[1] = registry.Options()
	if a.links.said.InClear() {
		a.log.Warn("the login to Kafka can be read by anyone on the way: add --kafka-tls", "mechanism", a.links.said.Mechanism)
	}
	return errors.Join(errs[:]...)
}

// hinted adds to an error what to do about it, when that is a matter of the connection.
func (a *App) hinted(err error) error {
	if hint := a.links.said.Hint(err); hint != "" {
		return fmt.Errorf("%w: %s", err, hint)
	}
	return err
}

// kafkaOptions are those of every client of Kafka that this program makes.
func (a *App) kafkaOptions() []kgo.Opt {
	return slices.Concat([]kgo.Opt{kgo.SeedBrokers(a.values.Strings("kafka.brokers")...), kgo.ClientID("ledgerline")}, a.links.kafka)
}

// kafkaAdmin is a client to ask brokers with; its Close ends its connections.
func (a *App) kafkaAdmin() (*kadm.Client, error) {
	cl, err := kgo.NewClient(a.kafkaOptions()...)
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(cl), nil
}

func (a *App) registry() (*schemas.Registry, error) {
	cl, err := sr.NewClient(append([]sr.ClientOpt{sr.URLs(strings.Split(a.values.String("registry.url"), ",")...)}, a.links.registry...)...)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("--registry-url is %q: %w", a.values.String("registry.url"), err))
	}
	return schemas.NewRegistry(cl), nil
}
