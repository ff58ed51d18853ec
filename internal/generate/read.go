package generate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/avro"
)

// role says what a record is for, and so which interface its struct belongs to.
type role int

const (
	plain role = iota
	command
	event
	state
)

// source is one .avsc file.
type source struct {
	path string // as it is named in errors
	role role
	text string // the schema's JSON without insignificant space, keys in the author's order
	root avro.SchemaNode
}

// folder is what a folder of schemas holds, each role's files in order of their names.
type folder struct {
	dir     string
	isKind  bool
	sources []source
}

// read loads and validates every .avsc file of dir.
func read(dir string) (*folder, error) {
	f := &folder{dir: dir}
	top, err := filepath.Glob(filepath.Join(dir, "*.avsc"))
	if err != nil {
		return nil, fmt.Errorf("list schemas of %s: %w", dir, err)
	}
	statePath := filepath.Join(dir, "state.avsc")
	for _, path := range top {
		r := plain
		if path == statePath {
			r = state
		}
		if err := f.add(path, r); err != nil {
			return nil, err
		}
	}
	for _, sub := range []struct {
		name string
		role role
	}{{"commands", command}, {"events", event}} {
		paths, err := filepath.Glob(filepath.Join(dir, sub.name, "*.avsc"))
		if err != nil {
			return nil, fmt.Errorf("list schemas of %s: %w", dir, err)
		}
		for _, path := range paths {
			if err := f.add(path, sub.role); err != nil {
				return nil, err
			}
		}
	}
	return f, f.check()
}

// check holds a folder to one of its two shapes.
func (f *folder) check() error {
	count := map[role]int{}
	for _, s := range f.sources {
		count[s.role]++
	}
	f.isKind = count[command]+count[event]+count[state] > 0
	switch {
	case len(f.sources) == 0:
		return fmt.Errorf("%s holds no schemas: an aggregate kind has commands/*.avsc, events/*.avsc and state.avsc, a folder of plain records has *.avsc", f.dir)
	case !f.isKind:
		return nil
	case count[plain] > 0:
		for _, s := range f.sources {
			if s.role == plain {
				return fmt.Errorf("%s: %s is an aggregate kind, whose top holds state.avsc alone: move the file to commands or events", s.path, f.dir)
			}
		}
	case count[state] == 0:
		return fmt.Errorf("%s has no state.avsc: an aggregate kind needs one, if only with a field that says whether the aggregate exists", f.dir)
	case count[command] == 0:
		return fmt.Errorf("%s has no commands/*.avsc: an aggregate kind needs at least one command", f.dir)
	case count[event] == 0:
		return fmt.Errorf("%s has no events/*.avsc: an aggregate kind needs at least one event", f.dir)
	}
	return nil
}

func (f *folder) add(path string, r role) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	// encoding/json first: it says where in the file, which matters most for a comma too many.
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			line := 1 + bytes.Count(raw[:min(int(syntax.Offset), len(raw))], []byte("\n"))
			return fmt.Errorf("%s:%d: not JSON: %w", path, line, err)
		}
		return fmt.Errorf("%s: not JSON: %w", path, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return fmt.Errorf("%s: not JSON: %w", path, err)
	}
	parsed, err := avro.Parse(compact.String())
	if err != nil {
		if name := faultyField(compact.Bytes()); name != "" {
			return fmt.Errorf("%s: field %s: not valid Avro: %w", path, name, err)
		}
		return fmt.Errorf("%s: not a valid Avro schema: %w", path, err)
	}
	s := source{path: path, role: r, text: compact.String(), root: *parsed.Root()}
	if s.root.Type != "record" {
		return fmt.Errorf("%s: a schema file holds one record, not %s: wrap it into a record", path, article(s.root.Type))
	}
	if s.root.Namespace == "" {
		return fmt.Errorf("%s: record %s has no namespace: give it one, such as \"ledgerline.account\", since its full name is its name on the wire", path, s.root.Name)
	}
	if base := strings.TrimSuffix(filepath.Base(path), ".avsc"); r != state && base != s.root.Name {
		return fmt.Errorf("%s: holds record %s: name the file %s.avsc, or the record %s", path, s.root.Name, s.root.Name, base)
	}
	f.sources = append(f.sources, s)
	return nil
}

// faultyField finds the field of a record that makes its schema invalid: the last of the shortest beginning of the
// fields that is. It is empty when the fault is not in a field.
func faultyField(text []byte) string {
	var record map[string]json.RawMessage
	var fields []json.RawMessage
	if json.Unmarshal(text, &record) != nil || json.Unmarshal(record["fields"], &fields) != nil {
		return ""
	}
	for n := range len(fields) + 1 {
		beginning, err := json.Marshal(fields[:n])
		if err != nil {
			return ""
		}
		record["fields"] = beginning
		schema, err := json.Marshal(record)
		if err != nil {
			return ""
		}
		if _, err := avro.Parse(string(schema)); err == nil {
			continue
		}
		var field struct {
			Name string `json:"name"`
		}
		if n == 0 || json.Unmarshal(fields[n-1], &field) != nil {
			return ""
		}
		return field.Name
	}
	return ""
}

func article(avroType string) string {
	if strings.HasPrefix(avroType, "a") || strings.HasPrefix(avroType, "e") || strings.HasPrefix(avroType, "i") || strings.HasPrefix(avroType, "u") {
		return "an " + avroType
	}
	return "a " + avroType
}
