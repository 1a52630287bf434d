/*
 * When the certificates run out that the configuration names for Kafka and PostgreSQL. Files are read when asked, so a
 * certificate that was renewed on disk shows at once. Thread: any.
 */
#ifndef APP_CERTIFICATE_H
#define APP_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>

#include "settings.h"

enum {
    CERTIFICATE_FILES_MAX = 8,
    CERTIFICATE_PATH_MAX = 256,
    CERTIFICATES_MAX = 16, /* in one file: more is a system's bundle, whose first expiry means nothing */
};

struct certificate_file {
    char path[CERTIFICATE_PATH_MAX];
    double expiry_seconds; /* since 1970 */
};

/* The earliest expiry among the PEM certificates of a file; false: none can be read there, or too many. */
bool certificate_expiry(const char *path, double *expiry_seconds);

/* Of the files in ssl.certificate.location, ssl.ca.location, sslcert and sslrootcert; each once. How many. */
size_t certificate_files(const struct settings *settings, struct certificate_file files[CERTIFICATE_FILES_MAX]);

#endif
