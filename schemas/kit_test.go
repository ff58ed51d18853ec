package schemas_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/schemas"
)

func TestMain(m *testing.M) { kit.Main(m) }

// server is an embedded registry that counts and can refuse.
type server struct {
	*registry.Server
	reg   *schemas.Registry
	asked atomic.Int64 // questions for a schema by its id
	fail  atomic.Pointer[failure]
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	if fail := s.fail.Load(); fail != nil {
		return fail.RoundTrip(req)
	}
	return http.DefaultTransport.RoundTrip(req)
}

// failure answers in a registry's place; status 0 leaves it to the registry.
type failure func(*http.Request) (status int, body string, err error)

func (f failure) RoundTrip(req *http.Request) (*http.Response, error) {
	status, body, err := f(req)
	if err != nil {
		return nil, err
	}
	if status == 0 {
		return http.DefaultTransport.RoundTrip(req)
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: req}, nil
}

func newServer(t testing.TB) *server {
	t.Helper()
	up, err := registry.Start(context.Background(), registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Server: up}
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if err := up.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	cl, err := sr.NewClient(sr.URLs(up.URL()), sr.HTTPClient(&http.Client{Transport: s}), sr.PreReq(func(req *http.Request) error {
		if len(req.URL.Path) > len("/schemas/ids/") && req.URL.Path[:len("/schemas/ids/")] == "/schemas/ids/" {
			s.asked.Add(1)
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	s.reg = schemas.NewRegistry(cl)
	return s
}

// written registers a schema as another client would, under a subject of its own, and gives its id.
func (s *server) written(t testing.TB, subject, schema string) int {
	t.Helper()
	id, err := s.reg.Client().RegisterSchema(context.Background(), subject, sr.Schema{Schema: schema}, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// wire is a value as another client writes it.
func wire(id int, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), body...)
}

// encodeAs writes a generic value by another library.
func encodeAs(t testing.TB, schema string, v any) []byte {
	t.Helper()
	s, err := avro.Parse(schema)
	if err != nil {
		t.Fatal(err)
	}
	body, err := s.AppendEncode(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// edit changes a schema's JSON.
func edit(t testing.TB, schema string, change func(record map[string]any)) string {
	t.Helper()
	var record map[string]any
	if err := json.Unmarshal([]byte(schema), &record); err != nil {
		t.Fatal(err)
	}
	change(record)
	out, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// same is reflect.DeepEqual, but numbers are the same when they are equal.
func same(a, b any) bool {
	return reflect.DeepEqual(plain(reflect.ValueOf(a)), plain(reflect.ValueOf(b)))
}

// plain turns a value into one without *big.Rat, whose insides differ for equal numbers.
func plain(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	if r, ok := reflect.TypeAssert[*big.Rat](v); ok {
		if r == nil {
			return "no number"
		}
		return r.RatString()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				return v.Interface()
			}
			fields[v.Type().Field(i).Name] = plain(v.Field(i))
		}
		return fields
	}
	return v.Interface()
}
