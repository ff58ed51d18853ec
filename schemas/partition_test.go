package schemas_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// The hashes are what org.apache.kafka.common.utils.Utils.murmur2 gives; its own tests hold the same ones.
func TestPartition_JavaValues(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		for _, n := range []int32{1, 2, 12, 1000, 1<<31 - 1} {
			want := int32(uint32(hash)&0x7fffffff) % n
			if got := schemas.Partition(key, n); got != want {
				t.Errorf("Partition(%q, %d) = %d, Java's is %d", key, n, got, want)
			}
		}
	}
}

func TestPartition_SameAsClientPartitioner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringN(1, 140, 200).Draw(t, "key")
		n := rapid.Int32Range(1, 4096).Draw(t, "partitions")
		p := kgo.StickyKeyPartitioner(nil).ForTopic("t")
		want := p.Partition(&kgo.Record{Key: []byte(key)}, int(n))
		if got := schemas.Partition(key, n); int(got) != want {
			t.Fatalf("Partition(%q, %d) = %d, the client's is %d", key, n, got, want)
		}
	})
}
