package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"go.uber.org/goleak"

	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg registry.Config) (*registry.Server, *sr.Client) {
	t.Helper()
	s, err := registry.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	hc := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		hc.CloseIdleConnections()
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	cl, err := sr.NewClient(sr.URLs(s.URL()), sr.HTTPClient(hc))
	if err != nil {
		t.Fatal(err)
	}
	return s, cl
}

func rec(fields string) sr.Schema {
	return sr.Schema{Schema: `{"type":"record","name":"R","namespace":"n","fields":[` + fields + `]}`}
}

const (
	fieldA        = `{"name":"a","type":"long"}`
	fieldBDefault = `{"name":"b","type":"string","default":""}`
	fieldB        = `{"name":"b","type":"string"}`
)

func setLevel(t *testing.T, cl *sr.Client, subject string, level sr.CompatibilityLevel) {
	t.Helper()
	if got := cl.SetCompatibility(t.Context(), sr.SetCompatibility{Level: level}, subject)[0]; got.Err != nil {
		t.Fatal(got.Err)
	}
}

// refused checks an answer's status and Confluent code, and that it says why.
func refused(t *testing.T, err error, status, code int, says ...string) {
	t.Helper()
	var re *sr.ResponseError
	if !errors.As(err, &re) || re.StatusCode != status || re.ErrorCode != code {
		t.Fatalf("got %v (%+v), want status %d and code %d", err, re, status, code)
	}
	for _, s := range says {
		if !strings.Contains(re.Message, s) {
			t.Errorf("message %q does not say %q", re.Message, s)
		}
	}
}

func TestRegister_InvalidSchemaIs422WithReason(t *testing.T) {
	_, cl := start(t, registry.Config{})
	for schema, reason := range map[string]string{
		`{"type":"record","name":"R","fields":[{"name":"a","type":"lnog"}]}`:               "lnog",
		`{"type":"record","name":"R","fields":[{"name":"a","type":"long","default":"x"}]}`: "default",
		`{"type":"record"`: "",
		``:                 "",
	} {
		_, err := cl.RegisterSchema(t.Context(), "s", sr.Schema{Schema: schema}, -1, -1)
		refused(t, err, http.StatusUnprocessableEntity, 42201, reason)
	}
	_, err := cl.RegisterSchema(t.Context(), "s", sr.Schema{Schema: `{"type":"object"}`, Type: sr.TypeJSON}, -1, -1)
	refused(t, err, http.StatusUnprocessableEntity, 42201, "AVRO")
	if subjects, err := cl.Subjects(t.Context()); err != nil || len(subjects) != 0 {
		t.Fatalf("subjects %v, %v after refused schemas", subjects, err)
	}
}

func TestRegister_EachLevelIsHeld(t *testing.T) {
	_, cl := start(t, registry.Config{})
	v1, plusDefault, plusRequired, other := rec(fieldA), rec(fieldA+","+fieldBDefault), rec(fieldA+","+fieldB), rec(fieldBDefault)
	for _, c := range []struct {
		level   sr.CompatibilityLevel
		history []sr.Schema
		next    sr.Schema
		ok      bool
	}{
		{sr.CompatBackward, []sr.Schema{v1}, plusRequired, false},
		{sr.CompatBackward, []sr.Schema{v1}, plusDefault, true},
		{sr.CompatForward, []sr.Schema{v1}, plusRequired, true},
		{sr.CompatForward, []sr.Schema{v1}, other, false},
		{sr.CompatFull, []sr.Schema{v1}, plusRequired, false},
		{sr.CompatFull, []sr.Schema{v1}, plusDefault, true},
		{sr.CompatNone, []sr.Schema{v1}, other, true},
		// Only the transitive levels look beyond the last version.
		{sr.CompatBackward, []sr.Schema{v1, plusDefault}, plusRequired, true},
		{sr.CompatBackwardTransitive, []sr.Schema{v1, plusDefault}, plusRequired, false},
		{sr.CompatForward, []sr.Schema{plusRequired, plusDefault}, v1, true},
		{sr.CompatForwardTransitive, []sr.Schema{plusRequired, plusDefault}, v1, false},
		{sr.CompatFullTransitive, []sr.Schema{v1}, plusDefault, true},
		{sr.CompatFullTransitive, []sr.Schema{v1, plusDefault}, plusRequired, false},
	} {
		subject := fmt.Sprintf("%s-%d-%v", c.level, len(c.history), c.ok)
		setLevel(t, cl, subject, sr.CompatNone)
		for _, s := range c.history {
			if _, err := cl.RegisterSchema(t.Context(), subject, s, -1, -1); err != nil {
				t.Fatal(err)
			}
		}
		setLevel(t, cl, subject, c.level)
		asked, err := cl.CheckCompatibility(sr.WithParams(t.Context(), sr.Verbose), subject, -2, c.next)
		if err != nil || asked.Is != c.ok || (len(asked.Messages) == 0) != c.ok {
			t.Errorf("%s: asked: %+v, %v; want %v", subject, asked, err, c.ok)
		}
		_, err = cl.RegisterSchema(t.Context(), subject, c.next, -1, -1)
		if c.ok {
			if err != nil {
				t.Errorf("%s: %v", subject, err)
			}
			continue
		}
		refused(t, err, http.StatusConflict, 409, subject, c.level.String())
	}
}

