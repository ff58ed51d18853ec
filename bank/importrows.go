package bank

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Columns of a file of transactions, in any order.
var importColumns = []string{
	"account_id", "transaction_id", "date", "direction", "amount_minor", "balance_minor", "operation", "category", "counterparty",
}

// importRow is one good row.
type importRow struct {
	line                              int
	account, transaction, direction   string
	date                              time.Time
	amount                            int64
	operation, category, counterparty string
	fields                            []string // as they stand in the file
}

// badRow is a row that is no transaction.
type badRow struct {
	line    int
	reason  string
	account string   // as far as it could be read
	fields  []string // as they stand in the file; the whole line when it can't be split
}

// maxLine bounds the memory that one line takes, in bytes.
const maxLine = 1 << 20

// rowReader reads a file of transactions, compressed or not. A row is a line: were quoted fields allowed to go on in the
// next one, a quote too many would swallow good rows up to the next quote, and nobody would hear of them.
type rowReader struct {
	in     *bufio.Reader
	line   int // of the last one read, from 1
	header []string
	column map[string]int
}

// readRows reads the header. A file without the columns is refused before anything is published.
func readRows(file io.Reader) (*rowReader, error) {
	in := bufio.NewReaderSize(file, 1<<16)
	if magic, _ := in.Peek(2); string(magic) == "\x1f\x8b" {
		plain, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		in = bufio.NewReaderSize(plain, 1<<16)
	}
	if bom, _ := in.Peek(3); string(bom) == "\xef\xbb\xbf" {
		_, _ = in.Discard(3) // it was just seen
	}
	r := &rowReader{in: in, column: map[string]int{}}
	text, err := r.readLine()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the file is empty: its first line must name the columns %s", strings.Join(importColumns, ","))
	}
	if err == nil {
		r.header, err = split(text)
	}
	if err != nil {
		return nil, fmt.Errorf("header, line %d: %w", r.line, err)
	}
	for i, name := range r.header {
		name = strings.TrimSpace(name)
		if _, twice := r.column[name]; twice && slices.Contains(importColumns, name) {
			return nil, fmt.Errorf("header names column %q twice", name)
		}
		r.header[i], r.column[name] = name, i
	}
	var missing []string
	for _, name := range importColumns {
		if _, ok := r.column[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("header has no column %s: it must name %s", strings.Join(missing, ", "), strings.Join(importColumns, ","))
	}
	return r, nil
}

// errLineTooLong is a line's fault: those after it can be read.
var errLineTooLong = fmt.Errorf("the line is longer than %d bytes", maxLine)

// readLine gives the next line that is not empty, without its end; io.EOF after the last.
func (r *rowReader) readLine() (string, error) {
	for {
		var line []byte
		tooLong := false
		for {
			part, err := r.in.ReadSlice('\n')
			if tooLong = tooLong || len(line)+len(part) > maxLine; !tooLong {
				line = append(line, part...)
			}
			if err == nil {
				break
			}
			if errors.Is(err, io.EOF) && (tooLong || len(line) > 0) {
				break // the last line needs no end
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return "", err
			}
		}
		r.line++
		if tooLong {
			return "", errLineTooLong
		}
		if line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")); len(line) > 0 {
			return string(line), nil
		}
	}
}

// split gives the fields of a line.
func split(line string) ([]string, error) {
	if !strings.Contains(line, `"`) {
		return strings.Split(line, ","), nil
	}
	in := csv.NewReader(strings.NewReader(line))
	fields, err := in.Read()
	if broken, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, fmt.Errorf("column %d: %w", broken.Column, broken.Err)
	}
	return fields, err
}

// next gives a good row or a bad one; io.EOF at the end.
func (r *rowReader) next() (importRow, *badRow, error) {
	text, err := r.readLine()
	if errors.Is(err, errLineTooLong) {
		return importRow{}, &badRow{line: r.line, reason: err.Error()}, nil
	}
	if err != nil {
		return importRow{}, nil, err
	}
	fields, err := split(text)
	if err != nil {
		return importRow{}, &badRow{line: r.line, reason: err.Error(), account: r.accountOf(text), fields: []string{text}}, nil //nolint:nilerr // it is the row that is bad
	}
	bad := func(format string, args ...any) (importRow, *badRow, error) {
		b := &badRow{line: r.line, reason: fmt.Sprintf(format, args...), fields: fields}
		if i := r.column["account_id"]; i < len(fields) {
			b.account = fields[i]
		}
		return importRow{}, b, nil
	}
	if len(fields) != len(r.header) {
		return bad("%d fields, the header has %d", len(fields), len(r.header))
	}
	for i, field := range fields {
		if !utf8.ValidString(field) {
			return bad("%s is not UTF-8: save the file in that encoding", r.header[i])
		}
	}
	get := func(name string) string { return fields[r.column[name]] }
	row := importRow{
		fields: fields, line: r.line, account: get("account_id"), transaction: get("transaction_id"), direction: get("direction"),
		operation: get("operation"), category: get("category"), counterparty: get("counterparty"),
	}
	if err := schemas.ValidateID(row.account); err != nil {
		return bad("account_id: %v", err)
	}
	if row.transaction == "" {
		return bad("transaction_id is empty")
	}
	if row.date, err = time.Parse(time.DateOnly, get("date")); err != nil {
		return bad("date is %q, wanted YYYY-MM-DD", get("date"))
	}
	if year := row.date.Year(); year < firstYear || year > lastYear {
		return bad("date is %q, wanted one of the years %d to %d", get("date"), firstYear, lastYear)
	}
	if row.direction != "credit" && row.direction != "debit" {
		return bad("direction is %q, wanted credit or debit", row.direction)
	}
	if row.amount, err = strconv.ParseInt(get("amount_minor"), 10, 64); err != nil || row.amount <= 0 {
		return bad("amount_minor is %q, wanted a whole number above 0", get("amount_minor"))
	}
	if _, err := strconv.ParseInt(get("balance_minor"), 10, 64); err != nil {
		return bad("balance_minor is %q, wanted a whole number", get("balance_minor"))
	}
	return row, nil, nil
}

// accountOf finds the account in a line whose quoting is broken behind it.
func (r *rowReader) accountOf(line string) string {
	fields, i := strings.Split(line, ","), r.column["account_id"]
	if i >= len(fields) || slices.ContainsFunc(fields[:i+1], func(f string) bool { return strings.Contains(f, `"`) }) {
		return ""
	}
	return fields[i]
}
