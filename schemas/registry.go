package schemas

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
)

// Registry is the schema registry as the platform uses it: subjects by TopicRecordNameStrategy, a compatibility level
// for each subject, and errors that say whether trying again can help. Confluent's, Redpanda's, Karapace's and Apicurio's
// (at /apis/ccompat/v7) speak the protocol. Safe for concurrent use.
type Registry struct{ cl *sr.Client }

// NewRegistry wraps a client; it does no I/O.
func NewRegistry(cl *sr.Client) *Registry { return &Registry{cl: cl} }

// Client is the client underneath.
func (r *Registry) Client() *sr.Client { return r.cl }

// Subject is the subject of a record type on a topic: TopicRecordNameStrategy.
func Subject(topic, fullName string) string { return topic + "-" + fullName }

// maxReferences bounds how many schemas one schema may lean on, itself counted.
const maxReferences = 64

// schemaByID gives the text of a schema, with what it refers to written into it. ErrUnknownSchema is final for now,
// ErrRegistryUnavailable is not.
func (r *Registry) schemaByID(ctx context.Context, id int) (string, error) {
	s, err := r.cl.SchemaByID(ctx, id)
	if err != nil {
		return "", fmt.Errorf("schema id %d: %w", id, registryError(err, ErrUnknownSchema))
	}
	if s.Type != sr.TypeAvro {
		return "", fmt.Errorf("schema id %d is of type %s, not Avro: %w", id, s.Type, ErrUnknownType)
	}
	if len(s.References) == 0 {
		return s.Schema, nil
	}
	text, err := r.inline(ctx, s)
	if err != nil {
		return "", fmt.Errorf("schema id %d: %w", id, err)
	}
	return text, nil
}

// inline writes the schemas that s refers to into its text.
func (r *Registry) inline(ctx context.Context, s sr.Schema) (string, error) {
	var cache avro.SchemaCache
	seen := map[sr.SchemaReference]bool{}
	var load func(s sr.Schema) (*avro.Schema, error)
	load = func(s sr.Schema) (*avro.Schema, error) {
		for _, ref := range s.References {
			if seen[ref] {
				continue
			}
			seen[ref] = true
			if len(seen) >= maxReferences {
				return nil, fmt.Errorf("refers to %d other schemas and more: at most %d: %w", len(seen), maxReferences-1, ErrTooLarge)
			}
			of, err := r.cl.SchemaByVersion(ctx, ref.Subject, ref.Version)
			if err != nil {
				return nil, fmt.Errorf("reference %s to subject %s version %d: %w", ref.Name, ref.Subject, ref.Version, registryError(err, ErrUnknownSchema))
			}
			if _, err := load(of.Schema); err != nil {
				return nil, err
			}
		}
		parsed, err := cache.Parse(s.Schema)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return parsed, nil
	}
	parsed, err := load(s)
	if err != nil {
		return "", err
	}
	whole, err := parsed.Root().ExpandReferences().Schema()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return whole.String(), nil
}

// register makes sure that the subject holds the schema under the level, and gives the schema's id.
func (r *Registry) register(ctx context.Context, subject, schema string, level Compatibility) (int, error) {
	s := sr.Schema{Schema: schema}
	// First the level, then the schema: between the two another process could register what the level forbids.
	if err := r.setLevel(ctx, subject, level); err != nil {
		return 0, err
	}
	if known, err := r.cl.LookupSchema(ctx, subject, s); err == nil {
		return known.ID, nil
	} else if !isNotFound(err) {
		return 0, fmt.Errorf("look up subject %s: %w", subject, registryError(err, nil))
	}
	if err := r.checkEarlier(ctx, subject, schema, level); err != nil {
		return 0, err
	}
	id, err := r.cl.RegisterSchema(ctx, subject, s, -1, -1)
	if err != nil {
		return 0, registerError(subject, level, err)
	}
	// Some registries take a level only for a subject that exists: then it was not set above.
	return id, r.setLevel(ctx, subject, level)
}

