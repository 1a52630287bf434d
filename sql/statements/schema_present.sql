-- Before the first migration there is no table to ask for the version.
SELECT to_regclass('relay.schema_version') IS NOT NULL
