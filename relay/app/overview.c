#include "overview.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

static int64_t count_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int64_t count = -3; /* ".", "..", and the directory's own */
    if (!directory)
        return -1;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

void overview_take_process(struct overview *overview)
{
    struct overview_process *process = &overview->process;
    struct timespec cpu;
    struct rlimit limit;
    long pages_virtual = 0, pages_resident = 0;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
        process->cpu_seconds = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
    FILE *memory = fopen("/proc/self/statm", "re");
    if (memory) {
        if (fscanf(memory, "%ld %ld", &pages_virtual, &pages_resident) != 2)
            pages_virtual = pages_resident = 0;
        fclose(memory);
    }
    process->virtual_bytes = (int64_t)pages_virtual * sysconf(_SC_PAGESIZE);
    process->resident_bytes = (int64_t)pages_resident * sysconf(_SC_PAGESIZE);
    process->open_fds = count_fds();
    process->max_fds = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (int64_t)limit.rlim_cur : -1;
}

static void take_outboxes(struct overview *overview, struct outbox_service *service)
{
    overview->outbox_on = true;
    outbox_service_view(service, &overview->service);
    overview->streams = text_memory(overview->service.stream_count, sizeof *overview->streams);
    while (overview->stream_count < overview->service.stream_count &&
           outbox_service_stream(service, overview->stream_count, &overview->streams[overview->stream_count]))
        overview->stream_count++;
}

static void take_inboxes(struct overview *overview, struct inbox_service *service)
{
    size_t count = inbox_service_count(service);
    overview->inboxes = text_memory(count, sizeof *overview->inboxes);
    while (overview->inbox_count < count &&
           inbox_service_stream(service, overview->inbox_count, &overview->inboxes[overview->inbox_count]))
        overview->inbox_count++;
}

void overview_judge(struct overview *overview)
{
    struct outbox_service_view *service = &overview->service;
    bool alone = !overview->outbox_on, reached = !alone, good = alone || service->schema_ok;
    for (size_t i = 0; i < overview->inbox_count; i++) {
        const struct inbox_stream_view *inbox = &overview->inboxes[i];
        bool bad = inbox->postgres_reached && !inbox->schema_ok;
        if (alone) {
            service->postgres_up |= inbox->postgres_up;
            service->postgres_reached |= inbox->postgres_reached;
            service->kafka_up |= inbox->kafka_up;
        }
        reached |= inbox->postgres_reached;
        good &= !bad;
        if (service->instance_error.class == ERROR_NONE && (bad || (alone && !inbox->postgres_reached)))
            service->instance_error = inbox->last_error;
    }
    service->schema_ok = reached && good;
}

void overview_take(struct overview *overview, struct services *services)
{
    if (services->outbox)
        take_outboxes(overview, services->outbox);
    if (services->inbox)
        take_inboxes(overview, services->inbox);
    overview_judge(overview);
}

void overview_fini(struct overview *overview)
{
    free(overview->streams);
    free(overview->inboxes);
    overview->streams = NULL;
    overview->inboxes = NULL;
    overview->stream_count = overview->inbox_count = 0;
}
