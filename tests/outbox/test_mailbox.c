/* The mailbox: the last word on a subject counts, none is lost, a wait ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../relay/outbox/mailbox.h"
#include "base/clock.h"

static struct mailbox mailbox;

static void assert_next(enum publisher_command wanted)
{
    enum publisher_command command;
    assert_true(mailbox_take(&mailbox, 0, &command));
    assert_int_equal(command, wanted);
}

static void assert_empty(void)
{
    enum publisher_command command;
    assert_false(mailbox_take(&mailbox, 0, &command));
}

static void last_word_counts(void **state)
{
    mailbox_init(&mailbox);
    mailbox_send(&mailbox, PUBLISHER_STOP);
    mailbox_send(&mailbox, PUBLISHER_LOOK);
    mailbox_send(&mailbox, PUBLISHER_WATCH);
    mailbox_send(&mailbox, PUBLISHER_LEAD);
    mailbox_send(&mailbox, PUBLISHER_HOLD);
    mailbox_send(&mailbox, PUBLISHER_LEAD);
    mailbox_send(&mailbox, PUBLISHER_PAUSE);
    mailbox_send(&mailbox, PUBLISHER_RESUME);
    mailbox_send(&mailbox, PUBLISHER_WAKE);
    assert_next(PUBLISHER_LEAD);
    assert_next(PUBLISHER_RESUME);
    assert_next(PUBLISHER_WAKE);
    assert_next(PUBLISHER_WATCH);
    assert_next(PUBLISHER_LOOK); /* after WATCH: a wait that it ended does not begin again */
    assert_next(PUBLISHER_STOP);
    assert_empty();
    mailbox_fini(&mailbox);
    (void)state;
}

static void *send_later(void *opaque)
{
    mailbox_send(opaque, PUBLISHER_LEAD);
    return NULL;
}

static void a_wait_ends_with_a_word_or_its_time(void **state)
{
    enum publisher_command command;
    pthread_t sender;
    mailbox_init(&mailbox);
    int64_t until_ms = clock_monotonic_ms() + 20;
    assert_false(mailbox_take(&mailbox, until_ms, &command));
    assert_true(clock_monotonic_ms() >= until_ms);
    assert_int_equal(pthread_create(&sender, NULL, send_later, &mailbox), 0);
    assert_true(mailbox_take(&mailbox, clock_monotonic_ms() + 60000, &command));
    assert_int_equal(command, PUBLISHER_LEAD);
    pthread_join(sender, NULL);
    mailbox_fini(&mailbox);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_word_counts),
        cmocka_unit_test(a_wait_ends_with_a_word_or_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
