-- The last seq that was drawn. Sequences know no snapshot: this is of the instant.
SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END
FROM relay."outbox#seq"
