package producer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
)

// Each setting that a promise rests on is changed on Apache Kafka, by hand as an operator would: what breaks one is refused, what is only
// dangerous is a warning, and either names topic, setting, value and the command that mends it.
func TestTopics_EachSettingThatMatters_IsTold(t *testing.T) {
	s := realSystem(t)
	adm := kadm.NewClient(s.kafka())
	specs := producer.Topics(s.config(), "account")
	if lesser, err := producer.EnsureTopics(t.Context(), adm, specs); err != nil || len(lesser) != 0 {
		t.Fatalf("topics as they are made: %v, %v", lesser, err)
	}
	for _, c := range []struct {
		topic, key, value, want string
		level                   producer.Level
	}{
		{s.topics.Commands, "cleanup.policy", "compact", "wanted delete", producer.Refusal},
		{s.topics.Commands, "retention.ms", "60000", "wanted -1", producer.Refusal},
		{s.topics.Commands, "retention.bytes", "60000", "wanted -1", producer.Refusal},
		{s.topics.Internal, "message.timestamp.type", "CreateTime", "wanted LogAppendTime", producer.Refusal},
		{s.topics.Events, "cleanup.policy", "delete", "wanted compact", producer.Refusal},
		{s.topics.Events, "cleanup.policy", "compact,delete", "wanted compact", producer.Refusal},
		{s.topics.Events, "unclean.leader.election.enable", "true", "wanted false", producer.Refusal},
		{s.topics.Events, "min.insync.replicas", "2", "and 1 replicas: no write can succeed", producer.Refusal},
		{s.topics.Events, "max.message.bytes", "500000", "wanted at least 1000012", producer.Refusal},
		{s.topics.Snapshots, "cleanup.policy", "delete", "wanted compact", producer.Refusal},
		{s.topics.Replies, "message.timestamp.type", "CreateTime", "wanted LogAppendTime", producer.Refusal},
		{s.topics.Replies, "retention.ms", "1000", "wanted at least 3600000", producer.Refusal},
		{s.topics.Replies, "retention.bytes", "1000", "wanted -1", producer.Warning},
		{s.topics.DeadLetters, "max.message.bytes", "1048588", "wanted at least 2097152", producer.Refusal},
		{s.prefix + "ledgerline.pins", "cleanup.policy", "delete", "wanted compact", producer.Refusal},
	} {
		change := func(op kadm.IncrementalOp, value *string) {
			t.Helper()
			if _, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: op, Name: c.key, Value: value}}, c.topic); err != nil {
				t.Fatal(err)
			}
		}
		before := ""
		for _, spec := range specs {
			if spec.Name == c.topic {
				before = spec.Configs[c.key]
			}
		}
		change(kadm.SetConfig, &c.value)
		kit.Await(t, patience, func() error { // the broker is told of it a moment later
			lesser, refused := producer.EnsureTopics(t.Context(), adm, specs)
			var said string
			if c.level == producer.Refusal && errors.Is(refused, producer.ErrTopic) {
				said = refused.Error()
			}
			for _, p := range lesser {
				if p.Level == c.level {
					said = p.Err().Error()
				}
			}
			for _, part := range []string{c.topic, c.key + "=" + c.value, c.want, "kafka-configs.sh --alter --entity-type topics --entity-name " + c.topic + " --add-config " + c.key + "="} {
				if !strings.Contains(said, part) {
					return errors.New(c.key + "=" + c.value + ": it does not say " + part + ", but: " + said)
				}
			}
			return nil
		})
		if before == "" {
			change(kadm.DeleteConfig, nil)
		} else {
			change(kadm.SetConfig, &before)
		}
	}
	kit.Await(t, patience, func() error {
		_, err := producer.EnsureTopics(t.Context(), adm, specs)
		return err
	})
	more := s.config()
	more.Replication, more.MinInsync = 3, 2
	lesser, err := producer.EnsureTopics(t.Context(), adm, producer.Topics(more, "account"))
	if err != nil || len(lesser) != len(specs) || lesser[0].Level != producer.Warning || !strings.Contains(lesser[0].Err().Error(), "has 1 replicas, wanted 3") {
		t.Errorf("one copy where three are wanted: %v, %v", lesser, err)
	}
}

