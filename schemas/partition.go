package schemas

// Partition is the partition of an aggregate id among so many partitions: murmur2 as in the Java client's default
// partitioner, and as kgo.StickyKeyPartitioner(nil) does it for a key equal to id. Every topic of a kind uses it, so
// that an aggregate's commands, events, snapshots and replies stand under the same partition number. It panics when
// partitions is not above 0.
func Partition(id string, partitions int32) int32 {
	// The sign bit is dropped, not the sign: so does Java's Utils.toPositive.
	return int32(murmur2(id)&0x7fffffff) % partitions
}

// murmur2 is the 32-bit MurmurHash2 by Austin Appleby with the seed that Kafka's Java client uses.
func murmur2(s string) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(s))
	for ; len(s) >= 4; s = s[4:] {
		k := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(s) {
	case 3:
		h ^= uint32(s[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(s[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(s[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
