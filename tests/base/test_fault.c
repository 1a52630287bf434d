/* Failpoints act when asked, and only then; without BOXRELAY_FAULTS they are nothing at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"

#ifdef BOXRELAY_FAULTS
enum { KILLED = 1000 };

/* In a process of its own, since the environment is read once: its exit code, or KILLED. */
static int in_child(const char *failpoints, const char *planted, int (*body)(void))
{
    pid_t child = fork();
    if (child == 0) {
        setenv("BOXRELAY_FAILPOINTS", failpoints, 1);
        setenv("BOXRELAY_PLANTED", planted, 1);
        _exit(body());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? KILLED : WEXITSTATUS(status);
}

static int count_errors(void)
{
    int errors = 0;
    for (int i = 0; i < 5; i++)
        errors += fault_point("there");
    return errors + 10 * fault_point("elsewhere");
}

static int ask_planted(void)
{
    return fault_planted("first") + 2 * fault_planted("second") + 4 * fault_planted("third");
}

static int shorten(void)
{
    setenv("BOXRELAY_SHORT_MS", "7", 1);
    return fault_shortened("BOXRELAY_SHORT_MS", 60000) + (fault_shortened("BOXRELAY_UNSET_MS", 90) == 90 ? 0 : 100);
}

static void test_faults(void **state)
{
    (void)state;
    assert_int_equal(in_child("", "", count_errors), 0);
    assert_int_equal(in_child("there=error", "", count_errors), 5);
    assert_int_equal(in_child("there=error@3", "", count_errors), 1);
    assert_int_equal(in_child("other=kill,there=error@2", "", count_errors), 1);
    assert_int_equal(in_child("there=kill@5", "", count_errors), KILLED);
    assert_int_equal(in_child("there=sleep:1", "", count_errors), 0);
    assert_int_equal(in_child("elsewhere=error", "", count_errors), 10);
    assert_int_equal(in_child("nonsense", "", count_errors), 2);
    assert_int_equal(in_child("", "first,third", ask_planted), 5);
    assert_int_equal(in_child("", "", ask_planted), 0);
    assert_int_equal(in_child("", "", shorten), 7);
}
#else
static void test_faults(void **state)
{
    (void)state;
    setenv("BOXRELAY_FAILPOINTS", "there=kill", 1);
    setenv("BOXRELAY_PLANTED", "first", 1);
    setenv("BOXRELAY_SHORT_MS", "7", 1);
    assert_false(fault_point("there"));
    assert_false(fault_planted("first"));
    assert_int_equal(fault_shortened("BOXRELAY_SHORT_MS", 60000), 60000);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
