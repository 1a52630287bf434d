#include "certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/attributes.h"
#include "pg/conninfo.h"

static bool end_of(const X509 *certificate, double *seconds)
{
    struct tm parts;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) != 1)
        return false;
    *seconds = (double)timegm(&parts);
    return true;
}

bool certificate_expiry(const char *path, double *expiry_seconds)
{
    int count = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    for (X509 *certificate; count <= CERTIFICATES_MAX && (certificate = PEM_read_X509(file, NULL, NULL, NULL));) {
        double seconds;
        if (end_of(certificate, &seconds) && (count++ == 0 || seconds < *expiry_seconds))
            *expiry_seconds = seconds;
        X509_free(certificate);
    }
    ERR_clear_error(); /* the end of the file counts as one */
    fclose(file);
    return count >= 1 && count <= CERTIFICATES_MAX;
}

static size_t add(struct certificate_file *files, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(files[i].path, path) == 0)
            return count;
    if (count == CERTIFICATE_FILES_MAX || strlen(path) >= CERTIFICATE_PATH_MAX ||
        !certificate_expiry(path, &files[count].expiry_seconds))
        return count;
    snprintf(files[count].path, sizeof files[count].path, "%s", path);
    return count + 1;
}

size_t certificate_files(const struct settings *settings, struct certificate_file files[CERTIFICATE_FILES_MAX])
{
    static const char *const words[] = {"sslcert", "sslrootcert"};
    size_t count = 0;
    for (size_t i = 0; i < settings->property_count; i++)
        if (strcmp(settings->properties[i].name, "ssl.certificate.location") == 0 ||
            strcmp(settings->properties[i].name, "ssl.ca.location") == 0)
            count = add(files, count, settings->properties[i].value);
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        char path[CERTIFICATE_PATH_MAX];
        if (settings->postgres && conninfo_value(settings->postgres, words[i], path, sizeof path))
            count = add(files, count, path);
    }
    return count;
}
