import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import net.jpountz.xxhash.XXHash64;
import net.jpountz.xxhash.XXHashFactory;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Bank decides commands on accounts as a processor of Kafka Streams. It reads the bytes that Ledgerline reads and writes those that
 * Ledgerline writes: an event under {@code <id>/<sequence>} and a reply under the id for a command that is accepted, a reply alone for
 * one that is rejected. Its rules are the bank's for the two commands that the benchmark sends; any other ends the program.
 *
 * <p>Avro is read and written by hand here, which is quicker than any library for it.
 */
final class Bank implements Processor<byte[], byte[], byte[], byte[]> {
    static final String ACCOUNTS = "accounts", WINDOW = "window", EVENTS = "events", REPLIES = "replies";

    /** Ids of the schemas in the registry, as they stand in the first bytes of a value. */
    record Schemas(int openAccount, int depositMoney, int accountOpened, int moneyDeposited, int reply) {}

    private static final byte[] NONE = {};
    private static final byte[] OPEN = text("open"), ACCEPTED = text("accepted"), REJECTED = text("rejected"), ERROR = text("error");
    private static final byte[] SPEC_VERSION = text("1.0"), SOURCE = text("/ledgerline/account"), CONTENT_TYPE = text("application/avro");
    private static final byte[] OPENED_TYPE = text("ledgerline.account.AccountOpened"), DEPOSITED_TYPE = text("ledgerline.account.MoneyDeposited"), REPLY_TYPE = text("ledgerline.Reply");
    private static final long MOST_MINOR = (1L << 53) - 1;
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'").withZone(ZoneOffset.UTC);

