import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.StringJoiner;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.utils.Utils;

/**
 * The independent reader: what a public client, which shares no code with the relay, sees in Kafka.
 *
 * <p>Usage: Judge BOOTSTRAP ISOLATION hex|sha256 DEADLINE_MS TOPIC... It waits until no transaction is
 * open in the topics (last stable offset = high watermark) or the deadline has come, and then reads
 * everything below. Lines, tab-separated; bytes in hex; "-" for null:
 *
 * <pre>
 * R topic partition offset timestamp key value name=value,name=value... partition-of-Java's-partitioner
 * E topic partition last-stable-offset high-watermark
 * </pre>
 */
public final class Judge {
    private static final HexFormat HEX = HexFormat.of();

    private final String bootstrap;
    private final String isolation;
    private final MessageDigest digest;
    private final long deadline;
    private final PrintWriter out = new PrintWriter(new BufferedWriter(
            new OutputStreamWriter(System.out, StandardCharsets.US_ASCII), 1 << 18));

    private Judge(String bootstrap, String isolation, String values, long deadlineMs) throws Exception {
        this.bootstrap = bootstrap;
        this.isolation = isolation;
        this.digest = values.equals("sha256") ? MessageDigest.getInstance("SHA-256") : null;
        this.deadline = System.currentTimeMillis() + deadlineMs;
    }

    public static void main(String[] args) throws Exception {
        Judge judge = new Judge(args[0], args[1], args[2], Long.parseLong(args[3]));
        judge.run(Arrays.asList(args).subList(4, args.length));
    }

    private KafkaConsumer<byte[], byte[]> consumer(String level) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("isolation.level", level);
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "none");
        properties.put("allow.auto.create.topics", "false");
        properties.put("max.poll.records", "5000");
        properties.put("fetch.max.wait.ms", "100");
        properties.put("max.partition.fetch.bytes", "4194304");
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void run(List<String> topics) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(isolation);
                KafkaConsumer<byte[], byte[]> unlimited = consumer("read_uncommitted")) {
            Map<String, Integer> counts = new HashMap<>();
            List<TopicPartition> partitions = new ArrayList<>();
            for (String topic : topics) {
                int count = consumer.partitionsFor(topic).size();
                counts.put(topic, count);
                for (int p = 0; p < count; p++) {
                    partitions.add(new TopicPartition(topic, p));
                }
            }
            Map<TopicPartition, Long> stable = ends(consumer, unlimited, partitions);
            read(consumer, partitions, stable, counts);
        }
        out.flush();
        if (out.checkError()) {
            throw new IOException("standard output is closed");
        }
    }

    /** The ends to read up to; prints the E lines, from which the caller sees whether all were stable. */
    private Map<TopicPartition, Long> ends(KafkaConsumer<byte[], byte[]> consumer,
            KafkaConsumer<byte[], byte[]> unlimited, List<TopicPartition> partitions) throws InterruptedException {
        while (true) {
            Map<TopicPartition, Long> stable = consumer.endOffsets(partitions);
            Map<TopicPartition, Long> high = unlimited.endOffsets(partitions);
            if (stable.equals(high) || System.currentTimeMillis() > deadline) {
                for (TopicPartition tp : partitions) {
                    out.println("E\t" + tp.topic() + "\t" + tp.partition() + "\t" + stable.get(tp) + "\t"
                            + high.get(tp));
                }
                return stable;
            }
            Thread.sleep(20);
        }
    }

    private void read(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> partitions,
            Map<TopicPartition, Long> ends, Map<String, Integer> counts) {
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        long last = System.currentTimeMillis();
        List<TopicPartition> open = new ArrayList<>(partitions);
        while (true) {
            List<TopicPartition> done = new ArrayList<>();
            for (TopicPartition tp : open) {
                if (consumer.position(tp) >= ends.get(tp)) {
                    done.add(tp);
                }
            }
            if (!done.isEmpty()) {
                consumer.pause(done);
                open.removeAll(done);
            }
            if (open.isEmpty()) {
                return;
            }
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                last = System.currentTimeMillis();
                if (record.offset() < ends.get(new TopicPartition(record.topic(), record.partition()))) {
                    print(record, counts.get(record.topic()));
                }
            }
            if (System.currentTimeMillis() > Math.max(deadline, last + 30_000)) {
                throw new IllegalStateException("no record for 30 s before the end of " + open);
            }
        }
    }

    private void print(ConsumerRecord<byte[], byte[]> record, int count) {
        StringJoiner headers = new StringJoiner(",");
        for (Header header : record.headers()) {
            headers.add(URLEncoder.encode(header.key(), StandardCharsets.UTF_8) + "=" + hex(header.value()));
        }
        byte[] value = record.value();
        if (digest != null && value != null) {
            value = digest.digest(value);
        }
        String murmur = record.key() == null ? "-" : Integer.toString(partition(record.key(), count));
        out.println("R\t" + record.topic() + "\t" + record.partition() + "\t" + record.offset() + "\t"
                + record.timestamp() + "\t" + hex(record.key()) + "\t" + hex(value) + "\t" + headers + "\t" + murmur);
    }

    /** What Java's default partitioner does with a key. */
    private static int partition(byte[] key, int count) {
        return Utils.toPositive(Utils.murmur2(key)) % count;
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? "-" : HEX.formatHex(bytes);
    }
}
