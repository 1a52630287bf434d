import org.flywaydb.core.Flyway;

/** Flyway as its command line would be called: java Migrate.java URL USER FOLDER; Flyway's command is no jar in Maven Central. */
public class Migrate {
    public static void main(String[] args) {
        var flyway = Flyway.configure().dataSource(args[0], args[1], "").locations("filesystem:" + args[2])
            .table("boxrelay_history").baselineOnMigrate(true).baselineVersion("0").load();
        System.out.println("applied " + flyway.migrate().migrationsExecuted);
        flyway.validate();
    }
}
