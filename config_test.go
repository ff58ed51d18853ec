package ledgerline_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfigCheck_SaysWhereEachValueCameFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("kafka: {partitions: 24, replication: 5}\nregistry: {url: 'http://user:secret1@registry:8081'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LEDGERLINE_KAFKA_REPLICATION", "4")
	t.Setenv("LEDGERLINE_KAFKA_SASL_PASSWORD", "secret4")
	t.Setenv("LEDGERLINE_POSTGRES_URL", "host=db user=me password=secret2")
	code, out, errOut := run(t, "config", "check", "--json", "--config", file, "--topic-prefix", "test.", "--clickhouse-url", "http://me:secret3@ch:8123", "--kafka-sasl-mechanism", "SCRAM-SHA-512", "--kafka-sasl-user", "me")
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

		"kafka.sasl-password": {`"(not shown)"`, "environment LEDGERLINE_KAFKA_SASL_PASSWORD"},
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
		"postgres":   {[]string{"--postgres-url", "foo"}, "--postgres-url is foo: "},
		"clickhouse": {[]string{"--clickhouse-url", "ftp://x"}, "--clickhouse-url is ftp://x: "},
		"mechanism":  {[]string{"--kafka-sasl-mechanism", "GSSAPI"}, "--kafka-sasl-mechanism is GSSAPI: give one of PLAIN, SCRAM-SHA-256"},
		"login":      {[]string{"--kafka-sasl-mechanism", "PLAIN", "--kafka-tls-ca", "/none"}, "PLAIN wants --kafka-sasl-user"},
		"password":   {[]string{"--kafka-sasl-password", "x"}, "unknown flag: --kafka-sasl-password; did you mean --kafka-sasl-password-file?"},
		"registry":   {[]string{"--registry-token-file", "/none"}, "--registry-token-file: open /none"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, errOut := run(t, append([]string{"config", "check"}, c.args...)...); code != 2 || !strings.Contains(errOut, c.want) {
				t.Errorf("exit code %d, said %q; wanted 2 and %q", code, errOut, c.want)
			}
		})
	}
}

// What can't be used is told by flag, value and remedy, by config check and by every command that has the setting, before it
// starts anything.
func TestSettingsThatCannotBeUsed_AreUsageErrors(t *testing.T) {
	for _, c := range []struct {
		flag, value, remedy string
		command             []string
	}{
		{"kafka-partitions", "0", "give 1 to 100000", []string{"demo"}},
		{"kafka-partitions", "-5", "give 1 to 100000", []string{"producer"}},
		{"kafka-partitions", "4294967297", "give 1 to 100000", []string{"producer"}},
		{"kafka-replication", "0", "give 1 to 1000", []string{"topics"}},
		{"kafka-replication", "65537", "give 1 to 1000", []string{"topics"}},
		{"kafka-min-insync", "-1", "give 0 to 1000", []string{"producer"}},
		{"producer-window", "-1s", "give 1ms or more", []string{"demo", "--once"}},
		{"producer-session-timeout", "1ms", "give 1s or more; brokers refuse less than 6s", []string{"producer"}},
		{"topic-prefix", "a/b", "letters, digits, . _ and -", []string{"verify"}},
		{"topic-prefix", "a/b", "letters, digits, . _ and -", []string{"demo"}},
		{"kafka-brokers", "", "give host:port of one broker or more", []string{"verify"}},
		{"kafka-brokers", "a:1,", "give host:port of one broker or more", []string{"verify"}},
		{"kafka-brokers", "http://a:1", "give host:port of one broker or more", []string{"demo"}},
		{"kafka-brokers", "a:99999", "give host:port of one broker or more", []string{"events", "account"}},
		{"registry-url", "", "give one such as http://registry:8081", []string{"publish", "account", "FreezeAccount", "--id", "a"}},
		{"registry-url", "registry:8081", "give one such as http://registry:8081", []string{"demo"}},
		{"kafka-listen", "foo", "give host:port, such as", []string{"demo"}},
		{"api-listen", "foo", "give host:port, such as", []string{"api"}},
		{"api-listen", "127.0.0.1:99999", "give host:port, such as", []string{"demo"}},
		{"admin-listen", "", "give host:port, such as", []string{"monitor"}},
		{"api-cache-size", "0", "give 1 to", []string{"api"}},
		{"monitor-interval", "0s", "give 10ms or more", []string{"monitor"}},
		{"postgres-url", "foo", "give one such as postgres://", []string{"demo"}},
		{"clickhouse-url", "ftp://x", "give one such as http://", []string{"query"}},
	} {
		for _, command := range [][]string{c.command, {"config", "check"}} {
			if c.value == "" && c.flag == "admin-listen" && command[0] == "config" {
				continue // it is that of all roles, each of which has its own default
			}
			args := append(slices.Clone(command), "--"+c.flag, c.value)
			code, _, errOut := run(t, args...)
			value := c.value
			if value == "" {
				value = `""`
				if c.flag == "kafka-brokers" {
					value = ""
				}
			}
			if want := "--" + c.flag + " is " + value + ": "; code != 2 || !strings.Contains(errOut, want) || !strings.Contains(errOut, c.remedy) {
				t.Errorf("%v: exit code %d, said %q; wanted 2, %q and %q", args, code, errOut, want, c.remedy)
			}
		}
	}
	t.Setenv("LEDGERLINE_KAFKA_PARTITIONS", "0")
	if code, _, errOut := run(t, "producer"); code != 2 || !strings.Contains(errOut, "--kafka-partitions (environment LEDGERLINE_KAFKA_PARTITIONS) is 0: give 1") {
		t.Errorf("exit code %d, said %q", code, errOut)
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
