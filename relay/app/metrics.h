/*
 * The metrics page: one table of metrics (name, type, help, where its samples come from), in Prometheus' text format
 * 0.0.4 or in OpenMetrics 1.0. Pure but for memory. Thread: any.
 */
#ifndef APP_METRICS_H
#define APP_METRICS_H

#include <stdbool.h>
#include <stdio.h>

#include "overview.h"
#include "text.h"

enum { METRICS_BYTES_MAX = 16 << 20 };

enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM };

struct metrics_page;

struct metric {
    const char *name; /* with its unit, without "_total" */
    enum metric_type type;
    const char *unit;   /* "seconds", "bytes"; NULL: a count */
    const char *labels; /* for the documentation: "stream, topic" */
    const char *help;
    void (*samples)(struct metrics_page *page, const struct metric *metric);
};

extern const struct metric metric_table[];
extern const size_t metric_count;

/* The page, to be freed. */
char *metrics_render(const struct overview *overview, bool openmetrics);

/* The table for people; with `markdown`, for the documentation. */
void metrics_help(FILE *out, bool markdown);

/* Appends a label's value: backslash, quote and line feed escaped. */
void metrics_escape(struct text *out, const char *value);

#endif
