-- Take, work and done in one transaction, until :count messages are finished.
SELECT set_config('payments.count', :'count', false) AS count \gset

DO $worker$
DECLARE
    remaining integer := current_setting('payments.count');
    message relay.message;
    outcome text;
BEGIN
    WHILE remaining > 0 LOOP
        SELECT * INTO message FROM relay.take();
        IF NOT FOUND THEN
            COMMIT;
            PERFORM pg_sleep(1);
            CONTINUE;
        END IF;
        BEGIN  -- EXCEPTION makes this a savepoint, behind the take
            INSERT INTO payments (order_id, amount)
                SELECT p ->> 'order', (p ->> 'amount')::numeric FROM CAST(message.payload AS json) AS p;
            PERFORM relay.done(message.inbox, message.seq);
            outcome := 'paid';
        EXCEPTION
            WHEN foreign_key_violation THEN  -- the order is not there yet
                PERFORM relay.retry(message.inbox, message.seq, interval '1 second' * 2 ^ least(message.attempts, 6), SQLERRM);
                outcome := 'later';
            WHEN check_violation THEN
                PERFORM relay.reject(message.inbox, message.seq, SQLERRM);
                outcome := 'rejected';
        END;
        COMMIT;
        RAISE NOTICE '% % %', outcome, message.key, message.payload;
        remaining := remaining - (outcome <> 'later')::integer;
    END LOOP;
END
$worker$;
