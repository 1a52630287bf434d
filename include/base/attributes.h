/* Compiler attributes that state what a signature cannot. */
#ifndef BASE_ATTRIBUTES_H
#define BASE_ATTRIBUTES_H

/* The caller has to look at the result: it is the only word of a failure. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* printf-like: argument `format_` is the format, arguments from `first_` on are checked against it. */
#define PRINTF_LIKE(format_, first_) __attribute__((format(printf, format_, first_)))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