// Brokers that end transactions sooner than producers ask for are refused at the start, with or without the right to be told of it.
func TestBrokers_ThatRefuseTransactions_AreRefused(t *testing.T) {
	for name, told := range map[string]bool{"who may look": true, "who may not": false} {
		cluster := kit.FakeKafka(t, kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "2000000000", "transaction.max.timeout.ms": "3000"}))
		if !told {
			cluster.ControlKey(kmsg.NewPtrDescribeConfigsRequest().Key(), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				describe := req.(*kmsg.DescribeConfigsRequest)
				if describe.Resources[0].ResourceType != kmsg.ConfigResourceTypeBroker {
					return nil, nil, false
				}
				resp := describe.ResponseKind().(*kmsg.DescribeConfigsResponse)
				resource := kmsg.NewDescribeConfigsResponseResource()
				resource.ErrorCode, resource.ResourceType, resource.ResourceName = kerr.ClusterAuthorizationFailed.Code, kmsg.ConfigResourceTypeBroker, describe.Resources[0].ResourceName
				resp.Resources = append(resp.Resources, resource)
				return resp, nil, true
			})
		}
		s := systemOn(t, cluster.Brokers(), kit.FakeRegistry(t), "")
		launched := s.launch()
		if !told { // then it is refused with the first transaction
			s.awaitTopics()
			if err := s.kafka().ProduceSync(t.Context(), &kgo.Record{Topic: s.topics.Commands, Key: []byte("acc-1"), Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-launched.done:
			if !errors.Is(err, producer.ErrBroker) || !strings.Contains(err.Error(), "set transaction.max.timeout.ms=5000 in its properties") {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(patience):
			t.Errorf("%s: it goes on", name)
		}
	}
}

// What the brokers of a stock Apache Kafka are told to change is advice alone; a promise is told as what it is.
func TestBrokers_AsKafkaShipsThem(t *testing.T) {
	s := realSystem(t)
	adm := kadm.NewClient(s.kafka())
	found, err := producer.InspectBrokers(t.Context(), adm, s.config())
	if err != nil || len(found) != 1 || found[0].Level != producer.Advice || !strings.Contains(found[0].Err().Error(), "set add.partitions.to.txn.retry.backoff.ms=1") {
		t.Errorf("stock brokers: %v, %v", found, err)
	}
	long := s.config()
	long.TransactionTimeout = time.Hour
	found, err = producer.InspectBrokers(t.Context(), adm, long)
	if err != nil || len(found) != 2 || found[0].Level != producer.Refusal || !strings.Contains(found[0].Err().Error(), "transaction.max.timeout.ms=900000, wanted at least 3600000") {
		t.Errorf("transactions of an hour: %v, %v", found, err)
	}
}

// In a cluster the broker that is asked may not have heard yet of a topic that was made a moment ago: that is no reason to give up.
func TestTopics_NotKnownEverywhereYet_AreWaitedFor(t *testing.T) {
	cluster := kit.FakeKafka(t)
	s := systemOn(t, cluster.Brokers(), kit.FakeRegistry(t), "")
	adm := kadm.NewClient(s.kafka())
	asked := 0
	cluster.ControlKey(kmsg.NewPtrDescribeConfigsRequest().Key(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if asked++; asked > 2 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range req.(*kmsg.DescribeConfigsRequest).Resources {
			unknown := kmsg.NewDescribeConfigsResponseResource()
			unknown.ResourceType, unknown.ResourceName, unknown.ErrorCode = r.ResourceType, r.ResourceName, kerr.UnknownTopicOrPartition.Code
			resp.Resources = append(resp.Resources, unknown)
		}
		return resp, nil, true
	})
	if _, err := producer.EnsureTopics(t.Context(), adm, producer.Topics(s.config(), "account")); err != nil || asked < 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
