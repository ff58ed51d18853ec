package link_test

import (
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/link"
)

// Every way into Apache Kafka, and what is said about those that lead nowhere.
func TestKafka_EveryLoginOnApacheKafka(t *testing.T) {
	broker := kit.SecuredKafka(t)
	broker.User(t, "ann")
	trusting := link.TLS{Flag: "--kafka-tls", CA: broker.Authority().CA()}
	scram := func(password string) link.Kafka {
		return link.Kafka{Encrypted: true, TLS: trusting, Mechanism: link.ScramSHA512, User: "ann", Password: password}
	}
	identity := broker.Authority().Issue(t, "ann")
	for name, c := range map[string]struct {
		brokers []string
		kafka   link.Kafka
		want    string
	}{
		"SCRAM-SHA-512": {broker.Brokers(), scram("ann"), ""},
		"SCRAM-SHA-256": {broker.Brokers(), link.Kafka{Encrypted: true, TLS: trusting, Mechanism: link.ScramSHA256, User: "ann", Password: "ann"}, ""},
		"PLAIN":         {broker.Brokers(), link.Kafka{Encrypted: true, TLS: trusting, Mechanism: link.Plain, User: "plain", Password: "plain"}, ""},
		"OAUTHBEARER":   {broker.Brokers(), link.Kafka{Encrypted: true, TLS: trusting, Mechanism: link.OAuthBearer, TokenFile: write(t, kit.Token("ann"))}, ""},
		"certificate":   {broker.CertificateBrokers(), link.Kafka{Encrypted: true, TLS: files(broker.Authority(), identity)}, ""},

		"wrong password":       {broker.Brokers(), scram("bob"), "correct --kafka-sasl-user and its password"},
		"wrong token":          {broker.Brokers(), link.Kafka{Encrypted: true, TLS: trusting, Mechanism: link.OAuthBearer, TokenFile: write(t, "x.y.")}, "--kafka-sasl-token-file"},
		"PLAIN, wrong":         {broker.Brokers(), link.Kafka{Encrypted: true, TLS: trusting, Mechanism: link.Plain, User: "plain", Password: "x"}, "correct --kafka-sasl-user and its password"},
		"no login":             {broker.Brokers(), link.Kafka{Encrypted: true, TLS: trusting}, "--kafka-sasl-mechanism"},
		"a login too many":     {broker.CertificateBrokers(), link.Kafka{Encrypted: true, TLS: files(broker.Authority(), identity), Mechanism: link.Plain, User: "plain", Password: "plain"}, "wants no login"},
		"no certificate":       {broker.CertificateBrokers(), link.Kafka{Encrypted: true, TLS: trusting}, "give --kafka-tls-cert and --kafka-tls-key"},
		"another's":            {broker.CertificateBrokers(), link.Kafka{Encrypted: true, TLS: files(broker.Authority(), kit.NewAuthority(t).Issue(t, "ann"))}, "correct --kafka-tls-cert and --kafka-tls-key"},
		"without TLS":          {broker.Brokers(), link.Kafka{}, "--kafka-tls"},
		"login without TLS":    {broker.Brokers(), link.Kafka{Mechanism: link.ScramSHA512, User: "ann", Password: "ann"}, "--kafka-tls"},
		"TLS without need":     {kit.Kafka(t).Brokers(), link.Kafka{Encrypted: true, TLS: trusting}, "leave --kafka-tls out"},
		"a login without need": {kit.Kafka(t).Brokers(), link.Kafka{Mechanism: link.ScramSHA512, User: "ann", Password: "ann"}, "wants no login"},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, c.brokers, c.kafka, c.want)
		})
	}
}
