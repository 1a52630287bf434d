-- The same for work that takes long: a lease instead of an open transaction.
SELECT set_config('payments.count', :'count', false) AS count \gset

DO $worker$
DECLARE
    remaining integer := current_setting('payments.count');
    message relay.claimed;
    outcome text;
BEGIN
    WHILE remaining > 0 LOOP
        SELECT * INTO message FROM relay.claim('main', 1, '5 minutes');
        COMMIT;
        IF message IS NULL THEN
            PERFORM pg_sleep(1);
            CONTINUE;
        END IF;
        -- Here is what takes long, in as many transactions as it likes.
        BEGIN
            INSERT INTO payments (order_id, amount)
                SELECT p ->> 'order', (p ->> 'amount')::numeric FROM CAST(message.payload AS json) AS p;
            PERFORM relay.ack(message.inbox, message.seq, message.token);
            outcome := 'paid';
        EXCEPTION WHEN foreign_key_violation THEN
            PERFORM relay.nack(message.inbox, message.seq, message.token, '1 second', SQLERRM);
            outcome := 'later';
        END;
        COMMIT;
        RAISE NOTICE '% % %', outcome, message.key, message.payload;
        remaining := remaining - (outcome <> 'later')::integer;
    END LOOP;
END
$worker$;