func TestCompatibility_AgainstOneVersion(t *testing.T) {
	_, cl := start(t, registry.Config{})
	setLevel(t, cl, "s", sr.CompatNone)
	for _, s := range []sr.Schema{rec(fieldA), rec(fieldB)} {
		if _, err := cl.RegisterSchema(t.Context(), "s", s, -1, -1); err != nil {
			t.Fatal(err)
		}
	}
	setLevel(t, cl, "s", sr.CompatBackward)
	for version, want := range map[int]bool{1: true, 2: false, -1: false} {
		got, err := cl.CheckCompatibility(t.Context(), "s", version, rec(fieldA))
		if err != nil || got.Is != want {
			t.Errorf("version %d: %+v, %v; want %v", version, got, err, want)
		}
	}
	_, err := cl.CheckCompatibility(t.Context(), "s", 9, rec(fieldA))
	refused(t, err, http.StatusNotFound, 40402)
	_, err = cl.CheckCompatibility(t.Context(), "s", 1, sr.Schema{Schema: "{"})
	refused(t, err, http.StatusUnprocessableEntity, 42201)
}

func TestLevel_OfSubjectThenGlobal(t *testing.T) {
	_, cl := start(t, registry.Config{})
	if got := cl.Compatibility(t.Context())[0]; got.Err != nil || got.Level != sr.CompatBackward {
		t.Fatalf("global level %v, %v", got.Level, got.Err)
	}
	refused(t, cl.Compatibility(t.Context(), "s")[0].Err, http.StatusNotFound, 40401)
	setLevel(t, cl, sr.GlobalSubject, sr.CompatFull)
	got := cl.Compatibility(sr.WithParams(t.Context(), sr.DefaultToGlobal), "s")[0]
	if got.Err != nil || got.Level != sr.CompatFull {
		t.Fatalf("level of s by the global one: %v, %v", got.Level, got.Err)
	}
	// The global level holds for a subject without one of its own.
	if _, err := cl.RegisterSchema(t.Context(), "s", rec(fieldA), -1, -1); err != nil {
		t.Fatal(err)
	}
	_, err := cl.RegisterSchema(t.Context(), "s", rec(fieldA+","+fieldB), -1, -1)
	refused(t, err, http.StatusConflict, 409)
}

func TestRegister_References(t *testing.T) {
	_, cl := start(t, registry.Config{})
	if _, err := cl.RegisterSchema(t.Context(), "money", sr.Schema{Schema: `{"type":"record","name":"Money","namespace":"n","fields":[{"name":"minor","type":"long"}]}`}, -1, -1); err != nil {
		t.Fatal(err)
	}
	with := sr.Schema{
		Schema:     `{"type":"record","name":"Sale","namespace":"n","fields":[{"name":"price","type":"n.Money"}]}`,
		References: []sr.SchemaReference{{Name: "n.Money", Subject: "money", Version: 1}},
	}
	if _, err := cl.RegisterSchema(t.Context(), "sale", with, -1, -1); err != nil {
		t.Fatal(err)
	}
	with.References[0].Version = 2
	_, err := cl.RegisterSchema(t.Context(), "sale", with, -1, -1)
	refused(t, err, http.StatusUnprocessableEntity, 42201, "version 2")
}