// setLevel makes level the subject's own. Where the subject does not exist yet and the registry refuses a level for it,
// it does nothing.
func (r *Registry) setLevel(ctx context.Context, subject string, level Compatibility) error {
	have := r.cl.Compatibility(ctx, subject)[0]
	if have.Err == nil && have.Level == level.level() {
		return nil
	}
	if have.Err != nil && !isNotFound(have.Err) {
		return fmt.Errorf("read compatibility level of subject %s: %w", subject, registryError(have.Err, nil))
	}
	set := r.cl.SetCompatibility(ctx, sr.SetCompatibility{Level: level.level()}, subject)[0]
	if isNotFound(set.Err) {
		return nil
	}
	have = r.cl.Compatibility(ctx, subject)[0]
	if have.Err == nil && have.Level == level.level() {
		return nil // Apicurio refuses what another process has set at the same moment
	}
	if set.Err != nil {
		return fmt.Errorf("set compatibility level of subject %s to %s: %w", subject, level, registryError(set.Err, nil))
	}
	if have.Err != nil {
		return fmt.Errorf("read compatibility level of subject %s: %w", subject, registryError(have.Err, nil))
	}
	return fmt.Errorf("subject %s has compatibility level %s and keeps it, %s is needed: set it in the registry, or let this client set it", subject, have.Level, level)
}

// checkEarlier holds a new schema against all that the subject has, by rules that registries lack.
func (r *Registry) checkEarlier(ctx context.Context, subject, schema string, level Compatibility) error {
	versions, err := r.cl.SubjectVersions(ctx, subject)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list versions of subject %s: %w", subject, registryError(err, nil))
	}
	slices.Sort(versions)
	earlier := make([]string, len(versions))
	for i, v := range versions {
		s, err := r.cl.SchemaByVersion(ctx, subject, v)
		if err != nil {
			return fmt.Errorf("read subject %s version %d: %w", subject, v, registryError(err, nil))
		}
		if earlier[i] = s.Schema.Schema; len(s.References) > 0 {
			if earlier[i], err = r.inline(ctx, s.Schema); err != nil {
				return fmt.Errorf("read subject %s version %d: %w", subject, v, err)
			}
		}
	}
	if err := CheckCompatible(level, schema, earlier); err != nil {
		return fmt.Errorf("register subject %s: %w: keep the old fields, give new ones defaults, or make it a new record type", subject, err)
	}
	return nil
}

// registerError says why a registry took no schema, and what to do.
func registerError(subject string, level Compatibility, err error) error {
	if re, ok := errors.AsType[*sr.ResponseError](err); ok {
		switch re.StatusCode {
		case http.StatusConflict:
			return fmt.Errorf("register subject %s: %w: the registry holds it against %s: %s: keep the old fields, give new ones defaults, or make it a new record type", subject, ErrIncompatible, level, re.Error())
		case http.StatusUnprocessableEntity:
			return fmt.Errorf("register subject %s: the registry takes it for no valid schema: %s", subject, re.Error())
		}
	}
	return fmt.Errorf("register subject %s: %w", subject, registryError(err, nil))
}

// registryError sorts what went wrong: notFound when the registry itself says that what was asked for is not there, else
// ErrRegistryUnavailable. A 404 without the registry's own code comes from something else at that address.
func registryError(err, notFound error) error {
	if notFound != nil && isNotFound(err) {
		return fmt.Errorf("%w: %w", notFound, err)
	}
	if re, ok := errors.AsType[*sr.ResponseError](err); ok {
		hint := ""
		switch re.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			hint = ": check the registry's credentials"
		case http.StatusNotFound:
			hint = ": check the registry's URL, Apicurio's ends in /apis/ccompat/v7"
		}
		return fmt.Errorf("%w: %s %s: status %d: %w%s", ErrRegistryUnavailable, re.Method, re.URL, re.StatusCode, err, hint)
	}
	return fmt.Errorf("%w: %w", ErrRegistryUnavailable, err)
}

// isNotFound reports whether the registry itself says that a subject, version or schema is not there.
func isNotFound(err error) bool {
	re, ok := errors.AsType[*sr.ResponseError](err)
	return ok && re.StatusCode == http.StatusNotFound && sr.IsNotFoundError(re.ErrorCode)
}
