package generate

import (
	"fmt"
	"go/format"
	"slices"
	"strconv"
	"strings"
)

const schemasImport = "github.com/ledgerline-es/ledgerline/schemas"

// commentWidth is where comments are wrapped, in bytes.
const commentWidth = 116

// writer collects code; gofmt puts it in order afterwards.
type writer struct{ strings.Builder }

func (w *writer) line(text string, args ...any) { fmt.Fprintf(w, text+"\n", args...) }

// comment writes text as a comment of wrapped lines.
func (w *writer) comment(text string) {
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		line := "//"
		for word := range strings.FieldsSeq(paragraph) {
			if len(line)+1+len(word) > commentWidth && line != "//" {
				w.line("%s", line)
				line = "//"
			}
			line += " " + word
		}
		w.line("%s", line)
	}
}

func render(pkg string, m *model) ([]byte, error) {
	w := &writer{}
	w.line("// Code generated from this folder's .avsc files by ledgerline generate; DO NOT EDIT.")
	w.line("")
	if m.isKind {
		w.comment(fmt.Sprintf("Package %s holds the records of the aggregate kind %q: the commands it takes, the events that are its history, and its state.", pkg, pkg))
	} else {
		w.comment(fmt.Sprintf("Package %s holds the records of namespace %s.", pkg, m.records[0].root.Namespace))
	}
	w.line("package %s", pkg)
	w.line("")
	w.line("import (")
	var imports []string
	for path := range m.imports {
		imports = append(imports, path)
	}
	slices.Sort(imports)
	for _, path := range imports {
		w.line("%q", path)
	}
	w.line("\n%q\n)", schemasImport)

	if m.isKind {
		w.kind(pkg, m)
	}
	for _, r := range m.records {
		w.record(r, m.isKind)
	}
	for _, n := range m.nested {
		switch {
		case n.record != nil:
			w.structType(n.record)
		case n.enum != nil:
			w.enumType(n.enum)
		case n.fixed != nil:
			w.comment(doc(n.fixed.name, n.fixed.doc, fmt.Sprintf("%s is %d bytes.", n.fixed.name, n.fixed.size)))
			w.line("type %s [%d]byte\n", n.fixed.name, n.fixed.size)
		}
	}
	for _, r := range m.records {
		w.line("const %s = %s\n", schemaConst(r), quote(r.text))
	}

	code, err := format.Source([]byte(w.String()))
	if err != nil {
		return nil, fmt.Errorf("the generated code of package %s is not Go (a fault of the generator): %w", pkg, err)
	}
	return code, nil
}

func (w *writer) kind(pkg string, m *model) {
	st := m.byRole(state)[0]
	w.comment(fmt.Sprintf("Kind describes the aggregate kind %q to producer and projector.", pkg))
	w.line("var Kind = schemas.Kind[%s, Command, Event]{", st.name)
	w.line("Name: %q,", pkg)
	w.line("State: schemas.StateType[%s]{", st.name)
	w.line("Name: %q,", st.fullName)
	w.line("Schema: %s,", schemaConst(st))
	w.line("Record: func(s *%s) schemas.Record { return s },", st.name)
	w.line("},")
	for _, list := range []struct {
		field, iface string
		role         role
	}{{"Commands", "Command", command}, {"Events", "Event", event}} {
		w.line("%s: []schemas.Type[%s]{", list.field, list.iface)
		for _, r := range m.byRole(list.role) {
			w.line("{Name: %q, Schema: %s, New: func() %s { return new(%s) }},", r.fullName, schemaConst(r), list.iface, r.name)
		}
		w.line("},")
	}
	w.line("}\n")
	w.iface("Command", "command", m.byRole(command))
	w.iface("Event", "event", m.byRole(event))
}

func (w *writer) iface(name, what string, records []*record) {
	names := make([]string, len(records))
	for i, r := range records {
		names[i] = "*" + r.name
	}
	list := strings.Join(names, ", ")
	if at := strings.LastIndex(list, ", "); at >= 0 {
		list = list[:at] + " or " + list[at+2:]
	}
	w.comment(fmt.Sprintf("%s is one %s of this kind: %s.", name, what, list))
	w.line("type %s interface {\nschemas.Record\nis%s()\n}\n", name, name)
}

func (w *writer) record(r *record, inKind bool) {
	w.structType(&r.goStruct)
	w.line("// AvroName is %s.", r.fullName)
	w.line("func (*%s) AvroName() string { return %q }\n", r.name, r.fullName)
	switch r.role {
	case command:
		w.line("func (*%s) isCommand() {}\n", r.name)
	case event:
		w.line("func (*%s) isEvent() {}\n", r.name)
	}
	if !inKind {
		w.comment(fmt.Sprintf("%sType describes %s to the codec.", r.name, r.name))
		w.line("var %sType = schemas.Type[*%s]{", r.name, r.name)
		w.line("Name: %q,\nSchema: %s,\nNew: func() *%s { return new(%s) },\n}\n", r.fullName, schemaConst(r), r.name, r.name)
	}
}

func (w *writer) structType(s *goStruct) {
	w.comment(doc(s.name, s.doc, s.name+" is an Avro record."))
	w.line("type %s struct {", s.name)
	for _, f := range s.fields {
		if f.doc != "" {
			w.comment(f.doc)
		}
		w.line("%s %s `avro:%q`", f.name, f.typ, f.avro)
	}
	w.line("}\n")
}

func (w *writer) enumType(e *goEnum) {
	w.comment(doc(e.name, e.doc, e.name+" is an Avro enum."))
	w.line("type %s string\n", e.name)
	w.line("// The symbols of %s.", e.name)
	w.line("const (")
	for _, v := range e.values {
		w.line("%s %s = %q", v.name, e.name, v.symbol)
	}
	w.line(")\n")
}

// doc makes a Go doc comment, which begins with the name, of a schema's doc, which may not.
func doc(name, text, otherwise string) string {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return otherwise
	case strings.HasPrefix(text, name+" "):
		return text
	}
	return name + ": " + text
}

func schemaConst(r *record) string { return privateName(r.root.Name) + "Schema" }

// quote writes a string as Go source, raw where that can be read.
func quote(s string) string {
	if strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}
