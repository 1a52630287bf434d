import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import org.postgresql.PGConnection;

public class PaymentsJdbc {
    static final String FOREIGN_KEY_VIOLATION = "23503", CHECK_VIOLATION = "23514";

    record Message(String inbox, long seq, long token, String key, String payload, int attempts) {
        String say(String outcome) {
            System.out.println(outcome + " " + key + " " + payload);
            return outcome;
        }
    }

    interface Step {
        String run(Connection connection) throws SQLException;
    }

    static void execute(Connection connection, String sql, Object... parameters) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < parameters.length; i++) {
                statement.setObject(i + 1, parameters[i]);
            }
            statement.execute();
        }
    }

    static Message next(Connection connection, String sql) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql); ResultSet row = statement.executeQuery()) {
            return !row.next() ? null : new Message(row.getString("inbox"), row.getLong("seq"), row.getLong("token"),
                row.getString("key"), row.getString("payload"), row.getInt("attempts"));
        }
    }

    static void pay(Connection connection, Message message) throws SQLException {
        execute(connection, """
            INSERT INTO payments (order_id, amount)
                SELECT p ->> 'order', (p ->> 'amount')::numeric FROM CAST(? AS json) AS p""", message.payload);
    }

    static String take(Connection connection) throws SQLException {
        Message message = next(connection, "SELECT *, 0 AS token FROM relay.take()");
        if (message == null) {
            connection.commit();
            return null;
        }
        String outcome;
        Savepoint work = connection.setSavepoint(); // behind the take
        try {
            pay(connection, message);
            execute(connection, "SELECT relay.done(?, ?)", message.inbox, message.seq);
            outcome = "paid";
        } catch (SQLException e) {
            connection.rollback(work);
            if (FOREIGN_KEY_VIOLATION.equals(e.getSQLState())) { // the order is not there yet
                execute(connection, "SELECT relay.retry(?, ?, make_interval(secs => ?), ?)",
                    message.inbox, message.seq, 1 << Math.min(message.attempts, 6), e.getMessage());
                outcome = "later";
            } else if (CHECK_VIOLATION.equals(e.getSQLState())) {
                execute(connection, "SELECT relay.reject(?, ?, ?)", message.inbox, message.seq, e.getMessage());
                outcome = "rejected";
            } else {
                throw e;
            }
        }
        connection.commit();
        return message.say(outcome);
    }

    static String claim(Connection connection) throws SQLException {
        Message message = next(connection, "SELECT * FROM relay.claim('main', 1, '5 minutes')");
        connection.commit();
        if (message == null) {
            return null;
        }
        // Here is what takes long: no transaction is open.
        String outcome = "paid";
        try {
            pay(connection, message);
            execute(connection, "SELECT relay.ack(?, ?, ?)", message.inbox, message.seq, message.token);
        } catch (SQLException e) {
            connection.rollback();
            if (!FOREIGN_KEY_VIOLATION.equals(e.getSQLState())) {
                throw e;
            }
            execute(connection, "SELECT relay.nack(?, ?, ?, '1 second', ?)",
                message.inbox, message.seq, message.token, e.getMessage());
            outcome = "later";
        }
        connection.commit();
        return message.say(outcome);
    }

    static void work(Connection connection, Step step, int count) throws SQLException {
        execute(connection, "LISTEN relay_inbox");
        connection.setAutoCommit(false);
        while (count > 0) {
            String outcome = step.run(connection);
            if (outcome == null) {
                connection.unwrap(PGConnection.class).getNotifications(1000); // or a second, whichever is first
            } else if (!outcome.equals("later")) {
                count--;
            }
        }
    }

    public static void main(String[] args) throws SQLException {
        String user = System.getenv("PGUSER"), password = System.getenv("PGPASSWORD");
        Step step = args[0].equals("claim") ? PaymentsJdbc::claim : PaymentsJdbc::take;
        try (Connection connection = DriverManager.getConnection(System.getenv("JDBC_URL"), user, password)) {
            work(connection, step, Integer.parseInt(args[1]));
        }
    }
}
