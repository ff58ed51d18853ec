package deploy_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/kit"
)

// stack loads the compose file as Docker does, with every variable of .env.example set.
func stack(t *testing.T) *types.Project {
	t.Helper()
	variables, err := dotenv.Read(".env.example")
	if err != nil {
		t.Fatal(err)
	}
	for name := range variables {
		variables[name] = "secret" + strings.ToLower(name)
	}
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml"}}, Environment: variables,
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// Nothing floats, nothing is open to the world, and everything says when it is ready.
func TestCompose_IsPinned_LocalAndHealthy(t *testing.T) {
	project := stack(t)
	for _, want := range []string{"kafka", "registry", "postgres", "clickhouse", "producer", "projector", "api", "monitor", "prometheus", "grafana"} {
		if _, ok := project.Services[want]; !ok {
			t.Errorf("there is no service %s", want)
		}
	}
	for name, service := range project.Services {
		if _, tag, ok := strings.Cut(service.Image, ":"); !ok || tag == "" || tag == "latest" {
			t.Errorf("%s: image %q has no version", name, service.Image)
		}
		if service.HealthCheck == nil || len(service.HealthCheck.Test) < 2 {
			t.Errorf("%s has no health check", name)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q, not on loopback alone", name, port.Published, port.HostIP)
			}
		}
		for other, on := range service.DependsOn {
			if on.Condition != types.ServiceConditionHealthy || project.Services[other].HealthCheck == nil {
				t.Errorf("%s depends on %s, %s", name, other, on.Condition)
			}
		}
		for _, v := range service.Volumes {
			if v.Type == types.VolumeTypeBind {
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			}
		}
	}
	id, err := base64.RawURLEncoding.DecodeString(*project.Services["kafka"].Environment["CLUSTER_ID"])
	if err != nil || len(id) != 16 {
		t.Errorf("the cluster's id has %d bytes, want 16: %v", len(id), err)
	}
	if text, err := os.ReadFile(filepath.Join("..", ".gitignore")); err != nil || !strings.Contains(string(text), "/deploy/.env\n") {
		t.Errorf("deploy/.env, which holds passwords, is not ignored: %v", err)
	}
}

