package rights

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// describeGroups is that request's key. From version 6 on a group that does not exist yet has no answer.
const describeGroups = 15

// Missing asks the brokers which of some rights the login of a client's options has not. It needs no rights itself. What the
// brokers can't tell is not counted as missing: rights in topics that do not exist, and those to names that begin somehow.
func Missing(ctx context.Context, options []kgo.Opt, wanted []Right) ([]Right, error) {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(describeGroups, 5)
	cl, err := kgo.NewClient(slices.Concat(options, []kgo.Opt{kgo.MaxVersions(versions)})...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	has := map[kmsg.ACLResourceType]func(context.Context, *kgo.Client, []string) (map[string]int32, error){
		kmsg.ACLResourceTypeTopic:           topics,
		kmsg.ACLResourceTypeGroup:           groups,
		kmsg.ACLResourceTypeTransactionalId: transactions,
	}
	var missing []Right
	for resource, ask := range has {
		var names []string
		for _, r := range wanted {
			if r.Resource == resource && !slices.Contains(names, r.Name) && (!r.Prefixed || resource == kmsg.ACLResourceTypeTransactionalId) {
				names = append(names, r.Name)
			}
		}
		if len(names) == 0 {
			continue
		}
		allowed, err := ask(ctx, cl, names)
		if err != nil {
			return nil, fmt.Errorf("ask which rights there are in %ss: %w", ResourceName(resource), err)
		}
		for _, r := range wanted {
			if bits, known := allowed[r.Name]; known && r.Resource == resource && bits != math.MinInt32 && bits&(1<<r.Operation) == 0 {
				missing = append(missing, r)
			}
		}
	}
	slices.SortFunc(missing, compare)
	return missing, nil
}

// describing are the operations that include Describe, which is what a refusal says is missing. It says nothing of others.
const describing = int32(1<<kmsg.ACLOperationRead | 1<<kmsg.ACLOperationWrite | 1<<kmsg.ACLOperationDescribe)

// topics asks what may be done with topics: a bit for each operation.
func topics(ctx context.Context, cl *kgo.Client, names []string) (map[string]int32, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	allowed := map[string]int32{}
	for _, t := range resp.Topics {
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case t.Topic == nil:
		case err == nil:
			allowed[*t.Topic] = t.AuthorizedOperations
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			allowed[*t.Topic] = ^describing
		}
	}
	return allowed, nil
}

func groups(ctx context.Context, cl *kgo.Client, names []string) (map[string]int32, error) {
	allowed := map[string]int32{}
	for _, name := range names { // each may have another coordinator
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.IncludeAuthorizedOperations, req.Groups = true, []string{name}
		resp, err := req.RequestWith(ctx, cl)
		var failed error
		if err == nil && len(resp.Groups) == 1 {
			failed, allowed[name] = kerr.ErrorForCode(resp.Groups[0].ErrorCode), resp.Groups[0].AuthorizedOperations
		}
		switch {
		case errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(failed, kerr.GroupAuthorizationFailed):
			allowed[name] = 0
		case err != nil:
			return nil, err
		case failed != nil:
			delete(allowed, name) // that tells nothing
		}
	}
	return allowed, nil
}

// transactions finds out whether an id may be described: whoever may write may do that too.
func transactions(ctx context.Context, cl *kgo.Client, names []string) (map[string]int32, error) {
	allowed := map[string]int32{}
	for _, name := range names {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = 1, name, []string{name}
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return nil, err
		}
		code := resp.ErrorCode
		if len(resp.Coordinators) == 1 {
			code = resp.Coordinators[0].ErrorCode
		}
		allowed[name] = math.MinInt32
		if errors.Is(kerr.ErrorForCode(code), kerr.TransactionalIDAuthorizationFailed) {
			allowed[name] = 0
		}
	}
	return allowed, nil
}

// Refused reports whether an error says that a login lacks a right.
func Refused(err error) bool {
	return slices.ContainsFunc([]error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.ClusterAuthorizationFailed,
	}, func(refusal error) bool { return errors.Is(err, refusal) })
}
