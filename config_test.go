package ledgerline_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigCheck_SaysWhereEachValueCameFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("kafka: {partitions: 24, replication: 5}\nregistry: {url: 'http://user:secret1@registry:8081'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LEDGERLINE_KAFKA_REPLICATION", "4")
	t.Setenv("LEDGERLINE_POSTGRES_URL", "host=db user=me password=secret2")
	code, out, errOut := run(t, "config", "check", "--json", "--config", file, "--topic-prefix", "test.", "--clickhouse-url", "http://me:secret3@ch:8123")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	var docs []struct {
		Key, Origin string
		Value       any
	}
	if err := json.Unmarshal([]byte(out), &docs); err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"kafka.partitions":  {"24", "file " + file},
		"kafka.replication": {"4", "environment LEDGERLINE_KAFKA_REPLICATION"},
		"topic-prefix":      {`"test."`, "flag --topic-prefix"},
		"producer.window":   {`"1h0m0s"`, "default"},
		"registry.url":      {`"http://user:xxxxx@registry:8081"`, "file " + file},
	}
	for _, d := range docs {
		w, ok := want[d.Key]
		delete(want, d.Key)
		value, err := json.Marshal(d.Value)
		if err != nil {
			t.Fatal(err)
		}
		if ok && (string(value) != w[0] || d.Origin != w[1]) {
			t.Errorf("%s is %s from %q, wanted %s from %q", d.Key, value, d.Origin, w[0], w[1])
		}
	}
	if len(want) > 0 {
		t.Errorf("it does not say %v", want)
	}
	if strings.Contains(out, "secret") {
		t.Errorf("it shows a password:\n%s", out)
	}
}

func TestConfigCheck_FindsMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"min-insync": {[]string{"--kafka-replication", "1", "--kafka-min-insync", "2"}, "--kafka-min-insync is 2"},
		"postgres":   {[]string{"--postgres-url", "foo"}, "--postgres-url: "},
		"clickhouse": {[]string{"--clickhouse-url", "ftp://x"}, "--clickhouse-url: "},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, errOut := run(t, append([]string{"config", "check"}, c.args...)...); code != 2 || !strings.Contains(errOut, c.want) {
				t.Errorf("exit code %d, said %q; wanted 2 and %q", code, errOut, c.want)
			}
		})
	}
}

// What config example prints is a file that every command takes, also with the comments taken off.
func TestConfigExample_IsAFileOfSettings(t *testing.T) {
	code, out, _ := run(t, "config", "example")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	lines := strings.Split(out, "\n")
	for i, line := range lines[1:] {
		lines[i+1] = strings.TrimPrefix(line, "#")
	}
	for name, text := range map[string]string{"as it is": out, "without comments": strings.Join(lines, "\n")} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "settings.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if code, _, errOut := run(t, "config", "check", "--config", file); code != 0 {
				t.Errorf("exit code %d: %s\n%s", code, errOut, text)
			}
		})
	}
}
