package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// ruleFile is what these tests need to know of prometheus/rules.yml.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Record, Expr string
			Labels, Annotations map[string]string
		}
	}
}

// ruleTests is what they need to know of prometheus/rules_test.yml.
type ruleTests struct {
	Tests []struct {
		AlertRuleTest []struct {
			Alertname string
			ExpAlerts []any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

func readYAML[T any](t *testing.T, path string) (v T) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// debian gives a command of Debian's package prometheus.
func debian(t *testing.T, command string) string {
	t.Helper()
	path, err := deps.Debian(t.Context(), command, "prometheus")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestP12_AlertRules_PassTheirTests(t *testing.T) {
	promtool := debian(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "rules.yml"}, {"check", "config", "prometheus.yml"}, {"check", "config", "demo.yml"}, {"test", "rules", "rules_test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

var section = regexp.MustCompile(`(?ms)^## (\w+)\n(.*?)(?:\n## |\z)`)

// Every alert fires in one test and does not in another, says who is to look, and is explained.
func TestP12_EveryAlert_IsTestedBothWays_AndExplained(t *testing.T) {
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, c := range readYAML[ruleTests](t, "prometheus/rules_test.yml").Tests {
		for _, a := range c.AlertRuleTest {
			if len(a.ExpAlerts) > 0 {
				fires[a.Alertname] = true
			} else {
				quiet[a.Alertname] = true
			}
		}
	}
	alerts := map[string]bool{}
	for _, g := range readYAML[ruleFile](t, "prometheus/rules.yml").Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			alerts[r.Alert] = true
			if !fires[r.Alert] || !quiet[r.Alert] {
				t.Errorf("%s: a test in which it fires: %v, in which it does not: %v", r.Alert, fires[r.Alert], quiet[r.Alert])
			}
			if s := r.Labels["severity"]; s != "critical" && s != "warning" || r.Annotations["summary"] == "" {
				t.Errorf("%s: severity %q, summary %q", r.Alert, s, r.Annotations["summary"])
			}
			file, here := strings.CutSuffix(r.Annotations["runbook_url"], "#"+strings.ToLower(r.Alert))
			text, err := os.ReadFile(filepath.Join("prometheus", file))
			if err != nil || !here {
				t.Errorf("%s: runbook_url %q: %v", r.Alert, r.Annotations["runbook_url"], err)
				continue
			}
			explained := false
			for rest := string(text); ; {
				at := section.FindStringSubmatchIndex(rest)
				if at == nil {
					break
				}
				if name, body := rest[at[2]:at[3]], rest[at[4]:at[5]]; name == r.Alert {
					explained = strings.Contains(body, "**Means.**") && strings.Contains(body, "**See.**") && strings.Contains(body, "**Do.**")
				}
				rest = rest[at[5]:]
			}
			if !explained {
				t.Errorf("%s: %s has no section that says what it means, how to see and what to do", r.Alert, file)
			}
		}
	}
	for name := range fires {
		if !alerts[name] {
			t.Errorf("there are tests of %s, and no such alert", name)
		}
	}
}

var ourCommand = regexp.MustCompile("(?m)(?:^|`)(?:bin/)?ledgerline ([a-z]+)([^`\n#]*)")

// The commands of ours that runbooks and README name are commands that there are, with flags that they have.
func TestRunbooks_OurCommands_AreThose_ThatThereAre(t *testing.T) {
	found := 0
	for _, path := range []string{"README.md", "runbooks/alerts.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range ourCommand.FindAllStringSubmatch(string(text), -1) {
			found++
			command := c[1]
			flags, _, ok := help(t, command)
			if !ok {
				t.Errorf("%s: there is no command %q", path, command)
			}
			for word := range strings.FieldsSeq(c[2]) {
				if more, _, ok := help(t, command+" "+word); ok && !strings.HasPrefix(word, "-") { // one below it
					command, flags = command+" "+word, more
				}
				flag, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
				if strings.HasPrefix(word, "--") && !slices.Contains(flags, flag) {
					t.Errorf("%s: %s has no flag %s", path, command, word)
				}
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d commands found", found)
	}
}
