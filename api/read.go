package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Read is what every read of a projection takes, to embed in an operation's input.
type Read struct {
	Position   string `query:"position" maxLength:"4096" doc:"The Ledgerline-Position of an earlier answer: wait until the rows are at least of then." example:"account/3:1502"`
	MinVersion int64  `query:"min_version" minimum:"0" doc:"Wait until the aggregate is at this version or a later one."`
	Wait       string `query:"wait" doc:"How long to wait, such as 2s; then 503, code behind. Default 1s." example:"2s"`
}

// Projection is one of the domain's projections in Postgres, as readers see it.
type Projection struct {
	api   *API
	name  string
	kind  string
	topic string
}

// Projection finds one of Config.Projections.
func (a *API) Projection(name string) (*Projection, error) {
	for _, p := range a.cfg.Projections {
		if p.ProjectionName() != name {
			continue
		}
		if p.StoreName() != postgres.StoreName {
			return nil, fmt.Errorf("projection %s is in %s: the API reads rows of projections in Postgres", name, p.StoreName())
		}
		plan, err := p.Plan(a.cfg.Client.TopicPrefix)
		if err != nil {
			return nil, err
		}
		kind := strings.TrimSuffix(strings.TrimPrefix(plan.Topic, a.cfg.Client.TopicPrefix), schemas.TopicsOf("", "").Events)
		a.stands.add(name, plan.Topic)
		return &Projection{api: a, name: name, kind: kind, topic: plan.Topic}, nil
	}
	return nil, fmt.Errorf("the domain has no projection %s", name)
}

// budget is how long a read may wait, and what for.
type budget struct {
	want  Position
	wait  time.Duration
	until time.Time
}

func (p *Projection) budget(in Read) (budget, error) {
	wait, err := p.api.waitOf(in.Wait, p.api.cfg.ReadWait)
	if err != nil {
		return budget{}, err
	}
	want, err := schemas.ParsePosition(in.Position)
	if err != nil {
		return budget{}, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "%v", err)
	}
	return budget{want: want, wait: wait, until: time.Now().Add(wait)}, nil
}

// Await waits until the rows of an aggregate are at least those of the position asked for. Its error is the answer.
func (p *Projection) Await(ctx context.Context, id string, in Read) error {
	b, err := p.budget(in)
	if err != nil {
		return err
	}
	return p.await(ctx, p.wanted(id, b.want), b)
}

func (p *Projection) await(ctx context.Context, want Position, b budget) error {
	if len(want) == 0 {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, b.until)
	defer cancel()
	if err := p.api.stands.wait(ctx, p.name, want); errors.Is(err, context.Canceled) {
		return gone(ctx)
	} else if err != nil {
		return p.behind(b, fmt.Sprintf("position %s", want))
	}
	return nil
}

// wanted is what a position asks of the rows of an aggregate: its own partition, or, as long as that is not known, all of
// the kind.
func (p *Projection) wanted(id string, all Position) Position {
	if len(all) == 0 {
		return nil
	}
	partition, known := p.api.followers[p.kind].partition(id)
	var want Position
	for _, place := range all {
		if place.Log == schemas.LogOf(p.topic) && (!known || place.Partition == partition) {
			want = append(want, place)
		}
	}
	return want
}

// behind is the answer of a read that gave up.
func (p *Projection) behind(b budget, what string) *Problem {
	p.api.metrics.behind.Inc()
	if err := p.api.stands.ready(); err != nil {
		return storeUnavailable(err)
	}
	return unavailable(CodeBehind, "projection %s stands at %s and did not come to %s within %v: ask again, or with a longer wait",
		p.name, p.api.stands.at(p.name), what, b.wait)
}

// Row reads rows: a pgx.RowToFunc such as pgx.RowToStructByName[T].
type Row[T any] = pgx.RowToFunc[T]

// Select reads rows of an aggregate, and how far in its partition they reach, both in one snapshot. The answer's position
// is set to it. Its error is the answer.
func Select[T any](ctx context.Context, p *Projection, id, sql string, row Row[T], args ...any) ([]T, error) {
	rows, place, err := selectRows(ctx, p, id, sql, row, args...)
	if err != nil {
		return nil, err
	}
	exchangeOf(ctx).position = alone(place)
	return rows, nil
}

// SelectUntil is Select, asked again whenever the projection has come further in the aggregate's partition, until the rows are what is waited
// for or the request's wait is over: then they are those of that moment. First it waits for the request's position.
func SelectUntil[T any](ctx context.Context, p *Projection, id string, in Read, done func([]T) bool, sql string, row Row[T], args ...any) ([]T, error) {
	b, err := p.budget(in)
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, p.wanted(id, b.want), b); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithDeadline(ctx, b.until)
	defer cancel()
	for {
		rows, place, err := selectRows(ctx, p, id, sql, row, args...)
		if err != nil {
			return nil, err
		}
		exchangeOf(ctx).position = alone(place)
		if done(rows) {
			return rows, nil
		}
		switch err := p.api.stands.moved(waiting, p.name, place); {
		case errors.Is(err, context.Canceled):
			return nil, gone(ctx)
		case err != nil: // it is over
			return rows, nil
		}
	}
}

const placeQuery = `SELECT o.next_offset FROM ledgerline.offsets AS o JOIN ledgerline.generations AS g USING (projection, generation)
	WHERE g.state = 'serving' AND o.projection = $1 AND o.topic = $2 AND o.partition = $3`

func selectRows[T any](ctx context.Context, p *Projection, id, sql string, row Row[T], args ...any) ([]T, Place, error) {
	place := Place{Log: schemas.LogOf(p.topic)}
	var known bool
	if place.Partition, known = p.api.followers[p.kind].partition(id); !known {
		place.Partition = unknownPartition
	}
	var rows []T
	// One round trip: what is sent as one batch is answered as one.
	batch := &pgx.Batch{}
	batch.Queue("BEGIN READ ONLY, ISOLATION LEVEL REPEATABLE READ")
	batch.Queue(placeQuery, p.name, p.topic, place.Partition).Query(func(r pgx.Rows) error {
		for r.Next() {
			if err := r.Scan(&place.Next); err != nil {
				return err
			}
		}
		return r.Err()
	})
	batch.Queue(sql, args...).Query(func(r pgx.Rows) (err error) {
		rows, err = pgx.CollectRows(r, row)
		return err
	})
	batch.Queue("COMMIT")
	err := p.api.cfg.Postgres.SendBatch(ctx, batch).Close()
	switch {
	case err == nil:
		return rows, place, nil
	case noTable(err):
		return nil, place, unavailable(CodeProjection, "no projector has made the table of projection %s yet: is one running?", p.name).RetryAfter(mostRetry)
	case ctx.Err() != nil:
		return nil, place, gone(ctx)
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) && !passing(answer.Code) {
		return nil, place, fmt.Errorf("read projection %s: %w", p.name, err)
	}
	return nil, place, storeUnavailable(fmt.Errorf("read projection %s: %w", p.name, err))
}

func storeUnavailable(why error) *Problem {
	return unavailable(CodeStoreUnavailable, "the database does not answer: ask again").Because(why)
}

// noTable says that a schema or a table is not there.
func noTable(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && (answer.Code == "42P01" || answer.Code == "3F000")
}

// passing are the classes of errors that go away: connection, rollback, resources, intervention, system.
func passing(code string) bool {
	switch code[:2] {
	case "08", "40", "53", "55", "57", "58":
		return true
	}
	return false
}
