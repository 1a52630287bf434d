/*
 * systemd's notification protocol (sd_notify(3)): datagrams to the socket that $NOTIFY_SOCKET names. Nothing happens
 * without it. Thread: main.
 */
#ifndef APP_NOTIFY_H
#define APP_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=...", "WATCHDOG=1"; lines may be joined by line feeds. Best effort. */
void notify_send(const char *state);

/* A reload begins; READY=1 ends it. */
void notify_reloading(void);

#endif
