/* Compiler attributes that state what a signature cannot. */
#ifndef BASE_ATTRIBUTES_H
#define BASE_ATTRIBUTES_H

/* The caller has to look at the result: it is the only word of a failure. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* printf-like: argument `format` is the format, arguments from `first` on are checked against it. */
#define PRINTF_LIKE(format, first) __attribute__((format(printf, format, first)))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
