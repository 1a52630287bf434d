-- Before the first migration there is no table to ask for the version. Not by to_regclass: under the lock of a
-- migration its cache still says what was there before another runner made the table.
SELECT EXISTS (SELECT
               FROM pg_class AS c
               JOIN pg_namespace AS n ON n.oid = c.relnamespace
               WHERE n.nspname = 'relay' AND c.relname = 'schema_version')
