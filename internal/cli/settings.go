package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Setting is one value that can be set by flag, environment or file: "kafka.brokers" is --kafka-brokers, LEDGERLINE_KAFKA_BROKERS
// and `kafka: {brokers: …}`. The type of Default (string, int, bool, time.Duration or []string) is the value's type.
type Setting struct {
	Key     string
	Default any
	Help    string
}

// Flag is the setting's flag, without dashes before it.
func (s Setting) Flag() string { return strings.ReplaceAll(s.Key, ".", "-") }

// Env is the setting's environment variable.
func (s Setting) Env() string { return envPrefix + envName(s.Key) }

const (
	envPrefix = "LEDGERLINE_"
	// ConfigFlag names the file of settings; LEDGERLINE_CONFIG does so too.
	ConfigFlag = "config"
)

// foreign are prefixes of environment variables that are read elsewhere.
var foreign = []string{"LEDGERLINE_DEPS_", "LEDGERLINE_KIT_", "LEDGERLINE_PROCESS_", "LEDGERLINE_CONFIG"}

func envName(key string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// AddFlags gives a command the flags of its settings.
func AddFlags(flags *pflag.FlagSet, settings ...Setting) {
	for _, s := range settings {
		help := s.Help + " (" + s.Env() + ")"
		switch d := s.Default.(type) {
		case string:
			flags.String(s.Flag(), d, help)
		case int:
			flags.Int(s.Flag(), d, help)
		case bool:
			flags.Bool(s.Flag(), d, help)
		case time.Duration:
			flags.Duration(s.Flag(), d, help)
		case []string:
			flags.StringSlice(s.Flag(), d, help)
		default:
			panic(fmt.Sprintf("setting %s has a default of type %T", s.Key, d))
		}
	}
}

// Values are the settings of one run.
type Values struct{ k *koanf.Koanf }

// Load gives the values: flag before environment before file before default. known are the settings of all commands, so that a
// file or an environment can serve several of them; a name that none of them has is an error.
func Load(flags *pflag.FlagSet, known []Setting) (*Values, error) {
	k := koanf.New(".")
	defaults := map[string]any{}
	byEnv := map[string]Setting{}
	byKey := map[string]Setting{}
	for _, s := range known {
		defaults[s.Key], byEnv[s.Env()], byKey[s.Key] = s.Default, s, s
	}
	// What belongs to this command may have a default of its own.
	for _, s := range known {
		if f := flags.Lookup(s.Flag()); f != nil {
			if value, err := parse(s, strings.Trim(f.DefValue, "[]")); err == nil {
				defaults[s.Key] = value
			}
		}
	}
	if err := k.Load(confmap.Provider(defaults, "."), nil); err != nil {
		return nil, err
	}
	if err := loadFile(k, flags, byKey); err != nil {
		return nil, err
	}
	set := map[string]any{}
	var errs []error
	for _, entry := range os.Environ() {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.ContainsFunc(foreign, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		s, ok := byEnv[name]
		if !ok {
			errs = append(errs, fmt.Errorf("environment: %s is no setting%s", name, nearest(name, slices.Collect(maps.Keys(byEnv)))))
			continue
		}
		value, err := parse(s, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("environment: %s is %q: %w", name, text, err))
			continue
		}
		set[s.Key] = value
	}
	for _, s := range known {
		f := flags.Lookup(s.Flag())
		if f == nil || !f.Changed {
			continue
		}
		text := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			set[s.Key] = list.GetSlice()
			continue
		}
		value, err := parse(s, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s is %q: %w", s.Flag(), text, err))
			continue
		}
		set[s.Key] = value
	}
	if err := errors.Join(errs...); err != nil {
		return nil, Usage(err)
	}
	return &Values{k}, k.Load(confmap.Provider(set, "."), nil)
}

func loadFile(k *koanf.Koanf, flags *pflag.FlagSet, byKey map[string]Setting) error {
	path := os.Getenv("LEDGERLINE_CONFIG")
	if f := flags.Lookup(ConfigFlag); f != nil && f.Value.String() != "" {
		path = f.Value.String()
	}
	if path == "" {
		return nil
	}
	read := koanf.New(".")
	if err := read.Load(file.Provider(path), yaml.Parser()); err != nil {
		return Usage(fmt.Errorf("settings file %s: %w", path, err))
	}
	set := map[string]any{}
	var errs []error
	for _, key := range read.Keys() {
		s, ok := byKey[key]
		if !ok {
			errs = append(errs, fmt.Errorf("settings file %s: %s is no setting%s", path, key, nearest(key, slices.Collect(maps.Keys(byKey)))))
			continue
		}
		text := fmt.Sprint(read.Get(key))
		if list, ok := read.Get(key).([]any); ok {
			text = strings.Join(read.Strings(key), ",")
			_ = list
		}
		value, err := parse(s, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("settings file %s: %s is %q: %w", path, key, text, err))
			continue
		}
		set[key] = value
	}
	if err := errors.Join(errs...); err != nil {
		return Usage(err)
	}
	return k.Load(confmap.Provider(set, "."), nil)
}

// String, Int, Bool, Duration and Strings give a setting's value.
func (v *Values) String(key string) string { return v.k.String(key) }

// Int gives a whole number.
func (v *Values) Int(key string) int { return v.k.Int(key) }

// Bool gives a yes or no.
func (v *Values) Bool(key string) bool { return v.k.Bool(key) }

// Duration gives a time such as 10s.
func (v *Values) Duration(key string) time.Duration { return v.k.Duration(key) }

// Strings gives a list.
func (v *Values) Strings(key string) []string { return v.k.Strings(key) }

// Given reports whether a setting has a value that is not empty.
func (v *Values) Given(key string) bool {
	switch value := v.k.Get(key).(type) {
	case nil:
		return false
	case string:
		return value != ""
	case []string:
		return len(value) > 0
	}
	return true
}

// Set overrides values: what a program finds out about itself, such as the addresses of servers that it started.
func (v *Values) Set(values map[string]any) error {
	return v.k.Load(confmap.Provider(values, "."), nil)
}
