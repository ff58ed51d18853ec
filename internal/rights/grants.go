package rights

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// anyHost allows from wherever the principal connects.
const anyHost = "*"

// Grant is an entry of a cluster's access control lists.
type Grant struct {
	Right
	Principal string // such as User:producer
	Host      string // from where
	Deny      bool
}

// Wanted is what gives a principal a right.
func Wanted(principal string, r Right) Grant {
	return Grant{Right: r, Principal: principal, Host: anyHost}
}

// Compare puts grants in the order of a listing.
func Compare(a, b Grant) int {
	if a.Principal != b.Principal {
		return slices.Compare([]string{a.Principal}, []string{b.Principal})
	}
	return compare(a.Right, b.Right)
}

func (g Grant) permission() kmsg.ACLPermissionType {
	if g.Deny {
		return kmsg.ACLPermissionTypeDeny
	}
	return kmsg.ACLPermissionTypeAllow
}

func (r Right) pattern() kmsg.ACLResourcePatternType {
	if r.Prefixed {
		return kmsg.ACLResourcePatternTypePrefixed
	}
	return kmsg.ACLResourcePatternTypeLiteral
}

// Read gives all entries of a principal, whatever they are about.
func Read(ctx context.Context, cl *kgo.Client, principal string) ([]Grant, error) {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	req.Principal = &principal
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = said(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, fmt.Errorf("read the access control list of %s: %w", principal, err)
	}
	var all []Grant
	for _, r := range resp.Resources {
		for _, entry := range r.ACLs {
			all = append(all, Grant{
				Right:     Right{r.ResourceType, r.ResourceName, r.ResourcePatternType == kmsg.ACLResourcePatternTypePrefixed, entry.Operation},
				Principal: entry.Principal, Host: entry.Host, Deny: entry.PermissionType == kmsg.ACLPermissionTypeDeny,
			})
		}
	}
	slices.SortFunc(all, Compare)
	return all, nil
}

// Add adds entries. One that is there already stays.
func Add(ctx context.Context, cl *kgo.Client, grants []Grant) error {
	if len(grants) == 0 {
		return nil
	}
	req := kmsg.NewPtrCreateACLsRequest()
	for _, g := range grants {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = g.Resource, g.Name, g.pattern()
		c.Principal, c.Host, c.Operation, c.PermissionType = g.Principal, g.Host, g.Operation, g.permission()
		req.Creations = append(req.Creations, c)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("give rights: %w", err)
	}
	var errs []error
	for i, r := range resp.Results {
		if err := said(r.ErrorCode, r.ErrorMessage); err != nil && i < len(grants) {
			errs = append(errs, fmt.Errorf("give %s %s: %w", grants[i].Principal, grants[i].Right, err))
		}
	}
	return errors.Join(errs...)
}

// Remove removes entries.
func Remove(ctx context.Context, cl *kgo.Client, grants []Grant) error {
	if len(grants) == 0 {
		return nil
	}
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, g := range grants {
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourceName, f.ResourcePatternType = g.Resource, &g.Name, g.pattern()
		f.Principal, f.Host, f.Operation, f.PermissionType = &g.Principal, &g.Host, g.Operation, g.permission()
		req.Filters = append(req.Filters, f)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("take rights away: %w", err)
	}
	var errs []error
	for i, r := range resp.Results {
		if err := said(r.ErrorCode, r.ErrorMessage); err != nil && i < len(grants) {
			errs = append(errs, fmt.Errorf("take from %s %s: %w", grants[i].Principal, grants[i].Right, err))
		}
	}
	return errors.Join(errs...)
}

// said is the error that a broker answered with, in its own words.
func said(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || message == nil || *message == "" {
		return err
	}
	return fmt.Errorf("%w %s", err, *message)
}
