package kit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates. All of its files are PEM, in one folder.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose folder goes with the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a, err := newAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newAuthority(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	template := certificate("authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, key, err := sign(template, template, nil)
	if err != nil {
		return nil, err
	}
	a.key = key
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, a.write("ca.pem", block("CERTIFICATE", der))
}

// CA is the file of its own certificate.
func (a *Authority) CA() string { return filepath.Join(a.dir, "ca.pem") }

// Identity is the files of a certificate and its key.
type Identity struct{ Cert, Key, Both string }

// Issue makes a certificate for a name: of a server on loopback, and of a client.
func (a *Authority) Issue(t testing.TB, name string, change ...func(*x509.Certificate)) Identity {
	t.Helper()
	id, err := a.issue(name, change...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (a *Authority) issue(name string, change ...func(*x509.Certificate)) (Identity, error) {
	template := certificate(name)
	template.IPAddresses, template.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, f := range change {
		f(template)
	}
	der, key, err := sign(template, a.cert, a.key)
	if err != nil {
		return Identity{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, err
	}
	cert, private := block("CERTIFICATE", der), block("PRIVATE KEY", secret)
	err = errors.Join(a.write(name+".pem", cert), a.write(name+".key.pem", private), a.write(name+".both.pem", append(private, cert...)))
	path := filepath.Join(a.dir, name)
	return Identity{path + ".pem", path + ".key.pem", path + ".both.pem"}, err
}

// Server is what a server in process listens with.
func (a *Authority) Server(t testing.TB, change ...func(*x509.Certificate)) *tls.Config {
	t.Helper()
	id := a.Issue(t, "server", change...)
	pair, err := tls.LoadX509KeyPair(id.Cert, id.Key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: clients}
}

func (a *Authority) write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(a.dir, name), data, 0o600)
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// sign makes a key, and a certificate of it that the parent's key signs; nil: its own.
func sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	return der, key, err
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
