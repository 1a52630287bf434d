/*
 * The service in one line, as `systemctl status` shows it: "3 streams: 2 publishing, 1 failing (outbox/audit:
 * UNKNOWN_TOPIC_OR_PART); Kafka is away". Pure. Thread: any.
 */
#ifndef APP_SUMMARY_H
#define APP_SUMMARY_H

#include "overview.h"

enum { SUMMARY_MAX = 400 };

void summary_write(const struct overview *overview, char line[SUMMARY_MAX]);

#endif
