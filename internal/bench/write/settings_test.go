package write

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// streamsSetting is how Kafka Streams is set up for a run. What is not here is the same in all of them, in streams/Streams.java.
type streamsSetting struct {
	threads int           // num.stream.threads
	commit  time.Duration // commit.interval.ms: how long its transactions are
	linger  time.Duration // linger.ms
	store   string        // memory or rocksdb
	cache   int           // MiB of statestore.cache.max.bytes: what changes twice within a transaction goes to the changelog once
	window  bool          // answers are remembered, as Ledgerline remembers them
}

func (s streamsSetting) String() string {
	text := fmt.Sprintf("%d×%v, %s", s.threads, s.commit, s.store)
	if s.linger != standardSetting.linger {
		text += fmt.Sprintf(", linger %v", s.linger)
	}
	if s.cache != standardSetting.cache {
		text += fmt.Sprintf(", cache %d MiB", s.cache)
	}
	return text
}

// standardSetting holds what a text leaves out. The linger is what Kafka Streams has by itself; a commit sends what lingers.
var standardSetting = streamsSetting{threads: 1, commit: 100 * time.Millisecond, linger: 100 * time.Millisecond, store: "memory", cache: 256}

const (
	// Threads beyond the cores that the broker leaves do not help; transactions longer than a second gain little, and no client waits
	// that long. What Kafka ships, 100 ms, is among them, and so is its standard store. Short transactions answer sooner, until there
	// are too many of them.
	throughputSettings = "threads=1 commit=100ms; threads=1 commit=1s; threads=2 commit=100ms; threads=2 commit=1s; threads=2 commit=1s store=rocksdb"
	latencySettings    = "commit=10ms; commit=30ms; commit=100ms"
)

// streamsSettings reads settings from a variable, such as "threads=2 commit=100ms; threads=2 commit=1s store=rocksdb". None at all, by
// "off", is for a machine without a Java compiler.
func streamsSettings(b *testing.B, name, standard string) (all []streamsSetting) {
	text := cmp.Or(os.Getenv(name), standard)
	if text == "off" {
		return nil
	}
	for one := range strings.SplitSeq(text, ";") {
		s := standardSetting
		for field := range strings.FieldsSeq(one) {
			var err error
			if s, err = s.with(field); err != nil {
				b.Fatalf("%s is %q: %q: %v", name, text, field, err)
			}
		}
		all = append(all, s)
	}
	return all
}

// with is the setting after one field of its text.
func (s streamsSetting) with(field string) (_ streamsSetting, err error) {
	key, value, _ := strings.Cut(field, "=")
	switch key {
	case "threads":
		s.threads, err = whole(value, 1)
	case "cache":
		s.cache, err = whole(value, 0)
	case "commit":
		s.commit, err = milliseconds(value, time.Millisecond)
	case "linger":
		s.linger, err = milliseconds(value, 0)
	case "store":
		if s.store = value; value != "memory" && value != "rocksdb" {
			err = fmt.Errorf("give memory or rocksdb")
		}
	default:
		err = fmt.Errorf("no such setting: there are threads, commit, linger, store and cache, and \"off\" for all")
	}
	return s, err
}

func whole(text string, least int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > 1024 {
		return 0, fmt.Errorf("give a whole number from %d to 1024", least)
	}
	return n, nil
}

func milliseconds(text string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > time.Hour || d%time.Millisecond != 0 {
		return 0, fmt.Errorf("give whole milliseconds, such as 100ms or 1s, from %v", least)
	}
	return d, nil
}

func number(b *testing.B, name string, standard int) int {
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		b.Fatalf("%s is %q: give a whole number from 1000", name, text)
	}
	return n
}
