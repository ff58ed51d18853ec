package benchmark

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Server is asked over HTTP, by many at once.
type Server struct {
	url, token string
	http       *http.Client
}

// NewServer is one at a URL, which wants to see a token unless that is "".
func NewServer(url, token string) *Server {
	return &Server{
		url: strings.TrimSuffix(url, "/"), token: token,
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512}},
	}
}

// Request is what a Server is asked.
type Request struct {
	Method, Path string
	Body         any // sent as JSON; nil: none

	// Then is where to ask what came of it: the request is over when that is answered too, and Came finds no fault with the answer. nil:
	// the first answer is all.
	Then func(answer []byte) (path string, err error)
	Came func(answer []byte) error
}

// Do returns when a request is over. What was not answered well is an error.
func (s *Server) Do(ctx context.Context, r Request) error {
	answer, err := s.ask(ctx, r.Method, r.Path, r.Body)
	if err != nil || r.Then == nil {
		return err
	}
	path, err := r.Then(answer)
	if err != nil {
		return err
	}
	if answer, err = s.ask(ctx, http.MethodGet, path, nil); err != nil {
		return err
	}
	return r.Came(answer)
}

// ask gives the body of the answer. One that is not final, and one that says that it failed, is an error.
func (s *Server) ask(ctx context.Context, method, path string, document any) ([]byte, error) {
	var body io.Reader
	if document != nil {
		text, err := json.Marshal(document)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode < 200 || resp.StatusCode > 299 || resp.StatusCode == http.StatusAccepted) {
		err = fmt.Errorf("%s %s: %s %.300s", method, req.URL.Path, resp.Status, text)
	}
	return text, err
}
