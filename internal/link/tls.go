package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// TLS names the files, in PEM, of one kind of connections.
type TLS struct {
	Flag string // begins the names of the settings in errors: "--kafka-tls"
	CA   string // certificates that sign the servers'; "": those that the system trusts
	Cert string // this client's certificate, with those between it and the CA
	Key  string // and its private key
}

// given reports whether there is any file.
func (t TLS) given() bool { return t.CA != "" || t.Cert != "" || t.Key != "" }

// config reads the files. The client's certificate is read anew at each connection, so that a renewed one needs no restart.
func (t TLS) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("%s-ca: %w: give the PEM file of the certificates that sign the servers'", t.Flag, err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s-ca: %s holds no certificate in PEM (BEGIN CERTIFICATE): of a Java keystore, `keytool -exportcert -rfc` makes one", t.Flag, t.CA)
		}
	}
	if t.Cert == "" && t.Key == "" {
		return cfg, nil
	}
	if t.Cert == "" || t.Key == "" {
		return nil, fmt.Errorf("%[1]s-cert and %[1]s-key belong together: give both or none", t.Flag)
	}
	if _, err := t.pair(); err != nil {
		return nil, err
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.pair() }
	return cfg, nil
}

func (t TLS) pair() (*tls.Certificate, error) {
	cert, err := os.ReadFile(t.Cert)
	if err != nil {
		return nil, fmt.Errorf("%s-cert: %w: give this client's certificate in PEM", t.Flag, err)
	}
	key, err := os.ReadFile(t.Key)
	if err != nil {
		return nil, fmt.Errorf("%s-key: %w: give the private key of %s in PEM", t.Flag, err, t.Cert)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%[1]s-cert %[2]s with %[1]s-key %[3]s: %[4]w: give a certificate and the private key that it was made for, both in PEM, the key not encrypted", t.Flag, t.Cert, t.Key, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("%s-cert: %s ended on %s: renew it", t.Flag, t.Cert, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return &pair, nil
}

// remote reports whether the other side ended the connection with an alert of TLS.
func remote(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// explain says what to do about a handshake that failed, or a connection that the server ended because of a certificate.
func (t TLS) explain(err error) error {
	var (
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		host     x509.HostnameError
		notTLS   tls.RecordHeaderError
		remedial string
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown) && t.CA == "":
		remedial = fmt.Sprintf("give %s-ca, the file of the certificates that sign the server's: the system trusts none of them", t.Flag)
	case errors.As(err, &unknown):
		remedial = fmt.Sprintf("correct %s-ca: no certificate in %s signs the server's", t.Flag, t.CA)
	case errors.As(err, &host):
		remedial = "the server's certificate is for other names: connect by one of them, or have it made anew with this one"
	case errors.As(err, &invalid):
		remedial = "the server's certificate can't be used: have it renewed, and look at this machine's clock"
	case errors.As(err, &notTLS):
		remedial = fmt.Sprintf("no TLS is spoken there: leave %s out, or give the address of a TLS listener", t.Flag)
	case remote(err) && t.Cert == "":
		remedial = fmt.Sprintf("the server may want a certificate of the client: give %[1]s-cert and %[1]s-key", t.Flag)
	case remote(err):
		remedial = fmt.Sprintf("the server refuses this connection: correct %[1]s-cert and %[1]s-key; it may trust another CA", t.Flag)
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, remedial)
}
