package producer_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The code that the page on sagas shows is the bank's.
func TestSagasPage_ShowsCodeThatThereIs(t *testing.T) {
	page, err := os.ReadFile("SAGAS.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go ([^\n]+)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 5 {
		t.Errorf("it shows %d pieces of code", len(blocks))
	}
	for _, b := range blocks {
		source, err := os.ReadFile(filepath.Join("..", b[1]))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(source), b[2]) {
			t.Errorf("%s does not have\n%s", b[1], b[2])
		}
	}
}
