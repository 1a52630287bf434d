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

void overview_take(struct overview *overview, struct outbox_service *service)
{
    if (!service)
        return;
    outbox_service_view(service, &overview->service);
    overview->streams = text_memory(overview->service.stream_count, sizeof *overview->streams);
    while (overview->stream_count < overview->service.stream_count &&
           outbox_service_stream(service, overview->stream_count, &overview->streams[overview->stream_count]))
        overview->stream_count++;
}

void overview_fini(struct overview *overview)
{
    free(overview->streams);
    overview->streams = NULL;
    overview->stream_count = 0;
}
