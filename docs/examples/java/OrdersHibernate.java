import jakarta.persistence.Column;
import jakarta.persistence.Entity;
import jakarta.persistence.EntityManager;
import jakarta.persistence.EntityManagerFactory;
import jakarta.persistence.Id;
import jakarta.persistence.LockModeType;
import jakarta.persistence.Table;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.UUID;
import java.util.function.Function;
import org.hibernate.annotations.Immutable;
import org.hibernate.cfg.Configuration;

@Entity
@Table(name = "orders")
class Order {
    @Id
    String id;
    BigDecimal total;
    boolean paid;

    protected Order() {}

    Order(String id, BigDecimal total) {
        this.id = id;
        this.total = total;
    }
}

/** relay.outbox without xid, seq and created_at, which fill themselves. The id is only JPA's primary key. */
@Entity
@Immutable
@Table(schema = "relay", name = "outbox")
class Outbox {
    @Id
    UUID id = UUID.randomUUID();
    String topic;
    String key;
    @Column(name = "key_bytes")
    byte[] keyBytes;
    String payload;
    @Column(name = "payload_bytes")
    byte[] payloadBytes;
    String type;
    String headers;

    protected Outbox() {}

    Outbox(String topic, String type) {
        this.topic = topic;
        this.type = type;
    }
}

public class OrdersHibernate {
    static final String TOPIC = "orders.events.v1";
    static final byte[] LABEL = {0x0a, 0, (byte) 0xff};

    // With OpenTelemetry: W3CTraceContextPropagator.getInstance().inject(Context.current(), headers, Map::put)
    static String traceHeaders() {
        return "{\"traceparent\": \"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}";
    }

    static UUID place(EntityManager em, String order, BigDecimal total) {
        em.persist(new Order(order, total));
        Outbox event = new Outbox(TOPIC, "OrderPlaced");
        event.key = order;
        event.payload = "{\"order\": \"%s\", \"total\": %s}".formatted(order, total);
        event.headers = traceHeaders();
        em.persist(event); // not merge(), which asks for the row first
        em.flush();
        if (total.signum() <= 0) {
            throw new IllegalArgumentException("an order has to cost something");
        }
        return event.id;
    }

    static UUID pay(EntityManager em, String order, byte[] label) {
        // The lock, before anything is published.
        em.find(Order.class, order, LockModeType.PESSIMISTIC_WRITE).paid = true;
        UUID event = (UUID) em.createNativeQuery("""
                SELECT relay.publish(:topic, :key, CAST(:payload AS json), type => :type,
                                     headers => CAST(:headers AS json))""", UUID.class)
            .setParameter("topic", TOPIC).setParameter("key", order)
            .setParameter("payload", "{\"order\": \"%s\"}".formatted(order))
            .setParameter("type", "OrderPaid").setParameter("headers", traceHeaders())
            .getSingleResult();
        Outbox printed = new Outbox(TOPIC, "LabelPrinted");
        printed.keyBytes = order.getBytes(StandardCharsets.UTF_8);
        printed.payloadBytes = label;
        em.persist(printed);
        return event;
    }

    static <T> T transaction(EntityManagerFactory factory, Function<EntityManager, T> work) {
        try (EntityManager em = factory.createEntityManager()) {
            em.getTransaction().begin();
            try {
                T result = work.apply(em);
                em.getTransaction().commit();
                return result;
            } catch (RuntimeException e) {
                em.getTransaction().rollback();
                throw e;
            }
        }
    }

    public static void main(String[] args) {
        Configuration configuration = new Configuration().addAnnotatedClass(Order.class).addAnnotatedClass(Outbox.class)
            .setProperty("hibernate.connection.url", System.getenv("JDBC_URL"))
            .setProperty("hibernate.connection.username", System.getenv("PGUSER"))
            .setProperty("hibernate.connection.password", System.getenv().getOrDefault("PGPASSWORD", ""));
        try (EntityManagerFactory factory = configuration.buildSessionFactory()) {
            System.out.println("placed " + transaction(factory, em -> place(em, "order-1", new BigDecimal("42.5"))));
            System.out.println("paid " + transaction(factory, em -> pay(em, "order-1", LABEL)));
            try {
                transaction(factory, em -> place(em, "order-2", BigDecimal.ZERO));
            } catch (IllegalArgumentException e) {
                System.out.println("rolled back: " + e.getMessage());
            }
        }
    }
}