func TestRestart_IDsAndLevelsAreTheSame(t *testing.T) {
	dir := t.TempDir()
	s, cl := start(t, registry.Config{Dir: dir})
	ids := map[string]int{}
	for i := range 5 {
		subject := fmt.Sprintf("topic.%d/x-n.R", i)
		setLevel(t, cl, subject, sr.CompatFullTransitive)
		// Two subjects share a schema, and so an id.
		id, err := cl.RegisterSchema(t.Context(), subject, rec(fmt.Sprintf(`{"name":"f%d","type":"long"}`, i/2)), -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		ids[subject] = id
		// A refused one in between must not shift the ids.
		if _, err := cl.RegisterSchema(t.Context(), subject, rec(fieldB), -1, -1); err == nil {
			t.Fatal("an incompatible schema was taken")
		}
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, cl = start(t, registry.Config{Dir: dir})
	for subject, id := range ids {
		got, err := cl.SchemaByVersion(t.Context(), subject, -1)
		if err != nil || got.ID != id {
			t.Errorf("%s: id %d before, after the restart %d, %v", subject, id, got.ID, err)
		}
		if level := cl.Compatibility(t.Context(), subject)[0]; level.Level != sr.CompatFullTransitive {
			t.Errorf("%s: level %v, %v after the restart", subject, level.Level, level.Err)
		}
	}
	id, err := cl.RegisterSchema(t.Context(), "new", rec(fieldA), -1, -1)
	for _, old := range ids {
		if err != nil || id <= old {
			t.Fatalf("a new schema got id %d, %v; %d was given before", id, err, old)
		}
	}
}

func TestKill_KeepsWhatWasAnswered(t *testing.T) {
	dir := t.TempDir()
	s, cl := start(t, registry.Config{Dir: dir})
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		given = map[string]int{}
	)
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				subject := fmt.Sprintf("s%d-%d", w, i)
				id, err := cl.RegisterSchema(t.Context(), subject, rec(fmt.Sprintf(`{"name":"w%d_%d","type":"long"}`, w, i)), -1, -1)
				if err != nil {
					return // killed
				}
				mu.Lock()
				given[subject] = id
				if len(given) == 40 {
					go func() { _ = s.Kill() }()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	<-s.Done()
	_, cl = start(t, registry.Config{Dir: dir})
	if len(given) < 40 {
		t.Fatalf("only %d answers before the kill", len(given))
	}
	for subject, id := range given {
		if got, err := cl.SchemaByVersion(t.Context(), subject, 1); err != nil || got.ID != id {
			t.Errorf("%s: answered id %d, kept %d, %v", subject, id, got.ID, err)
		}
	}
}

func TestStart_DamagedFileIsNamed(t *testing.T) {
	dir := t.TempDir()
	s, cl := start(t, registry.Config{Dir: dir})
	if _, err := cl.RegisterSchema(t.Context(), "s", rec(fieldA), -1, -1); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "registry.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string][]byte{"empty": {}, "longer": append(slices.Clone(whole), "{}"...), "other type": bytes.Replace(whole, []byte("long"), []byte("int"), 1)}
	for n := 1; n < len(whole)-1; n += 7 {
		damage[fmt.Sprintf("cut at %d", n)] = whole[:n]
		flipped := slices.Clone(whole)
		flipped[n] ^= 1
		damage[fmt.Sprintf("bit flipped at %d", n)] = flipped
	}
	for name, content := range damage {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := registry.Start(t.Context(), registry.Config{Dir: dir})
		if err == nil {
			_ = got.Kill()
			t.Errorf("%s: started", name)
			continue
		}
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v does not name %s", name, err, path)
		}
	}
}

func TestStart_FolderInUseAndPortTaken(t *testing.T) {
	dir := t.TempDir()
	s, _ := start(t, registry.Config{Dir: dir})
	if _, err := registry.Start(t.Context(), registry.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second registry on the folder: %v", err)
	}
	if _, err := registry.Start(t.Context(), registry.Config{Listen: s.Addr()}); err == nil || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("a second registry on the port: %v", err)
	}
	if _, err := registry.Start(t.Context(), registry.Config{Listen: "nonsense"}); err == nil || !strings.Contains(err.Error(), "Listen") {
		t.Errorf("listen on nonsense: %v", err)
	}
}

