/*
 * systemd's notification protocol (sd_notify(3)): datagrams to the socket that $NOTIFY_SOCKET names. Nothing happens
 * without it. Thread: main.
 */
#ifndef APP_NOTIFY_H
#define APP_NOTIFY_H

#include <stdint.h>

/* "READY=1", "STOPPING=1", "STATUS=...", "WATCHDOG=1"; lines may be joined by line feeds. Best effort. */
void notify_send(const char *state);

/*
 * How often the manager wants to hear "WATCHDOG=1": half of $WATCHDOG_USEC, as sd_watchdog_enabled(3) advises, in ms.
 * 0: not at all, or it is meant for another process.
 */
int64_t notify_watchdog_ms(void);

/* A reload begins; READY=1 ends it. */
void notify_reloading(void);

#endif
