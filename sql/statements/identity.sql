-- Which database and which history of it this session is in.
SELECT (SELECT system_identifier FROM pg_control_system()),
       (SELECT oid FROM pg_database WHERE datname = current_database()),
       pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN '00000000'
            ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END
