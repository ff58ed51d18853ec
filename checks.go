package ledgerline

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
)

// check finds values that have their type and yet can't be used, all of them at once and before anything is started.
func (a *App) check(settings []cli.Setting) error {
	var errs []error
	has := map[string]bool{}
	for _, s := range settings {
		has[s.Key] = true
		if s.Check == nil {
			continue
		}
		if remedy := s.Check(a.values.Value(s.Key)); remedy != "" {
			from := ""
			if origin := a.values.Origin(s.Key); origin != "default" && origin != "flag --"+s.Flag() {
				from = " (" + origin + ")"
			}
			errs = append(errs, fmt.Errorf("--%s%s is %s: %s", s.Flag(), from, show(readable(a.values.Value(s.Key))), remedy))
		}
	}
	// A demo's own broker sets both.
	if most := a.values.Int("kafka.replication"); has["kafka.min-insync"] && a.values.Given("kafka.brokers") && most > 0 && a.values.Int("kafka.min-insync") > most {
		errs = append(errs, fmt.Errorf("--kafka-min-insync is %d: give at most --kafka-replication, which is %d", a.values.Int("kafka.min-insync"), most))
	}
	if has["kafka.brokers"] {
		errs = append(errs, a.readLinks())
	}
	if err := errors.Join(errs...); err != nil {
		return cli.Usage(err)
	}
	return nil
}

// between wants a whole number.
func between(least, most int) func(any) string {
	return func(value any) string {
		if n, ok := value.(int); ok && (n < least || n > most) {
			return fmt.Sprintf("give %d to %d", least, most)
		}
		return ""
	}
}

// atLeast wants a time; more is what else to know.
func atLeast(least time.Duration, more string) func(any) string {
	return func(value any) string {
		if d, ok := value.(time.Duration); ok && d < least {
			return fmt.Sprintf("give %v or more%s", least, more)
		}
		return ""
	}
}

var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{0,100}$`)

func checkPrefix(value any) string {
	if text, ok := value.(string); ok && !prefixPattern.MatchString(text) {
		return "give at most 100 letters, digits, . _ and -, which are what the names of topics may hold"
	}
	return ""
}

// checkBrokers wants host or host:port, one or more.
func checkBrokers(value any) string {
	const remedy = "give host:port of one broker or more, such as broker-1:9092,broker-2:9092"
	list, ok := value.([]string)
	if !ok || len(list) == 0 {
		return remedy
	}
	for _, broker := range list {
		if broker == "" || strings.ContainsAny(broker, "/ ") || strings.Contains(broker, ":") && !isHostPort(broker, false) {
			return remedy
		}
	}
	return ""
}

// checkListen wants an address to listen on; the host may be left out, and port 0 is any.
func checkListen(value any) string {
	if text, ok := value.(string); ok && !isHostPort(text, true) {
		return "give host:port, such as 127.0.0.1:9000, with port 0 for any that is free"
	}
	return ""
}

func isHostPort(address string, listens bool) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" && !listens {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && (n > 0 || listens)
}

// checkRegistry wants one URL or more.
func checkRegistry(value any) string {
	text, _ := value.(string)
	for one := range strings.SplitSeq(text, ",") {
		if u, err := url.Parse(one); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return "give one such as http://registry:8081"
		}
	}
	return ""
}

func checkPostgres(value any) string {
	text, _ := value.(string)
	if err := (postgres.Config{URL: text}).Validate(); err != nil {
		return err.Error()
	}
	return ""
}

func checkClickHouse(value any) string {
	text, _ := value.(string)
	if err := (clickhouse.Config{URL: text}).Validate(); err != nil {
		return err.Error()
	}
	return ""
}

// orNone lets a value be empty.
func orNone(check func(any) string) func(any) string {
	return func(value any) string {
		switch v := value.(type) {
		case string:
			if v == "" {
				return ""
			}
		case []string:
			if len(v) == 0 {
				return ""
			}
		}
		return check(value)
	}
}

func checkGroup(value any) string {
	if value == producer.GroupClassic || value == producer.GroupConsumer {
		return ""
	}
	return fmt.Sprintf("give %s or %s", producer.GroupClassic, producer.GroupConsumer)
}
