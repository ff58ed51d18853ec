package ledgerline

import (
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// stallTimeout is how long a look into the log may stand still.
const stallTimeout = 30 * time.Second

// look is what a command looks into the logs with.
type look struct {
	*App
	codes  *schemas.Registry
	admin  *kadm.Client
	prefix string // of topics
	reader logread.Reader
}

// look connects; the caller closes it.
func (a *App) look() (*look, error) {
	codes, err := a.registry()
	if err != nil {
		return nil, err
	}
	adm, err := a.kafkaAdmin()
	if err != nil {
		return nil, err
	}
	return &look{App: a, codes: codes, admin: adm, prefix: a.values.String("topic-prefix"), reader: a.reader()}, nil
}

func (a *App) reader() logread.Reader {
	return logread.Reader{Client: a.kafkaOptions(), StallTimeout: stallTimeout}
}

func (log *look) Close() { log.admin.Close() }

func (log *look) viewer(def producer.Definition) *producer.Viewer {
	return producer.NewViewer(log.codes, log.prefix, def)
}

func (log *look) topics(kind string) schemas.Topics { return schemas.TopicsOf(log.prefix, kind) }
