/* When certificates run out, from files as people have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "../../relay/app/certificate.h"

/* Made by openssl req -x509 for ten years and for one; nothing here looks at the present time. */
enum { LONG_ENDS = 2111052652, SHORT_ENDS = 1827228652 };

static const char long_one[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBbTCCAROgAwIBAgIULe+9MErq7lpkfEG/iefnKcAjumswCgYIKoZIzj0EAwIw\n"
                               "DDEKMAgGA1UEAwwBYTAeFw0yNjExMjYxMTMwNTJaFw0zNjExMjMxMTMwNTJaMAwx\n"
                               "CjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ3mDbDXx9wu2eZ\n"
                               "XCgrY/vPSpikNsu23txgVTk8/8NY9Kw4upRcnx9DaYtm/DMUQTyPAGOTO+bRLCWw\n"
                               "EDSTaFbXo1MwUTAdBgNVHQ4EFgQUnDlAxmkAPsu3UsqcRbI7wG527SIwHwYDVR0j\n"
                               "BBgwFoAUnDlAxmkAPsu3UsqcRbI7wG527SIwDwYDVR0TAQH/BAUwAwEB/zAKBggq\n"
                               "hkjOPQQDAgNIADBFAiBAGJCA+BxNFF26ZvHs9KBOEczE3WI6aDUqkxdwOOMv6gIh\n"
                               "AImlKsvwhVdSc66BOsKynQh6XEqRYF/01Qbb35PzyXGX\n"
                               "-----END CERTIFICATE-----\n";

static const char short_one[] = "-----BEGIN CERTIFICATE-----\n"
                                "MIIBbDCCAROgAwIBAgIUItPT4+CXYQMnQzMP9F4JJR4e+/AwCgYIKoZIzj0EAwIw\n"
                                "DDEKMAgGA1UEAwwBYjAeFw0yNjExMjYxMTMwNTJaFw0yNzExMjYxMTMwNTJaMAwx\n"
                                "CjAIBgNVBAMMAWIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASt6mWMvU4LBlvf\n"
                                "O8ir0c+mR3vNr8bfj5U+4XF+TQd+9TXFu/VJ9VWDHVFrMwodS1SBWjeDTSOSMnf+\n"
                                "+Oy2GWZUo1MwUTAdBgNVHQ4EFgQUIsKiV0ufa4XxF/G8sPB9WPkZT9YwHwYDVR0j\n"
                                "BBgwFoAUIsKiV0ufa4XxF/G8sPB9WPkZT9YwDwYDVR0TAQH/BAUwAwEB/zAKBggq\n"
                                "hkjOPQQDAgNHADBEAiBqTA1g14ccGkeF/hEh4BTggpD8tsyKhBgiQjh+Kr8fmAIg\n"
                                "JPdqs1EFAKW0/9pAEDVuKY7s7Y7i1N0Ut7mZrsb6Ukk=\n"
                                "-----END CERTIFICATE-----\n";

static char path[] = "/tmp/certificate.XXXXXX";

/* The file as one part so often, and a second part behind it. */
static void write_file(const char *first, int times, const char *second)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < times; i++)
        fputs(first, file);
    fputs(second, file);
    fclose(file);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_expiry(void **state)
{
    (void)state;
    double seconds = 0;
    write_file(long_one, 1, "");
    assert_true(certificate_expiry(path, &seconds));
    assert_true(seconds == LONG_ENDS);
    write_file("subject=a\n", 1, "");
    assert_false(certificate_expiry(path, &seconds));
    write_file(long_one, 2, short_one);
    assert_true(certificate_expiry(path, &seconds));
    assert_true(seconds == SHORT_ENDS);
    write_file("# a comment in front\n", 1, long_one);
    assert_true(certificate_expiry(path, &seconds));
    assert_true(seconds == LONG_ENDS);
    write_file(long_one, CERTIFICATES_MAX, short_one); /* a system's bundle */
    assert_false(certificate_expiry(path, &seconds));
    assert_false(certificate_expiry("/nonexistent", &seconds));
}

static void test_files(void **state)
{
    (void)state;
    char postgres[128];
    struct certificate_file files[CERTIFICATE_FILES_MAX];
    static struct settings settings;
    write_file(short_one, 1, "");
    snprintf(postgres, sizeof postgres, "dbname=x sslcert=%s sslrootcert=/nonexistent", path);
    settings.postgres = postgres;
    assert_int_equal(certificate_files(&settings, files), 1);
    assert_string_equal(files[0].path, path);
    assert_true(files[0].expiry_seconds == SHORT_ENDS);
    static char name[] = "ssl.ca.location", other[] = "ssl.key.location";
    settings.properties[0] = (struct settings_property){.name = name, .value = path};
    settings.properties[1] = (struct settings_property){.name = other, .value = path};
    settings.property_count = 2;
    assert_int_equal(certificate_files(&settings, files), 1); /* each once */
    settings.postgres = NULL;
    assert_int_equal(certificate_files(&settings, files), 1);
    settings.property_count = 0;
    assert_int_equal(certificate_files(&settings, files), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expiry), cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
