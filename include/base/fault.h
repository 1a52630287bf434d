/*
 * Making failures happen on purpose; compiled in only with BOXRELAY_FAULTS (debug builds), else constants.
 *
 * Failpoints: BOXRELAY_FAILPOINTS="name=action[,name=action...]" where action is
 *   kill          SIGKILL to ourselves          stop          SIGSTOP to ourselves
 *   sleep:MS      sleep                         error         the caller takes its error path
 *   wait          until the file named by BOXRELAY_FAILPOINT_GATE is there
 * each optionally with "@N": only the N-th time the point is reached (default: each time).
 *
 * Planted bugs: BOXRELAY_PLANTED="name[,name...]" switches off one mend of the protocol, so that a test can show
 * that it is then caught. Thread: any.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>

#ifdef BOXRELAY_FAULTS
/* Acts as configured; true: the caller has to fail here. */
bool fault_point(const char *name);
bool fault_planted(const char *name);
/* The integer value of environment variable `name` in debug builds, else `otherwise`: shortens long time-outs. */
int fault_shortened(const char *name, int otherwise);
#else
static inline bool fault_point(const char *name)
{
    (void)name;
    return false;
}
static inline bool fault_planted(const char *name)
{
    (void)name;
    return false;
}
static inline int fault_shortened(const char *name, int otherwise)
{
    (void)name;
    return otherwise;
}
#endif

#endif
