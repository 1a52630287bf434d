#include <string.h>

#include "pg/session.h"

/* PostgreSQL docs, "PostgreSQL Error Codes". The longest prefix that matches counts: special codes before classes. */
static const struct {
    const char *prefix;
    enum error_class class;
} classes[] = {
    {"40001", ERROR_RETRY},     /* serialization_failure */
    {"40P01", ERROR_RETRY},     /* deadlock_detected */
    {"55P03", ERROR_RETRY},     /* lock_not_available */
    {"55006", ERROR_RETRY},     /* object_in_use */
    {"57014", ERROR_RETRY},     /* query_canceled: a time-out of ours, or an operator */
    {"57P05", ERROR_RECONNECT}, /* idle_session_timeout */
    {"57P04", ERROR_CONFIG},    /* database_dropped */
    {"25P03", ERROR_RECONNECT}, /* idle_in_transaction_session_timeout */
    {"25P02", ERROR_RECONNECT}, /* in_failed_sql_transaction: our idea of the session is wrong */
    {"25006", ERROR_RECONNECT}, /* read_only_sql_transaction: a standby */
    {"08", ERROR_RECONNECT},    /* connection_exception */
    {"57P", ERROR_RECONNECT},   /* admin_shutdown, crash_shutdown, cannot_connect_now */
    {"53", ERROR_RECONNECT},    /* insufficient_resources */
    {"58", ERROR_RECONNECT},    /* system_error */
    {"XX", ERROR_RECONNECT},    /* internal_error */
    {"40", ERROR_RETRY},        /* transaction_rollback */
    {"28", ERROR_CONFIG},       /* invalid_authorization_specification */
    {"3D", ERROR_CONFIG},       /* invalid_catalog_name: no such database */
    {"3F", ERROR_CONFIG},       /* invalid_schema_name */
    {"42", ERROR_CONFIG},       /* syntax_error_or_access_rule_violation: no such table, no right */
    {"0A", ERROR_CONFIG},       /* feature_not_supported */
    {"22", ERROR_POISON},       /* data_exception */
    {"54", ERROR_POISON},       /* program_limit_exceeded: JSON that is nested too deeply */
    {"23", ERROR_POISON},       /* integrity_constraint_violation */
};

enum error_class sqlstate_class(const char *sqlstate)
{
    enum error_class class = ERROR_RECONNECT;
    size_t longest = 0;
    for (size_t i = 0; sqlstate && i < COUNT_OF(classes); i++) {
        size_t length = strlen(classes[i].prefix);
        if (length > longest && strncmp(sqlstate, classes[i].prefix, length) == 0) {
            longest = length;
            class = classes[i].class;
        }
    }
    return class;
}
