package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Setting is one value that can be set by flag, environment or file: "kafka.brokers" is --kafka-brokers, LEDGERLINE_KAFKA_BROKERS
// and `kafka: {brokers: …}`. The type of Default (string, int, bool, time.Duration or []string) is the value's type.
type Setting struct {
	Key     string
	Default any
	Help    string
	// Secret values have no flag, since anyone on the machine can see those, and are never shown.
	Secret bool
	// Check says what to give in place of a value that can't be used; "" if it can. None: whatever has the type will do.
	Check func(value any) (remedy string)
}

// Flag is the setting's flag, without dashes before it.
func (s Setting) Flag() string { return strings.ReplaceAll(s.Key, ".", "-") }

// Env is the setting's environment variable.
func (s Setting) Env() string { return envPrefix + envName(s.Key) }

const (
	envPrefix = "LEDGERLINE_"
	// ConfigFlag names the file of settings; LEDGERLINE_CONFIG does so too.
	ConfigFlag = "config"
	configEnv  = envPrefix + "CONFIG"
)

func envName(key string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// AddFlags gives a command the flags of its settings.
func AddFlags(flags *pflag.FlagSet, settings ...Setting) {
	for _, s := range settings {
		if s.Secret {
			continue
		}
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
type Values struct {
	k       *koanf.Koanf
	origins map[string]string
}

// Origin says where a value came from: "flag --x", "environment LEDGERLINE_X", "file PATH" or "default".
func (v *Values) Origin(key string) string { return cmp.Or(v.origins[key], "default") }

// Value gives a value of whatever type.
func (v *Values) Value(key string) any { return v.k.Get(key) }

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
