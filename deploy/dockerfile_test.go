package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is a line of a Dockerfile, with those that continue it.
type instruction struct{ name, rest string }

// instructions reads a Dockerfile as far as ours needs it: comments, instructions, lines that end in a backslash.
func instructions(t *testing.T, file string) (list []instruction) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	continued := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if part, more := strings.CutSuffix(line, `\`); more {
			continued += part
			continue
		}
		name, rest, _ := strings.Cut(continued+line, " ")
		list, continued = append(list, instruction{name, strings.TrimSpace(rest)}), ""
	}
	return list
}

var known = []string{"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}

// One image, pinned, for a user who is nobody, with the C library that the program is bound to.
func TestDockerfile_PinnedNobodysWithLibc(t *testing.T) {
	stages := map[string]bool{}
	var from, user, target string
	var entry []string
	for _, i := range instructions(t, "Dockerfile") {
		if !slices.Contains(known, i.name) {
			t.Errorf("unknown instruction %s", i.name)
		}
		words := strings.Fields(i.rest)
		switch i.name {
		case "FROM":
			from, user = words[0], ""
			if !strings.Contains(from, ":") || strings.HasSuffix(from, ":latest") {
				t.Errorf("FROM %s: no version", from)
			}
			if len(words) == 3 && words[1] == "AS" {
				stages[words[2]] = true
			}
		case "COPY":
			sources := words[:len(words)-1]
			if stage, ok := strings.CutPrefix(sources[0], "--from="); ok {
				if target = words[len(words)-1]; !stages[stage] {
					t.Errorf("COPY from stage %q, which is not", stage)
				}
				continue
			}
			for _, s := range sources {
				if _, err := os.Stat(filepath.Join("..", s)); err != nil {
					t.Errorf("COPY: %v", err)
				}
			}
		case "USER":
			user = i.rest
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(i.rest), &entry); err != nil {
				t.Errorf("ENTRYPOINT %s: %v", i.rest, err)
			}
		case "RUN":
			if out, err := exec.CommandContext(t.Context(), "sh", "-n", "-c", i.rest).CombinedOutput(); err != nil {
				t.Errorf("RUN %s: %v\n%s", i.rest, err, out)
			}
		}
	}
	if !strings.HasPrefix(from, "gcr.io/distroless/base-") {
		t.Errorf("the image is built on %s, which has no libc", from)
	}
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("it runs as %q: give numbers other than 0, which a cluster can check", user)
	}
	if len(entry) != 1 || entry[0] != target || path.Base(target) != "ledgerline" {
		t.Errorf("it starts %v, and the program is %s", entry, target)
	}
}

// The toolchain of the image is not older than go.mod asks for, and what the build ignores is not what it needs.
func TestDockerfile_BuildsThisModule(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))
	if from := instructions(t, "Dockerfile")[0].rest; len(wanted) < 2 || !strings.HasPrefix(from, "golang:"+wanted[1]+".") {
		t.Errorf("go.mod asks for %v, the image is built by %s", wanted, from)
	}
	ignored, err := os.ReadFile("Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{if and .Module .Module.Main}}{{.Dir}}{{end}}`, "../cmd/ledgerline").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(ignored)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for dir := range strings.Lines(string(out)) {
			if at := filepath.Join(root, line); strings.TrimSpace(dir) == at || strings.HasPrefix(dir, at+string(filepath.Separator)) {
				t.Errorf("the build needs %s, and ignores it", strings.TrimSpace(dir))
			}
		}
	}
}
