package api

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestUnambiguous(t *testing.T) {
	for body, says := range map[string]string{
		`{"a":1,"b":{"a":2,"c":[{"a":1},{"a":2}]}}`: "",
		`{"a":{"b":1,"c":{},"b":2}}`:                `"b" twice`,
		`[{"a":1,"a":1}]`:                           `"a" twice`,
		`{"a":"a","b":"a"}`:                         "",
		`{"price":1,"PRIC\u0045":2}`:                "twice",
		`{"\u017ftate":1,"state":2}`:                "twice", // readers take the long s for one
		`{"a":"\udc00"}`:                            "half",
		`{"a":"\ud83d\u0041"}`:                      "half",
		`{"a":"\ud83d\ude00\\ud83d"}`:               "",
		`{"a":`:                                     "", // others say what that is
		`]`:                                         "",
		``:                                          "",
	} {
		err := unambiguous([]byte(body))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, wanted %q", body, err, says)
		}
	}
}

// A body that is announced and never sent holds nobody up: what is refused is refused at once, the rest after bodyTimeout.
func TestGuard_BodiesThatNeverCome(t *testing.T) {
	a := lonely(t, nil)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	for name, c := range map[string]struct {
		line   string
		status int
	}{
		"of another origin":  {"POST /echo/1 HTTP/1.1\r\nOrigin: http://evil.example\r\nContent-Type: application/json\r\nContent-Length: 500", 403},
		"of another type":    {"POST /echo/1 HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 500", 415},
		"too large":          {"POST /echo/1 HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 5000", 413},
		"of a read":          {"GET /stats HTTP/1.1\r\nContent-Length: 500", 408},
		"of a write":         {"POST /echo/1 HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 500", 408},
		"of what is not":     {"POST /nothing HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 500", 408},
		"of chunks, refused": {"POST /echo/1 HTTP/1.1\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked", 415},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(bodyTimeout + time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintf(conn, "%s\r\nHost: %s\r\n\r\n", c.line, l.Addr()); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			defer res.Body.Close()
			if res.StatusCode != c.status {
				t.Errorf("it is %s, wanted %d", res.Status, c.status)
			}
		})
	}
}

func TestHasETag(t *testing.T) {
	for header, want := range map[string]bool{`"7"`: true, `W/"7"`: true, `"6", "7"`: true, `*`: true, ``: false, `"6"`: false, `7`: false} {
		if got := HasETag(header, 7); got != want {
			t.Errorf("%s: %v", header, got)
		}
	}
}
