import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.UUID;

public class OrdersJdbc {
    static final String TOPIC = "orders.events.v1";
    static final byte[] LABEL = {0x0a, 0, (byte) 0xff};

    interface Work<T> {
        T run(Connection connection) throws SQLException;
    }

    static <T> T transaction(Connection connection, Work<T> work) throws SQLException {
        connection.setAutoCommit(false);
        try {
            T result = work.run(connection);
            connection.commit();
            return result;
        } catch (SQLException | RuntimeException e) {
            connection.rollback();
            throw e;
        }
    }

    // With OpenTelemetry: W3CTraceContextPropagator.getInstance().inject(Context.current(), headers, Map::put)
    static String traceHeaders() {
        return "{\"traceparent\": \"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}";
    }

    static UUID place(Connection connection, String order, BigDecimal total) throws SQLException {
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO orders (id, total) VALUES (?, ?)")) {
            insert.setString(1, order);
            insert.setBigDecimal(2, total);
            insert.executeUpdate();
        }
        try (PreparedStatement insert = connection.prepareStatement("""
                INSERT INTO relay.outbox (topic, key, payload, type, headers) VALUES (?, ?, ?, ?, ?) RETURNING id""")) {
            insert.setString(1, TOPIC);
            insert.setString(2, order);
            insert.setString(3, "{\"order\": \"%s\", \"total\": %s}".formatted(order, total));
            insert.setString(4, "OrderPlaced");
            insert.setString(5, traceHeaders());
            ResultSet row = insert.executeQuery();
            row.next();
            if (total.signum() <= 0) {
                throw new IllegalArgumentException("an order has to cost something");
            }
            return row.getObject("id", UUID.class);
        }
    }

    static UUID pay(Connection connection, String order, byte[] label) throws SQLException {
        // Lock, then publish.
        try (PreparedStatement lock = connection.prepareStatement("SELECT total FROM orders WHERE id = ? FOR UPDATE")) {
            lock.setString(1, order);
            lock.executeQuery();
        }
        try (PreparedStatement update = connection.prepareStatement("UPDATE orders SET paid = true WHERE id = ?")) {
            update.setString(1, order);
            update.executeUpdate();
        }
        try (PreparedStatement insert = connection.prepareStatement(
                "INSERT INTO relay.outbox (topic, key_bytes, payload_bytes, type) VALUES (?, ?, ?, ?)");
             PreparedStatement publish = connection.prepareStatement(
                "SELECT relay.publish(?, ?, ?::json, type => ?, headers => ?::json) AS id")) {
            publish.setString(1, TOPIC);
            publish.setString(2, order);
            publish.setString(3, "{\"order\": \"%s\"}".formatted(order));
            publish.setString(4, "OrderPaid");
            publish.setString(5, traceHeaders());
            ResultSet row = publish.executeQuery(); // executeUpdate() refuses a SELECT
            row.next();
            insert.setString(1, TOPIC);
            insert.setBytes(2, order.getBytes(java.nio.charset.StandardCharsets.UTF_8));
            insert.setBytes(3, label);
            insert.setString(4, "LabelPrinted");
            insert.executeUpdate();
            return row.getObject("id", UUID.class);
        }
    }

    public static void main(String[] args) throws SQLException {
        String user = System.getenv("PGUSER"), password = System.getenv("PGPASSWORD");
        try (Connection connection = DriverManager.getConnection(System.getenv("JDBC_URL"), user, password)) {
            System.out.println("placed " + transaction(connection, c -> place(c, "order-1", new BigDecimal("42.5"))));
            System.out.println("paid " + transaction(connection, c -> pay(c, "order-1", LABEL)));
            try {
                transaction(connection, c -> place(c, "order-2", BigDecimal.ZERO));
            } catch (IllegalArgumentException e) {
                System.out.println("rolled back: " + e.getMessage());
            }
        }
    }
}
