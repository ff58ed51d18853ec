import static java.util.stream.Collectors.toMap;

import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.StreamPartitioner;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.state.Stores;

/**
 * Streams runs the bank on Kafka Streams with exactly_once_v2, until it is asked to end.
 *
 * <p>Arguments are name=value: brokers, prefix (of the topics), application, state (a folder), the setting (threads, commit, linger and
 * window in milliseconds, cache in bytes, store=memory or rocksdb), the ids of the schemas, and warm and warm-application: topics that are
 * worked off first, so that the compiler of the virtual machine has seen what is measured then. It prints "warm" in between.
 */
final class Streams {
    public static void main(String[] args) throws Exception {
        Map<String, String> set = Arrays.stream(args).map(a -> a.split("=", 2)).collect(toMap(a -> a[0], a -> a[1]));
        KafkaStreams warming = start(set, set.get("warm"), set.get("warm-application"));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", set.get("brokers")))) {
            while (!done(admin, set.get("warm") + "account.commands", set.get("warm-application"))) {
                Thread.sleep(50);
            }
        }
        close(warming);
        System.gc();
        System.out.println("warm");

        CountDownLatch ended = new CountDownLatch(1);
        KafkaStreams streams = start(set, set.get("prefix"), set.get("application"));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            close(streams);
            ended.countDown();
        }));
        ended.await();
    }

    private static KafkaStreams start(Map<String, String> set, String prefix, String application) {
        KafkaStreams streams = new KafkaStreams(topology(set, prefix), config(set, application));
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        return streams;
    }

    /** The next start under this application is not to wait for the session of this one to end. */
    private static void close(KafkaStreams streams) {
        streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP).withTimeout(Duration.ofSeconds(30)));
    }

    private static boolean done(Admin admin, String topic, String group) throws Exception {
        Map<TopicPartition, OffsetSpec> all = new HashMap<>();
        int partitions = admin.describeTopics(Set.of(topic)).topicNameValues().get(topic).get().partitions().size();
        for (int p = 0; p < partitions; p++) {
            all.put(new TopicPartition(topic, p), OffsetSpec.latest());
        }
        Map<TopicPartition, OffsetAndMetadata> at;
        try {
            at = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        } catch (java.util.concurrent.ExecutionException e) {
            return false; // nobody has made the group yet
        }
        for (Map.Entry<TopicPartition, ListOffsetsResultInfo> end : admin.listOffsets(all).all().get().entrySet()) {
            OffsetAndMetadata reached = at.get(end.getKey());
            if (end.getValue().offset() > (reached == null ? 0 : reached.offset())) {
                return false;
            }
        }
        return true;
    }

    private static Topology topology(Map<String, String> set, String prefix) {
        Bank.Schemas schemas = new Bank.Schemas(number(set, "open-account"), number(set, "deposit-money"), number(set, "account-opened"), number(set, "money-deposited"), number(set, "reply"));
        Duration window = Duration.ofMillis(number(set, "window"));
        boolean memory = switch (set.get("store")) {
            case "memory" -> true;
            case "rocksdb" -> false;
            default -> throw new IllegalArgumentException("store is " + set.get("store") + ": give memory or rocksdb");
        };
        ProcessorSupplier<byte[], byte[], byte[], byte[]> bank = () -> new Bank(schemas, window.toMillis());
        Topology t = new Topology()
                .addSource("commands", new ByteArrayDeserializer(), new ByteArrayDeserializer(), prefix + "account.commands")
                .addProcessor("bank", bank, "commands")
                .addSink(Bank.EVENTS, prefix + "account.events", new ByteArraySerializer(), new ByteArraySerializer(), new ByAggregate(), "bank")
                .addSink(Bank.REPLIES, prefix + "account.replies", new ByteArraySerializer(), new ByteArraySerializer(), "bank") // by the key: the id
                .addStateStore(Stores.keyValueStoreBuilder(memory ? Stores.inMemoryKeyValueStore(Bank.ACCOUNTS) : Stores.persistentKeyValueStore(Bank.ACCOUNTS),
                        Serdes.ByteArray(), Bank.Account.serde()).withCachingEnabled().withLoggingEnabled(Map.of()), "bank");
        if (window.isZero()) {
            return t;
        }
        // No cache: no key comes a second time, unless it is a repetition.
        Duration retention = window.multipliedBy(3);
        return t.addStateStore(Stores.windowStoreBuilder(
                memory ? Stores.inMemoryWindowStore(Bank.WINDOW, retention, window, false) : Stores.persistentWindowStore(Bank.WINDOW, retention, window, false),
                Serdes.ByteArray(), Serdes.ByteArray()).withLoggingEnabled(Map.of()), "bank");
    }

    /** Events lie where the commands of their aggregate lie: the id decides, not the key, which is {@code <id>/<sequence>}. */
    private static final class ByAggregate implements StreamPartitioner<byte[], byte[]> {
        private Optional<Set<Integer>>[] all;

        @Override
        @SuppressWarnings({"unchecked", "rawtypes"})
        public Optional<Set<Integer>> partitions(String topic, byte[] key, byte[] value, int partitions) {
            if (all == null) {
                all = new Optional[partitions];
                Arrays.setAll(all, p -> Optional.of(Set.of(p)));
            }
            int end = key.length - 1;
            while (key[end] != '/') {
                end--;
            }
            return all[Utils.toPositive(Utils.murmur2(Arrays.copyOf(key, end))) % partitions];
        }
    }

    private static Properties config(Map<String, String> set, String application) {
        int commit = number(set, "commit");
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, set.get("brokers"));
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, number(set, "threads"));
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, commit);
        p.put(StreamsConfig.POLL_MS_CONFIG, Math.min(100, commit)); // a transaction is not to wait for a poll that nothing comes to
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, number(set, "cache"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, set.get("state"));
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        p.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        p.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, StreamsConfig.MAX_TASK_IDLE_MS_DISABLED); // one input: nothing to wait for
        p.put(StreamsConfig.METRICS_RECORDING_LEVEL_CONFIG, "INFO");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.RECEIVE_BUFFER_CONFIG), -1); // as large as the system makes it
        p.put(StreamsConfig.producerPrefix(ProducerConfig.SEND_BUFFER_CONFIG), -1);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), number(set, "linger"));
        p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 256 << 20);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.MAX_REQUEST_SIZE_CONFIG), 8 << 20);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "snappy"); // as franz-go does
        return p;
    }

    private static int number(Map<String, String> set, String name) {
        try {
            return Integer.parseInt(set.get(name));
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("argument " + name + " is " + set.get(name) + ": give a whole number");
        }
    }
}
