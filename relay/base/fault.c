#include "base/fault.h"

#ifdef BOXRELAY_FAULTS

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAULTS_MAX = 32, FAULT_NAME_MAX = 64 };

struct failpoint {
    char name[FAULT_NAME_MAX];
    char action[16];
    int argument; /* sleep: ms */
    int nth;      /* 0: each time */
    int reached;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct failpoint failpoints[FAULTS_MAX];
static int failpoint_count;
static char planted[FAULTS_MAX][FAULT_NAME_MAX];
static int planted_count;

static void parse_failpoint(const char *item)
{
    struct failpoint *point = &failpoints[failpoint_count];
    const char *equals = strchr(item, '=');
    if (!equals || (size_t)(equals - item) >= FAULT_NAME_MAX || sscanf(equals + 1, "%15[a-z]", point->action) != 1) {
        fprintf(stderr, "BOXRELAY_FAILPOINTS: cannot read \"%s\", want name=action[:argument][@n]\n", item);
        exit(2);
    }
    memcpy(point->name, item, (size_t)(equals - item));
    const char *colon = strchr(equals, ':');
    const char *at = strchr(equals, '@');
    point->argument = colon ? atoi(colon + 1) : 0;
    point->nth = at ? atoi(at + 1) : 0;
    failpoint_count++;
}

static void each_item(const char *list, void (*take)(const char *item))
{
    char *copy = strdup(list ? list : "");
    char *rest = NULL;
    for (char *item = strtok_r(copy, ",", &rest); item; item = strtok_r(NULL, ",", &rest))
        if (failpoint_count < FAULTS_MAX && planted_count < FAULTS_MAX)
            take(item);
    free(copy);
}

static void take_planted(const char *item) { snprintf(planted[planted_count++], FAULT_NAME_MAX, "%s", item); }

static void load(void)
{
    each_item(getenv("BOXRELAY_FAILPOINTS"), parse_failpoint);
    each_item(getenv("BOXRELAY_PLANTED"), take_planted);
}

/* True when the point is configured and this is the time to act. */
static bool due(struct failpoint *point)
{
    pthread_mutex_lock(&lock);
    point->reached++;
    bool now = point->nth == 0 || point->reached == point->nth;
    pthread_mutex_unlock(&lock);
    return now;
}

static void wait_for_gate(void)
{
    const char *gate = getenv("BOXRELAY_FAILPOINT_GATE");
    while (gate && access(gate, F_OK) != 0)
        usleep(5000);
}

bool fault_point(const char *name)
{
    pthread_once(&once, load);
    for (int i = 0; i < failpoint_count; i++) {
        struct failpoint *point = &failpoints[i];
        if (strcmp(point->name, name) != 0 || !due(point))
            continue;
        if (strcmp(point->action, "kill") == 0)
            raise(SIGKILL);
        if (strcmp(point->action, "stop") == 0)
            raise(SIGSTOP); /* to this thread: one sent to the process may let it run on for a moment */
        if (strcmp(point->action, "sleep") == 0)
            usleep((useconds_t)point->argument * 1000);
        if (strcmp(point->action, "wait") == 0)
            wait_for_gate();
        if (strcmp(point->action, "error") == 0)
            return true;
    }
    return false;
}

bool fault_planted(const char *name)
{
    pthread_once(&once, load);
    for (int i = 0; i < planted_count; i++)
        if (strcmp(planted[i], name) == 0)
            return true;
    return false;
}

int fault_shortened(const char *name, int otherwise)
{
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

#else
typedef int fault_is_compiled_out; /* ISO C wants a declaration in each file */
#endif
