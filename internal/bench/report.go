// Package bench is what the benchmarks have in common: the facts of the machine that they ran on, and targets as lines that a
// script can read.
package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// Machine are the facts without which a figure says little.
type Machine struct {
	CPUs int    `json:"cpus"`
	CPU  string `json:"cpu,omitempty"` // model name
	GiB  int    `json:"gib,omitempty"` // memory
	Arch string `json:"arch"`
	Go   string `json:"go"`
	Load string `json:"load,omitempty"` // averages of 1, 5 and 15 minutes when it was asked
}

// ThisMachine looks them up; what the system does not tell is left out.
func ThisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Arch: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	if model := procField("/proc/cpuinfo", "model name"); model != "" {
		m.CPU = model
	}
	var kib int
	if _, err := fmt.Sscanf(procField("/proc/meminfo", "MemTotal"), "%d kB", &kib); err == nil {
		m.GiB = kib >> 20
	}
	return m
}

// procField is the first value under a name in a file of "name: value" lines.
func procField(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m Machine) String() string {
	s := fmt.Sprintf("%d CPUs", m.CPUs)
	if m.CPU != "" {
		s += " (" + m.CPU + ")"
	}
	if m.GiB > 0 {
		s += fmt.Sprintf(", %d GiB", m.GiB)
	}
	s += ", " + m.Arch + ", " + m.Go
	if m.Load != "" {
		s += ", load " + m.Load
	}
	return s
}

// Target is a figure beside what it should be.
type Target struct {
	Name     string  `json:"name"`
	Measured float64 `json:"measured"`
	Goal     float64 `json:"goal"`
	OK       bool    `json:"ok"`
}

// AtMost is a target of what should be small.
func AtMost(name string, measured, goal float64) Target {
	return Target{name, measured, goal, measured <= goal}
}

// AtLeast is a target of what should be large.
func AtLeast(name string, measured, goal float64) Target {
	return Target{name, measured, goal, measured >= goal}
}

// Print writes a line for each target.
func Print(to io.Writer, targets []Target) {
	for _, t := range targets {
		verdict := "short"
		if t.OK {
			verdict = "ok"
		}
		fmt.Fprintf(to, "target %s measured=%.4g goal=%.4g %s\n", t.Name, t.Measured, t.Goal, verdict)
	}
}

// AddJSON adds a part to the object in the file that BENCH_JSON names, if it names one, or replaces it there.
func AddJSON(part string, result any) error {
	file := os.Getenv("BENCH_JSON")
	if file == "" {
		return nil
	}
	parts := map[string]any{}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &parts)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("BENCH_JSON names %s, which is not the JSON object that this would add to: remove it: %w", file, err)
	}
	parts[part] = result
	return WriteJSON(parts)
}

// WriteJSON writes a result to the file that BENCH_JSON names, if it names one.
func WriteJSON(result any) error {
	file := os.Getenv("BENCH_JSON")
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}
