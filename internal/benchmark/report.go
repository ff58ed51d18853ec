package benchmark

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"
)

// Status says how a figure stands to its target.
type Status string

// Statuses, from best to worst.
const (
	Excellent   Status = "excellent"
	Good        Status = "good"
	Acceptable  Status = "acceptable"
	Failing     Status = "failing"
	NotMeasured Status = "not measured"
)

// Unit of a row.
type Unit string

// Units. A time and a lag are better the lower they are, a rate and an availability the higher.
const (
	Milliseconds Unit = "ms"
	Seconds      Unit = "s"
	PerSecond    Unit = "1/s"
	Percent      Unit = "%"
)

// Judge holds a figure against its target.
func Judge(unit Unit, target, current float64) Status {
	if math.IsNaN(current) || math.IsInf(current, 0) {
		return NotMeasured
	}
	level := func(ratio, excellent, good, acceptable float64) Status {
		const rounding = 1e-9
		switch ratio -= rounding; {
		case ratio <= excellent:
			return Excellent
		case ratio <= good:
			return Good
		case ratio <= acceptable:
			return Acceptable
		}
		return Failing
	}
	switch unit {
	case PerSecond:
		return level(target/current, 0.7, 1.05, 1.1)
	case Percent: // the shortfall, in points
		return level(target-current, math.Inf(-1), 0, 0.01)
	case Milliseconds, Seconds:
	}
	return level(current/target, 0.7, 1, 1.05)
}

// Row is one line of the report. P50 to Max are absent where a row is one figure.
type Row struct {
	Name    string   `json:"name" yaml:"name"`
	Unit    Unit     `json:"unit" yaml:"unit"`
	Target  float64  `json:"target" yaml:"target"`
	P50     *float64 `json:"p50" yaml:"p50"`
	P90     *float64 `json:"p90" yaml:"p90"`
	P99     *float64 `json:"p99" yaml:"p99"`
	Max     *float64 `json:"max" yaml:"max"`
	Errors  int      `json:"errors" yaml:"errors"`
	Current *float64 `json:"current" yaml:"current"` // what the status is of: p90, of a lag the maximum
	Status  Status   `json:"status" yaml:"status"`
	Note    string   `json:"note,omitempty" yaml:"note,omitempty"`
}

// Times makes a row of how long answers took: judged by the p90, of a lag by the maximum. A row with failed attempts fails.
func Times(name string, unit Unit, target float64, s *Samples, by float64) Row {
	r := Row{Name: name, Unit: unit, Target: target, Errors: s.Errors}
	at := func(q float64) *float64 { return figure(s.Quantile(q)) }
	r.P50, r.P90, r.P99, r.Max, r.Current = at(0.5), at(0.9), at(0.99), at(1), at(by)
	r.Status = Judge(unit, target, s.Quantile(by))
	if s.Errors > 0 {
		r.Status, r.Note = Failing, fmt.Sprintf("%d failed, first: %v", s.Errors, s.First)
	}
	return r
}

// Single makes a row of one figure; NaN: it was not measured.
func Single(name string, unit Unit, target, current float64, failed int, note string) Row {
	r := Row{Name: name, Unit: unit, Target: target, Errors: failed, Current: figure(current), Status: Judge(unit, target, current), Note: note}
	if failed > 0 {
		r.Status = Failing
	}
	return r
}

// figure is rounded to what can be told apart.
func figure(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	v = math.Round(v*1000) / 1000
	return &v
}

// Format of a report.
type Format string

// Formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Write prints rows.
func Write(w io.Writer, format Format, rows []Row) error {
	switch format {
	case JSON:
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	case YAML:
		e := yaml.NewEncoder(w)
		return cmp.Or(e.Encode(rows), e.Close())
	case Table:
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "target\tcurrent\tunit\tp50\tp90\tp99\tmax\terrors\tstatus\t\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t  %s\t\n", number(&r.Target), number(r.Current), r.Unit, number(r.P50), number(r.P90), number(r.P99), number(r.Max), r.Errors, r.Status, r.Name)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		if r.Note != "" {
			if _, err := fmt.Fprintf(w, "%s: %s\n", r.Name, r.Note); err != nil {
				return err
			}
		}
	}
	return nil
}

func number(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case math.Abs(*v) >= 1000:
		return fmt.Sprintf("%.0f", *v)
	}
	return fmt.Sprintf("%.4g", *v)
}
