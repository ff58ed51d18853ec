package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// foreign are prefixes of environment variables that are read elsewhere.
var foreign = []string{envPrefix + "DEPS_", envPrefix + "KIT_", envPrefix + "PROCESS_"}

// Load gives the values: flag before environment before file before default. known are the settings of all commands, so that a
// file or an environment can serve several of them. A name that none of them has is an error, and so is a value that is not
// of its setting's type: all of them are told at once, and each says where it stands.
func Load(flags *pflag.FlagSet, known []Setting) (*Values, error) {
	l := loader{flags: flags, known: known, values: koanf.New("."), origins: map[string]string{}}
	// Later layers win.
	for _, layer := range []func() (map[string]any, error){l.defaults, l.file, l.environment, l.flagged} {
		set, err := layer()
		if err != nil {
			l.errs = append(l.errs, err)
			continue
		}
		if err := l.values.Load(confmap.Provider(set, "."), nil); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(l.errs...); err != nil {
		return nil, Usage(err)
	}
	return &Values{l.values, l.origins}, nil
}

type loader struct {
	flags  *pflag.FlagSet
	known  []Setting
	values *koanf.Koanf
	errs   []error

	origins map[string]string // where each value came from, unless it is the default
}

// defaults are the command's own where it has the flag: the same setting may have another default elsewhere.
func (l *loader) defaults() (map[string]any, error) {
	set := map[string]any{}
	for _, s := range l.known {
		set[s.Key] = s.Default
		f := l.flags.Lookup(s.Flag())
		if f == nil {
			continue
		}
		text := f.DefValue
		if _, ok := f.Value.(pflag.SliceValue); ok {
			text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
		}
		value, err := parse(s, text)
		if err != nil {
			return nil, fmt.Errorf("the default of --%s is %q: %w", s.Flag(), text, err)
		}
		set[s.Key] = value
	}
	return set, nil
}

func (l *loader) file() (map[string]any, error) {
	path := os.Getenv(configEnv)
	if f := l.flags.Lookup(ConfigFlag); f != nil && f.Value.String() != "" {
		path = f.Value.String()
	}
	if path == "" {
		return nil, nil
	}
	read := koanf.New(".")
	if err := read.Load(file.Provider(path), yaml.Parser()); err != nil {
		return nil, fmt.Errorf("settings file %s: %w", path, err)
	}
	byKey := map[string]Setting{}
	for _, s := range l.known {
		byKey[s.Key] = s
	}
	set := map[string]any{}
	var errs []error
	for _, key := range read.Keys() {
		s, ok := byKey[key]
		if !ok {
			value := read.Get(key)
			if section, ok := value.(map[string]any); (value == nil || ok && len(section) == 0) && l.isSection(key) {
				continue // a heading with nothing below it
			}
			errs = append(errs, fmt.Errorf("settings file %s: %s is no setting%s", path, key, nearest(key, slices.Collect(maps.Keys(byKey)))))
			continue
		}
		text := fileText(read.Get(key))
		value, err := parse(s, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("settings file %s: %s is %q: %w", path, key, text, err))
			continue
		}
		set[key], l.origins[key] = value, "file "+path
	}
	return set, errors.Join(errs...)
}

// fileText is a value of the file as somebody would write it in the environment.
func fileText(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, fmt.Sprint(item))
		}
		return strings.Join(items, ",")
	}
	return fmt.Sprint(value)
}

func (l *loader) isSection(key string) bool {
	return slices.ContainsFunc(l.known, func(s Setting) bool { return strings.HasPrefix(s.Key, key+".") })
}

func (l *loader) environment() (map[string]any, error) {
	byEnv := map[string]Setting{}
	for _, s := range l.known {
		byEnv[strings.TrimPrefix(s.Env(), envPrefix)] = s
	}
	set := map[string]any{}
	var errs []error
	for _, entry := range os.Environ() {
		variable, text, _ := strings.Cut(entry, "=")
		name, ours := strings.CutPrefix(variable, envPrefix)
		if !ours || variable == configEnv || slices.ContainsFunc(foreign, func(p string) bool { return strings.HasPrefix(variable, p) }) {
			continue
		}
		s, ok := byEnv[name]
		if !ok {
			hint := nearest(name, slices.Collect(maps.Keys(byEnv)))
			errs = append(errs, fmt.Errorf("environment: %s is no setting%s", variable, strings.Replace(hint, "mean ", "mean "+envPrefix, 1)))
			continue
		}
		value, err := parse(s, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("environment: %s is %q: %w", variable, text, err))
			continue
		}
		set[s.Key], l.origins[s.Key] = value, "environment "+variable
	}
	return set, errors.Join(errs...)
}

// flagged are the flags that were given. Their types were checked when they were parsed.
func (l *loader) flagged() (map[string]any, error) {
	set := map[string]any{}
	for _, s := range l.known {
		f := l.flags.Lookup(s.Flag())
		if f == nil || !f.Changed {
			continue
		}
		l.origins[s.Key] = "flag --" + s.Flag()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			set[s.Key] = trimAll(list.GetSlice())
			continue
		}
		value, err := parse(s, f.Value.String())
		if err != nil {
			return nil, fmt.Errorf("--%s is %q: %w", s.Flag(), f.Value, err)
		}
		set[s.Key] = value
	}
	return set, nil
}
