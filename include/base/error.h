/*
 * One failure: its class says what to do, the rest explains it to a person.
 *
 * Each outside failure (SQLSTATE, Kafka error, file, input) is mapped to a class once, at the border where it
 * enters; what is done about a class is decided once, in core. Errors are values: the caller owns the struct,
 * usually on its stack; no function keeps a pointer to it. Thread: any.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/attributes.h"

/* docs/design.md, "Errors: what to do is data". */
enum error_class {
    ERROR_NONE = 0,
    ERROR_RETRY,     /* the same again later: it can pass without anybody doing anything */
    ERROR_RECONNECT, /* the connection is gone: a new one, and all in-memory state reloaded */
    ERROR_RECREATE,  /* inside a Kafka transaction, or its outcome is unknown: new producer, read back [K1] */
    ERROR_FENCED,    /* somebody else owns the stream now: stop writing, ask who leads */
    ERROR_POISON,    /* this one message can never pass */
    ERROR_CONFIG,    /* people have to change something (ACL, topic, password): tried again each minute */
    ERROR_INTEGRITY, /* going on could lose or double messages: an operator decides */
};

enum { ERROR_CODE_MAX = 48, ERROR_TEXT_MAX = 1024, ERROR_HINT_MAX = 512 };

struct error {
    enum error_class class;
    char code[ERROR_CODE_MAX]; /* SQLSTATE, librdkafka's error name, or a word of our own: stable, for machines */
    char text[ERROR_TEXT_MAX]; /* what failed, where and why; one line, never a payload, key or password */
    char hint[ERROR_HINT_MAX]; /* what to do next; may be empty */
};

/* Fills `error` (hint empty) and returns `class`, so that a leaf can `return error_set(...)`. */
enum error_class error_set(struct error *error, enum error_class class, const char *code, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* Sets the hint and returns the class that `error` already has. */
enum error_class error_hint(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "prefix: " before the text; for a caller that knows what was being attempted. Returns the class. */
enum error_class error_prefix(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

/* "retry", "reconnect" ...: as logs and metrics show it. Never NULL. */
const char *error_class_name(enum error_class class);

#endif
