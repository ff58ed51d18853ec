package cli

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

var known = []Setting{
	{Key: "kafka.brokers", Default: []string{"127.0.0.1:9092"}, Help: "brokers"},
	{Key: "kafka.partitions", Default: 12, Help: "partitions"},
	{Key: "topic-prefix", Default: "", Help: "prefix"},
	{Key: "admin.listen", Default: "[::1]:9464", Help: "address"},
	{Key: "producer.window", Default: time.Hour, Help: "window"},
	{Key: "sample", Default: true, Help: "sample"},
}

// load is one run: with flags, environment and file as given.
func load(t *testing.T, args []string, env map[string]string, file string) (*Values, error) {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.String(ConfigFlag, "", "")
	AddFlags(flags, known...)
	if file != "" {
		path := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(flags, known)
}

func TestLoad_FlagBeforeEnvironmentBeforeFileBeforeDefault(t *testing.T) {
	const file = "kafka: {brokers: [file:1, 'file:2'], partitions: 3}\ntopic-prefix: file.\nproducer:\n  window: 3h\nsample: false\n"
	env := map[string]string{"LEDGERLINE_KAFKA_BROKERS": "env:1, env:2", "LEDGERLINE_TOPIC_PREFIX": "env.", "LEDGERLINE_KAFKA_PARTITIONS": "2"}
	args := []string{"--kafka-brokers", "flag:1, flag:2", "--kafka-partitions=1", "--topic-prefix=flag."}
	type values struct {
		Brokers    []string
		Partitions int
		Prefix     string
		Listen     string
		Window     time.Duration
		Sample     bool
	}
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want values
	}{
		{"default", nil, nil, "", values{[]string{"127.0.0.1:9092"}, 12, "", "[::1]:9464", time.Hour, true}},
		{"file", nil, nil, file, values{[]string{"file:1", "file:2"}, 3, "file.", "[::1]:9464", 3 * time.Hour, false}},
		{"environment", nil, env, file, values{[]string{"env:1", "env:2"}, 2, "env.", "[::1]:9464", 3 * time.Hour, false}},
		{"flag", args, env, file, values{[]string{"flag:1", "flag:2"}, 1, "flag.", "[::1]:9464", 3 * time.Hour, false}},
		{"a flag that repeats the default", []string{"--kafka-partitions=12", "--sample"}, env, file, values{[]string{"env:1", "env:2"}, 12, "env.", "[::1]:9464", 3 * time.Hour, true}},
		{"empty on purpose", []string{"--kafka-brokers="}, map[string]string{"LEDGERLINE_TOPIC_PREFIX": ""}, file, values{[]string{}, 3, "", "[::1]:9464", 3 * time.Hour, false}},
		{"a file of headings", nil, nil, "kafka:\nproducer: {}\n", values{[]string{"127.0.0.1:9092"}, 12, "", "[::1]:9464", time.Hour, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := load(t, c.args, c.env, c.file)
			if err != nil {
				t.Fatal(err)
			}
			got := values{v.Strings("kafka.brokers"), v.Int("kafka.partitions"), v.String("topic-prefix"), v.String("admin.listen"), v.Duration("producer.window"), v.Bool("sample")}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestLoad_FileByEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(path, []byte("kafka.partitions: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := load(t, nil, map[string]string{"LEDGERLINE_CONFIG": path}, "")
	if err != nil || v.Int("kafka.partitions") != 7 {
		t.Errorf("%v, %v", v, err)
	}
}

func TestLoad_NamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want []string // in the error
	}{
		{"unknown in the environment", nil, map[string]string{"LEDGERLINE_KAFKA_BROKER": "a"}, "", []string{"environment: LEDGERLINE_KAFKA_BROKER is no setting; did you mean LEDGERLINE_KAFKA_BROKERS?"}},
		{"like nothing", nil, map[string]string{"LEDGERLINE_XYZZY": "a"}, "", []string{"LEDGERLINE_XYZZY is no setting"}},
		{"unknown in the file", nil, nil, "kafka: {brokres: a}", []string{"settings.yaml: kafka.brokres is no setting; did you mean kafka.brokers?"}},
		{"deeper than a setting", nil, nil, "sample: {really: true}", []string{"sample.really is no setting"}},
		{"a value where a heading belongs", nil, nil, "kafka: 5", []string{"kafka is no setting"}},
		{"an empty heading of nothing", nil, nil, "kafak:", []string{"kafak is no setting"}},
		{"type in the environment", nil, map[string]string{"LEDGERLINE_KAFKA_PARTITIONS": "many"}, "", []string{`LEDGERLINE_KAFKA_PARTITIONS is "many": give a whole number`}},
		{"type in the file", nil, nil, "producer: {window: 10}\nsample: maybe", []string{`producer.window is "10": give a time with its unit`, `sample is "maybe": give true or false`}},
		{"all of it", nil, map[string]string{"LEDGERLINE_SAMPEL": "1"}, "topic_prefix: x", []string{"did you mean LEDGERLINE_SAMPLE?", "did you mean topic-prefix?"}},
		{"no file", []string{"--config", "/does/not/exist.yaml"}, nil, "", []string{"settings file /does/not/exist.yaml"}},
		{"no YAML", nil, nil, "kafka: [", []string{"settings file", "yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.args, c.env, c.file)
			code, err := Code(err)
			if code != ExitUsage || err == nil {
				t.Fatalf("code %d, %v", code, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
	if _, err := load(t, nil, map[string]string{"LEDGERLINE_DEPS_KAFKA": "/x", "LEDGERLINE_KIT_X": "1"}, ""); err != nil {
		t.Errorf("what others read: %v", err)
	}
}

// A command may have another default for a setting that it shares.
func TestLoad_DefaultOfTheCommand(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags, Setting{Key: "kafka.brokers", Default: []string{}}, Setting{Key: "admin.listen", Default: "[::1]:1"})
	v, err := Load(flags, known)
	if err != nil {
		t.Fatal(err)
	}
	if v.Given("kafka.brokers") || v.String("admin.listen") != "[::1]:1" || !v.Given("admin.listen") {
		t.Errorf("brokers %v, listen %q", v.Strings("kafka.brokers"), v.String("admin.listen"))
	}
	if err := v.Set(map[string]any{"kafka.brokers": []string{"here:1"}}); err != nil || !v.Given("kafka.brokers") || v.Strings("kafka.brokers")[0] != "here:1" {
		t.Errorf("after Set: %v, %v", v.Strings("kafka.brokers"), err)
	}
}

func TestSetting_Names(t *testing.T) {
	s := Setting{Key: "kafka.min-insync"}
	if s.Flag() != "kafka-min-insync" || s.Env() != "LEDGERLINE_KAFKA_MIN_INSYNC" {
		t.Errorf("%s %s", s.Flag(), s.Env())
	}
}

func TestCode(t *testing.T) {
	boom, stop := errors.New("boom"), errors.New("stop kafka: late")
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{nil, 0, ""},
		{Exit(0, nil), 0, ""},
		{boom, 1, "boom"},
		{Usage(boom), 2, "boom"},
		{Exit(3, nil), 3, ""},
		{Exit(4, boom), 4, "boom"},
		{errors.Join(Exit(5, boom), stop), 5, "boom\nstop kafka: late"},
	} {
		code, err := Code(c.err)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if code != c.code || text != c.text {
			t.Errorf("%v: %d %q, want %d %q", c.err, code, text, c.code, c.text)
		}
	}
	if !errors.Is(Usage(boom), boom) {
		t.Error("the cause is lost")
	}
}
