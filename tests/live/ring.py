"""The ring of slots of an outbox, turned and emptied by hand.

    ring = Ring(run)             # run(sql, args) gives rows, each time in a transaction of its own
    ring.clean("0")              # the steps that were due with that retention
    ring.plant("known_snapshot", "t.known_snapshot", "pg_current_snapshot()")
"""
STEP = "SELECT step, slot FROM relay.clean(%s, %s::interval)"
UUID = "SELECT uuid FROM relay.stream WHERE name = %s AND dropped_at IS NULL"


class Ring:
    """See above."""

    def __init__(self, run, stream="outbox/main"):
        self.run = run
        ((self.stream,),) = run(UUID, (stream,))

    def step(self, retention="0"):
        """One step, in a transaction of its own."""
        ((step, _),) = self.run(STEP, (self.stream, retention))
        return step

    def clean(self, retention="0"):
        """Steps until there is nothing to do, or a lock is in the way."""
        steps = [self.step(retention)]
        while steps[-1] not in ("nothing", "later"):
            steps.append(self.step(retention))
        return steps

    def report(self):
        """held_reason, held_by as the last look left them."""
        return self.run("SELECT held_reason, held_by FROM relay.cleanup_state WHERE stream = %s", (self.stream,))

    def slots(self):
        """slot, turn, and whether it is closed, covered, emptied."""
        return self.run("SELECT slot, turn, closed_at IS NOT NULL, covered_at IS NOT NULL, emptied_at IS NOT NULL "
                        "FROM relay.slot WHERE stream = %s ORDER BY slot", (self.stream,))

    def wait_longer(self, timeout="20s"):
        """A step waits so long for a lock, so that a schedule can make it wait."""
        self.run(f"ALTER FUNCTION relay.clean(uuid, interval) SET lock_timeout TO '{timeout}'")

    def plant(self, function, *changes):
        """Makes a function of the migration again with a mistake in it: pairs of a text and what replaces it."""
        ((text,),) = self.run("SELECT pg_get_functiondef(oid) FROM pg_proc "
                              "WHERE pronamespace = 'relay'::regnamespace AND proname = %s", (function,))
        for old, new in zip(changes[::2], changes[1::2]):
            assert text.count(old) == 1, f"{text.count(old)} times in relay.{function}: {old}"
            text = text.replace(old, new)
        self.run(text)
