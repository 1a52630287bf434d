import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A producer driven by lines on standard input, for messages that come from "other services".
 *
 * <p>Usage: Sender NAME=VALUE... (producer properties). Commands, tab-separated; bytes in hex; "-" for null:
 * init | begin | send topic partition timestamp key value name=value,... | flush | commit | abort. All but
 * send answer one line: "ok", or "error" and the exception; the first failed send is told by the next
 * answer.
 */
public final class Sender {
    private static final HexFormat HEX = HexFormat.of();
    private final AtomicReference<Exception> failed = new AtomicReference<>();
    private final KafkaProducer<byte[], byte[]> producer;

    private Sender(Properties properties) {
        producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        for (String arg : args) {
            int at = arg.indexOf('=');
            properties.put(arg.substring(0, at), arg.substring(at + 1));
        }
        Sender sender = new Sender(properties);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII), 1 << 18);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            sender.carryOut(line.split("\t", -1));
        }
        sender.producer.close();
    }

    private void carryOut(String[] words) {
        try {
            switch (words[0]) {
                case "send" -> {
                    send(words);
                    return;
                }
                case "init" -> producer.initTransactions();
                case "begin" -> producer.beginTransaction();
                case "flush" -> producer.flush();
                case "commit" -> producer.commitTransaction();
                case "abort" -> producer.abortTransaction();
                default -> throw new IllegalArgumentException("unknown command " + words[0]);
            }
            Exception earlier = failed.getAndSet(null);
            if (earlier != null && !words[0].equals("abort")) {
                throw earlier;
            }
            System.out.println("ok");
        } catch (Exception error) {
            if (words[0].equals("send")) {
                failed.compareAndSet(null, error);
                return;
            }
            failed.set(null);
            System.out.println("error\t" + error.toString().replaceAll("\\s+", " "));
        }
        System.out.flush();
    }

    private void send(String[] words) {
        Integer partition = words[2].equals("-") ? null : Integer.valueOf(words[2]);
        Long timestamp = words[3].equals("-") ? null : Long.valueOf(words[3]);
        ProducerRecord<byte[], byte[]> record =
                new ProducerRecord<>(words[1], partition, timestamp, bytes(words[4]), bytes(words[5]));
        if (!words[6].isEmpty()) {
            for (String header : words[6].split(",")) {
                int at = header.indexOf('=');
                record.headers().add(URLDecoder.decode(header.substring(0, at), StandardCharsets.UTF_8),
                        bytes(header.substring(at + 1)));
            }
        }
        producer.send(record, (metadata, error) -> {
            if (error != null) {
                failed.compareAndSet(null, error);
            }
        });
    }

    private static byte[] bytes(String hex) {
        return hex.equals("-") ? null : HEX.parseHex(hex);
    }
}
