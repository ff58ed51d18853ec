package deps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// mavenPlugin is pinned to 2.10 on purpose: later ones read the parents of an artifact's POM even to copy that artifact
// alone, and fail where a parent (Apicurio's) is not in the registry.
const mavenPlugin = "org.apache.maven.plugins:maven-dependency-plugin:2.10"

// howToGet is the remedy for a missing tool.
var howToGet = map[string]string{
	"mvn":   "apt-get install maven",
	"java":  "apt-get install openjdk-17-jre-headless",
	"javac": "apt-get install openjdk-17-jdk-headless",
	"npm":   "apt-get install npm",
}

// tools checks that what download needs is installed.
func (f fetcher) tools(c component) error {
	if _, err := exec.LookPath(c.tool()); err != nil {
		return fmt.Errorf("%s is not installed: %s (Debian, Ubuntu), or set %s to a folder that holds %s",
			c.tool(), howToGet[c.tool()], Override(c.name), contents[c.name])
	}
	if c.tool() == "mvn" {
		_, err := Java()
		return err
	}
	return nil
}

// Java is the program that runs Kafka and Apicurio: $JAVA_HOME's, else the first in the path.
func Java() (string, error) { return ofJava("java") }

// Javac is the compiler beside it.
func Javac() (string, error) { return ofJava("javac") }

func ofJava(name string) (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		path := filepath.Join(home, "bin", name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: %s (Debian, Ubuntu), or set JAVA_HOME to a Java 17 or later", name, howToGet[name])
	}
	return path, nil
}

// download lets the component's tool put its files into the folder loaded. work is a scratch folder. With clean, the
// tool's own cache is passed over.
func (f fetcher) download(ctx context.Context, c component, work, loaded string, clean bool) error {
	switch c.source {
	case npmFile:
		args := []string{"pack", "--silent", "--ignore-scripts", "--pack-destination", loaded, c.coordinate}
		if clean {
			args = append(args, "--cache", filepath.Join(work, "npm"))
		}
		return run(ctx, work, "npm", args...)
	case mavenTree:
		if err := os.WriteFile(filepath.Join(work, "pom.xml"), []byte(treePOM(c.coordinate)), 0o600); err != nil {
			return err
		}
		return f.maven(ctx, work, clean, "copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+loaded)
	case mavenFile:
		return f.maven(ctx, work, clean, "copy", "-Dartifact="+c.coordinate, "-DoutputDirectory="+loaded)
	}
	return fmt.Errorf("unknown source %q", c.source)
}

func (f fetcher) maven(ctx context.Context, work string, clean bool, goal string, args ...string) error {
	// Maven's local repository is not made for several Mavens at once.
	unlock, err := f.lock(ctx, "mvn.lock", "mvn")
	if err != nil {
		return err
	}
	defer unlock()
	args = append([]string{"--batch-mode", "--quiet", "-Dstyle.color=never", mavenPlugin + ":" + goal}, args...)
	if clean {
		args = append(args, "-Dmaven.repo.local="+filepath.Join(work, "m2"))
	}
	return run(ctx, work, "mvn", args...)
}

func treePOM(coordinates string) string {
	var b strings.Builder
	b.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>ledgerline</groupId><artifactId>deps</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
`)
	for coordinate := range strings.SplitSeq(coordinates, "+") {
		p := strings.Split(coordinate, ":")
		fmt.Fprintf(&b, "    <dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n", p[0], p[1], p[2])
	}
	b.WriteString("  </dependencies>\n</project>\n")
	return b.String()
}

// toolPatience is how long a cancelled tool may take to clean up before it is killed.
const toolPatience = 10 * time.Second

func run(ctx context.Context, dir, tool string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = toolPatience
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", tool, errors.Join(err, ctx.Err()), lastLines(out.String(), 12))
	}
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// lock takes a lock that holds between processes and ends with its holder, however that ends.
func (f fetcher) lock(ctx context.Context, name, what string) (unlock func(), err error) {
	file, err := process.LockFile(ctx, filepath.Join(f.root, name), func() {
		fmt.Fprintf(f.progress, "deps: %s: waiting for another process that is at it\n", what)
	})
	if err != nil {
		return nil, err
	}
	return func() { file.Close() }, nil
}