    private final Schemas schemas;
    private final long window; // milliseconds in which a repeated command gets its first reply again; 0: nothing is remembered
    private final XXHash64 hasher = XXHashFactory.fastestInstance().hash64();
    private final AvroWriter out = new AvroWriter();

    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], Account> accounts;
    private WindowStore<byte[], byte[]> answered;
    private long time = -1; // written last, and how: many commands have one time
    private byte[] timeText;

    Bank(Schemas schemas, long window) {
        this.schemas = schemas;
        this.window = window;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        accounts = context.getStateStore(ACCOUNTS);
        if (window > 0) {
            answered = context.getStateStore(WINDOW);
        }
    }

    /** What becomes of a command: its reply, but for the command's id. */
    private record Answer(byte[] outcome, byte[] code, byte[] message, long first, long last, long version) {
        static Answer rejected(long version, String code, String message) {
            return new Answer(REJECTED, text(code), text(message), 0, 0, version);
        }
    }

    @Override
    public void process(Record<byte[], byte[]> command) {
        byte[] key = command.key(), value = command.value();
        RecordMetadata at = context.recordMetadata().orElseThrow();
        byte[] place = text(at.topic() + '/' + at.partition() + '/' + at.offset());
        Header header = command.headers().lastHeader("ce_id");
        byte[] id = header == null || header.value().length == 0 ? place : header.value();
        long hash = hasher.hash(value, 0, value.length, 0);
        byte[] hashText = hex(hash);

        byte[] name = null;
        if (window > 0) {
            name = ByteBuffer.allocate(key.length + 1 + id.length).put(key).put((byte) 0).put(id).array();
            if (repeated(command, name, id, place, hash)) {
                return;
            }
        }
        Account account = accounts.get(key);
        if (account == null) {
            account = Account.NONE;
        }
        Answer answer = decide(command, account, id, hashText);
        reply(command, answer, false, id, place, hashText);
        if (window > 0) {
            remember(name, answer, hash, command.timestamp());
        }
    }

    private Answer decide(Record<byte[], byte[]> command, Account a, byte[] commandId, byte[] hash) {
        AvroReader in = new AvroReader(command.value());
        int schema = in.schema();
        if (schema == schemas.openAccount) {
            byte[] owner = in.bytes(), currency = in.bytes();
            long deposit = in.number();
            in.end();
            if (a.status.length > 0) {
                return Answer.rejected(a.version, "account_exists", "account " + new String(command.key(), UTF_8) + " was opened before");
            }
            if (owner.length == 0) {
                return Answer.rejected(a.version, "owner_missing", "an account needs an owner");
            }
            if (!isCurrency(currency)) {
                return Answer.rejected(a.version, "currency_invalid", '"' + new String(currency, UTF_8) + "\" is no ISO 4217 code: give three capital letters");
            }
            if (deposit != 0) {
                throw new IllegalArgumentException("an account opened with a deposit: the benchmark sends none, and there is no rule for it here");
            }
            Account next = new Account(a.version + 1, OPEN, owner, currency, 0);
            out.begin(schemas.accountOpened);
            out.bytes(owner);
            out.bytes(currency);
            event(command, next, OPENED_TYPE, commandId, hash);
            return new Answer(ACCEPTED, NONE, NONE, next.version, next.version, next.version);
        }
        if (schema == schemas.depositMoney) {
            long amount = in.number();
            byte[] currency = in.bytes(), operation = in.bytes(), category = in.bytes(), counterparty = in.bytes();
            in.end();
            String name = new String(command.key(), UTF_8);
            if (!Arrays.equals(a.status, OPEN)) {
                return Answer.rejected(a.version, "account_not_found", "account " + name + " does not exist: open it first");
            }
            if (amount <= 0) {
                return Answer.rejected(a.version, "amount_invalid", "the amount is " + amount + ": give 1 or more minor units");
            }
            if (currency.length > 0 && !Arrays.equals(currency, a.currency)) {
                return Answer.rejected(a.version, "currency_mismatch", "account " + name + " is kept in " + new String(a.currency, UTF_8) + ", not in " + new String(currency, UTF_8));
            }
            if (amount > MOST_MINOR - a.balance) {
                return Answer.rejected(a.version, "amount_invalid", "account " + name + " can't hold " + amount + " minor units more: it can hold " + MOST_MINOR);
            }
            Account next = new Account(a.version + 1, a.status, a.owner, a.currency, a.balance + amount);
            out.begin(schemas.moneyDeposited);
            out.number(amount);
            out.number(next.balance);
            out.bytes(next.currency);
            out.bytes(operation);
            out.bytes(category);
            out.bytes(counterparty);
            event(command, next, DEPOSITED_TYPE, commandId, hash);
            return new Answer(ACCEPTED, NONE, NONE, next.version, next.version, next.version);
        }
        throw new IllegalArgumentException("a command with the schema id " + schema + ": there is no rule for it here");
    }

    private static boolean isCurrency(byte[] code) {
        for (byte b : code) {
            if (b < 'A' || b > 'Z') {
                return false;
            }
        }
        return code.length == 3;
    }

    /** Forwards the event whose value is written, and keeps the account as it is after it. */
    private void event(Record<byte[], byte[]> command, Account next, byte[] type, byte[] commandId, byte[] hash) {
        byte[] sequence = text(Long.toString(next.version));
        byte[] name = ByteBuffer.allocate(9 + command.key().length + sequence.length).put(text("account/")).put(command.key()).put((byte) '/').put(sequence).array();
        Headers headers = envelope(name, type);
        headers.add("ce_time", timeOf(command.timestamp()));
        headers.add("ce_causationid", commandId);
        headers.add("command-hash", hash);
        context.forward(new Record<>(Arrays.copyOfRange(name, 8, name.length), out.end(), command.timestamp(), headers), EVENTS);
        accounts.put(command.key(), next);
    }

    private void reply(Record<byte[], byte[]> command, Answer a, boolean duplicate, byte[] id, byte[] place, byte[] hash) {
        out.begin(schemas.reply);
        out.bytes(id);
        out.bytes(a.outcome);
        out.bool(duplicate);
        out.bytes(a.code);
        out.bytes(a.message);
        out.number(a.first);
        out.number(a.last);
        out.number(a.version);
        Headers headers = envelope(place, REPLY_TYPE);
        if (!duplicate && a.outcome != ERROR) { // as Ledgerline marks the replies that it remembers
            headers.add("command-hash", hash);
        }
        context.forward(new Record<>(command.key(), out.end(), command.timestamp(), headers), REPLIES);
    }

    private static Headers envelope(byte[] id, byte[] type) {
        Headers headers = new RecordHeaders();
        headers.add("ce_specversion", SPEC_VERSION);
        headers.add("ce_id", id);
        headers.add("ce_type", type);
        headers.add("ce_source", SOURCE);
        headers.add("content-type", CONTENT_TYPE);
        return headers;
    }

    /**
     * Answers a command that was answered before. The window is kept in slots as long as itself, so that a command costs two point
     * look-ups; a range over all times would visit every millisecond in the window.
     */
    private boolean repeated(Record<byte[], byte[]> command, byte[] name, byte[] id, byte[] place, long hash) {
        long slot = command.timestamp() / window * window;
        byte[] known = answered.fetch(name, slot);
        if (known == null) {
            known = answered.fetch(name, slot - window);
        }
        if (known == null) {
            return false;
        }
        AvroReader in = new AvroReader(known);
        if (command.timestamp() - in.number() > window) {
            return false;
        }
        if (in.number() != hash) {
            Account a = accounts.get(command.key());
            reply(command, new Answer(ERROR, text("command_id_reused"), text("command id " + new String(id, UTF_8) + " was used for another command: its content differs, or who asks for it"),
                    0, 0, a == null ? 0 : a.version), false, id, place, null);
            return true;
        }
        reply(command, new Answer(in.bytes(), in.bytes(), in.bytes(), in.number(), in.number(), in.number()), true, id, place, null);
        return true;
    }

    private void remember(byte[] name, Answer a, long hash, long at) {
        out.begin();
        out.number(at);
        out.number(hash);
        out.bytes(a.outcome);
        out.bytes(a.code);
        out.bytes(a.message);
        out.number(a.first);
        out.number(a.last);
        out.number(a.version);
        answered.put(name, out.end(), at / window * window);
    }

    private byte[] timeOf(long millis) {
        if (millis != time) {
            time = millis;
            timeText = text(TIME.format(Instant.ofEpochMilli(millis)));
        }
        return timeText;
    }

    static byte[] text(String s) {
        return s.getBytes(UTF_8);
    }

    private static byte[] hex(long n) {
        byte[] b = new byte[16];
        for (int i = 15; i >= 0; i--, n >>>= 4) {
            b[i] = (byte) "0123456789abcdef".charAt((int) n & 15);
        }
        return b;
    }

    /** An account's state: what Ledgerline has in a snapshot. */
    record Account(long version, byte[] status, byte[] owner, byte[] currency, long balance) {
        static final Account NONE = new Account(0, Bank.NONE, Bank.NONE, Bank.NONE, 0);

        static Serde<Account> serde() {
            Serializer<Account> writer = (topic, a) -> {
                if (a == null) {
                    return null;
                }
                AvroWriter out = new AvroWriter();
                out.number(a.version);
                out.bytes(a.status);
                out.bytes(a.owner);
                out.bytes(a.currency);
                out.number(a.balance);
                return out.end();
            };
            Deserializer<Account> reader = (topic, b) -> {
                if (b == null) {
                    return null;
                }
                AvroReader in = new AvroReader(b);
                return new Account(in.number(), in.bytes(), in.bytes(), in.bytes(), in.number());
            };
            return Serdes.serdeFrom(writer, reader);
        }
    }

    /** Reads Avro's binary encoding. */
    private static final class AvroReader {
        private final byte[] b;
        private int at;

        AvroReader(byte[] b) {
            this.b = b;
        }

        /** The schema's id before a value in the registry's wire format. */
        int schema() {
            if (b.length < 5 || b[0] != 0) {
                throw new IllegalArgumentException("a value that is not in the wire format of a schema registry");
            }
            at = 5;
            return ByteBuffer.wrap(b, 1, 4).getInt();
        }

        long number() {
            long n = 0;
            for (int shift = 0; ; shift += 7) {
                byte next = b[at++];
                n |= (next & 0x7fL) << shift;
                if (next >= 0) {
                    return n >>> 1 ^ -(n & 1);
                }
            }
        }

        byte[] bytes() {
            int n = (int) number();
            at += n;
            return n == 0 ? NONE : Arrays.copyOfRange(b, at - n, at);
        }

        void end() {
            if (at != b.length) {
                throw new IllegalArgumentException("a value that is longer than its schema says");
            }
        }
    }

    /** Writes it; one buffer is used again and again. */
    private static final class AvroWriter {
        private byte[] b = new byte[128];
        private int n;

        void begin() {
            n = 0;
        }

        void begin(int schema) {
            n = 0;
            room(5);
            b[n++] = 0;
            ByteBuffer.wrap(b, n, 4).putInt(schema);
            n += 4;
        }

        void number(long v) {
            room(10);
            for (v = v << 1 ^ v >> 63; (v & ~0x7fL) != 0; v >>>= 7) {
                b[n++] = (byte) (v & 0x7f | 0x80);
            }
            b[n++] = (byte) v;
        }

        void bool(boolean v) {
            room(1);
            b[n++] = (byte) (v ? 1 : 0);
        }

        void bytes(byte[] v) {
            number(v.length);
            room(v.length);
            System.arraycopy(v, 0, b, n, v.length);
            n += v.length;
        }

        byte[] end() {
            return Arrays.copyOf(b, n);
        }

        private void room(int more) {
            if (n + more > b.length) {
                b = Arrays.copyOf(b, 2 * b.length + more);
            }
        }
    }
}
