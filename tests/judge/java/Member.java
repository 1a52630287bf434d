import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a consumer group that is no relay.
 *
 * <p>Usage: Member TOPIC NAME=VALUE... (consumer properties). Says "assigned" once it has partitions, and stays until
 * it reads anything.
 */
public final class Member {
    private Member() {}

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        for (String arg : List.of(args).subList(1, args.length)) {
            int at = arg.indexOf('=');
            properties.put(arg.substring(0, at), arg.substring(at + 1));
        }
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args[0]));
            boolean said = false;
            while (System.in.available() == 0) {
                consumer.poll(Duration.ofMillis(100));
                if (!said && !consumer.assignment().isEmpty()) {
                    System.out.println("assigned");
                    said = true;
                }
            }
        }
    }
}