var (
	flagOf     = regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z][a-z0-9-]*)`)
	variableOf = regexp.MustCompile(`\((LEDGERLINE_[A-Z0-9_]+)\)`)
)

// help gives the flags and environment variables of one of our commands; ok is false when there is no such command.
func help(t *testing.T, command string) (flags, variables []string, ok bool) {
	t.Helper()
	binary, err := ledgerline()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), binary, append(strings.Fields(command), "--help")...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ledgerline "+command) {
		return nil, nil, false
	}
	for _, found := range flagOf.FindAllStringSubmatch(string(out), -1) {
		flags = append(flags, found[1])
	}
	for _, found := range variableOf.FindAllStringSubmatch(string(out), -1) {
		variables = append(variables, found[1])
	}
	return flags, variables, true
}

// ours are the services that run our program.
func ours(project *types.Project) map[string]types.ServiceConfig {
	found := map[string]types.ServiceConfig{}
	for name, service := range project.Services {
		if service.Build != nil {
			found[name] = service
		}
	}
	return found
}

// Every command, flag and variable of ours that the compose file names is one that the program has, and every admin listener
// is where Prometheus looks for it.
func TestCompose_OurCommands_AreThose_ThatThereAre(t *testing.T) {
	project := stack(t)
	known := map[string]bool{}
	for name, service := range ours(project) {
		flags, variables, ok := help(t, service.Command[0])
		if !ok {
			t.Errorf("%s runs %q, and there is no such command", name, service.Command[0])
			continue
		}
		for _, argument := range service.Command[1:] {
			flag, _, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
			if strings.HasPrefix(argument, "--") && !slices.Contains(flags, flag) {
				t.Errorf("%s: %s has no flag %s", name, service.Command[0], argument)
			}
		}
		for _, v := range variables {
			known[v] = true
		}
		if _, _, ok := help(t, service.HealthCheck.Test[2]); !ok {
			t.Errorf("%s: the health check runs %q", name, service.HealthCheck.Test[2])
		}
	}
	scraped, err := os.ReadFile("prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	for name, service := range ours(project) {
		for variable := range service.Environment {
			if !known[variable] {
				t.Errorf("%s: no command of ours knows %s", name, variable)
			}
		}
		admin := *service.Environment["LEDGERLINE_ADMIN_LISTEN"]
		if !strings.Contains(string(scraped), fmt.Sprintf(`"%s%s"`, name, admin)) || admin != ":"+strconv.Itoa(adminPort[name]) {
			t.Errorf("Prometheus does not scrape %s%s", name, admin)
		}
		if !slices.ContainsFunc(service.Ports, func(p types.ServicePortConfig) bool { return ":"+strconv.Itoa(int(p.Target)) == admin }) {
			t.Errorf("%s does not publish its admin listener", name)
		}
	}
}

// The broker's settings are held against a real broker: a name that it does not know would be ignored there in silence.
func TestCompose_KafkaSettings_AreKnownToKafka(t *testing.T) {
	admin := kadm.NewClient(kit.Kafka(t).Client(t))
	described, err := admin.DescribeBrokerConfigs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, broker := range described {
		for _, c := range broker.Configs {
			known[c.Key] = true
		}
	}
	checked := 0
	for variable := range stack(t).Services["kafka"].Environment {
		name, ok := strings.CutPrefix(variable, "KAFKA_")
		if !ok {
			continue
		}
		checked++
		if key := strings.ToLower(strings.ReplaceAll(name, "_", ".")); !known[key] {
			t.Errorf("%s is %s, which the broker does not know", variable, key)
		}
	}
	if checked < 10 {
		t.Errorf("only %d settings", checked)
	}
}

// The script that Postgres runs at its first start, on a real one: Grafana's user can read, and not write.
func TestCompose_PostgresInit_MakesAReader(t *testing.T) {
	psql, err := deps.Debian(t.Context(), "psql", "postgresql-client")
	if err != nil {
		t.Fatal(err)
	}
	address := kit.Postgres(t).URL()
	config, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "postgres/init.sh")
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(psql)+":"+os.Getenv("PATH"), "PGHOST="+config.Host, "PGPORT="+strconv.Itoa(int(config.Port)),
		"POSTGRES_USER="+config.User, "POSTGRES_DB="+config.Database, "POSTGRES_GRAFANA_PASSWORD=it's")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	owner, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(t.Context())
	if _, err := owner.Exec(t.Context(), "CREATE SCHEMA bank CREATE TABLE later (n int)"); err != nil { // made after the script, as projections are
		t.Fatal(err)
	}
	config.User, config.Password = "grafana", "it's"
	grafana, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer grafana.Close(t.Context())
	if _, err := grafana.Exec(t.Context(), "SELECT * FROM bank.later"); err != nil {
		t.Errorf("it cannot read: %v", err)
	}
	if _, err := grafana.Exec(t.Context(), "SET default_transaction_read_only = off; INSERT INTO bank.later VALUES (1)"); err == nil {
		t.Error("it can write")
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-n", "clickhouse/init.sh").CombinedOutput(); err != nil {
		t.Errorf("clickhouse/init.sh: %v\n%s", err, out)
	}
}

// Dashboards name datasources that are provisioned, and lie where the provider looks for them.
func TestGrafana_ProvisioningFitsDashboardsAndCompose(t *testing.T) {
	type provisioned struct {
		Datasources []struct{ UID, Type, URL string }
		Providers   []struct{ Options struct{ Path string } }
	}
	uids := map[string]string{}
	for _, d := range readYAML[provisioned](t, "grafana/provisioning/datasources/ledgerline.yml").Datasources {
		uids[d.UID] = d.Type
	}
	paths, err := filepath.Glob("grafana/dashboards/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		d := readDashboard(t, path)
		if d.UID == "" || d.Title == "" {
			t.Errorf("%s: uid %q, title %q", path, d.UID, d.Title)
		}
		for _, p := range d.Panels {
			if p.Type != "row" && (uids[p.Datasource.UID] == "" || uids[p.Datasource.UID] != p.Datasource.Type) {
				t.Errorf("%s: panel %q asks datasource %q of type %q; there are %v", path, p.Title, p.Datasource.UID, p.Datasource.Type, uids)
			}
		}
	}
	volumes := stack(t).Services["grafana"].Volumes
	for _, p := range readYAML[provisioned](t, "grafana/provisioning/dashboards/ledgerline.yml").Providers {
		if !slices.ContainsFunc(volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Target == p.Options.Path && strings.HasSuffix(v.Source, "grafana/dashboards")
		}) {
			t.Errorf("dashboards are not mounted at %s", p.Options.Path)
		}
	}
}