func TestDelete_ThenRegisterAgain(t *testing.T) {
	dir := t.TempDir()
	s, cl := start(t, registry.Config{Dir: dir})
	for _, c := range []sr.Schema{rec(fieldA), rec(fieldA + "," + fieldBDefault)} {
		if _, err := cl.RegisterSchema(t.Context(), "s", c, -1, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := cl.DeleteSchema(t.Context(), "s", 2, sr.SoftDelete); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, cl = start(t, registry.Config{Dir: dir})
	if got, err := cl.SubjectVersions(t.Context(), "s"); err != nil || !slices.Equal(got, []int{1}) {
		t.Fatalf("versions %v, %v", got, err)
	}
}

func TestSubjects_AreTheirVersions(t *testing.T) {
	dir := t.TempDir()
	s, cl := start(t, registry.Config{Dir: dir})
	setLevel(t, cl, "level-alone", sr.CompatFull)
	setLevel(t, cl, "s", sr.CompatFullTransitive)
	first, err := cl.RegisterSchema(t.Context(), "s", rec(fieldA), -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	if subjects, err := cl.Subjects(t.Context()); err != nil || !slices.Equal(subjects, []string{"s"}) {
		t.Errorf("subjects %v, %v", subjects, err)
	}
	_, err = cl.SubjectVersions(t.Context(), "level-alone")
	refused(t, err, http.StatusNotFound, 40401)

	deleted, err := cl.DeleteSubject(t.Context(), "s", sr.SoftDelete)
	if err != nil || !slices.Equal(deleted, []int{1}) {
		t.Fatalf("deleted %v, %v", deleted, err)
	}
	_, err = cl.DeleteSubject(t.Context(), "s", sr.SoftDelete)
	refused(t, err, http.StatusNotFound, 40401)
	if subjects, err := cl.Subjects(t.Context()); err != nil || len(subjects) != 0 {
		t.Errorf("subjects %v, %v", subjects, err)
	}
	// What was written with it is still read, and registering begins again: with what was there or with something else.
	if _, err := cl.SchemaByID(t.Context(), first); err != nil {
		t.Error(err)
	}
	if again, err := cl.RegisterSchema(t.Context(), "s", rec(fieldB), -1, -1); err != nil || again == first {
		t.Errorf("another schema got id %d, %v", again, err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, cl = start(t, registry.Config{Dir: dir})
	if versions, err := cl.SubjectVersions(t.Context(), "s"); err != nil || !slices.Equal(versions, []int{2}) {
		t.Errorf("versions %v, %v", versions, err)
	}
	if subjects, err := cl.Subjects(sr.WithParams(t.Context(), sr.ShowDeleted)); err != nil || !slices.Equal(subjects, []string{"s"}) {
		t.Errorf("subjects with deleted ones %v, %v", subjects, err)
	}
}

func TestOtherRoutes(t *testing.T) {
	s, cl := start(t, registry.Config{})
	if types, err := cl.SupportedTypes(t.Context()); err != nil || !slices.Equal(types, []sr.SchemaType{sr.TypeAvro}) {
		t.Errorf("types %v, %v", types, err)
	}
	hc := &http.Client{Transport: &http.Transport{}}
	defer hc.CloseIdleConnections()
	// Fields that other clients send beside what counts.
	resp, err := hc.Post(s.URL()+"/subjects/s/versions", "application/json", strings.NewReader(`{"schema":"{\"type\":\"string\"}","schemaType":"AVRO","somethingNew":1}`))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"id":1`) {
		t.Errorf("status %d, %s", resp.StatusCode, body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/subjects/s/versions", strings.NewReader(`{"schema":"{\"type\":\"long\"}"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "http://example.com")
	if resp, err = hc.Do(req); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin got %d", resp.StatusCode)
	}
	resp, err = hc.Get(s.URL() + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET / gave %d", resp.StatusCode)
	}
}
