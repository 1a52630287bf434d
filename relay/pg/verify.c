#include "pg/verify.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "pg/migrate.h"
#include "session_internal.h"
#include "statements.h"

/*
 * What mends a difference, by kind. %p place, %n name, %w wanted, %m where the migrations make it. Those without a
 * semicolon are for people: data may be gone, or the text is too long to be shown.
 */
struct rule {
    const char *kind, *missing, *changed, *unexpected;
};

static const struct rule rules[] = {
    {"column", "ALTER TABLE %p ADD COLUMN %n %w;", "ALTER TABLE %p ALTER COLUMN %n TYPE %w;",
     "not ours; when nothing needs it: ALTER TABLE %p DROP COLUMN %n"},
    {"constraint", "ALTER TABLE %p ADD CONSTRAINT %n %w;",
     "ALTER TABLE %p DROP CONSTRAINT %n; ALTER TABLE %p ADD CONSTRAINT %n %w;", "ALTER TABLE %p DROP CONSTRAINT %n;"},
    {"default", "ALTER TABLE %p ALTER COLUMN %n SET DEFAULT %w;", "ALTER TABLE %p ALTER COLUMN %n SET DEFAULT %w;",
     "ALTER TABLE %p ALTER COLUMN %n DROP DEFAULT;"},
    {"function", "run the statement that makes it again, %m", "run the statement that makes it again, %m",
     "not ours; move it to a schema of your own, or drop it"},
    {"index", "%w;", "DROP INDEX %n; %w;", "DROP INDEX %n;"},
    {"not null", "ALTER TABLE %p ALTER COLUMN %n SET NOT NULL;", NULL, "ALTER TABLE %p ALTER COLUMN %n DROP NOT NULL;"},
    {"option", "ALTER TABLE %p SET (%n = %w);", "ALTER TABLE %p SET (%n = %w);", NULL},
    {"owner", NULL, "ALTER %n OWNER TO %w;", NULL},
    {"partition", "ALTER TABLE %p ATTACH PARTITION %n %w;",
     "ALTER TABLE %p DETACH PARTITION %n; ALTER TABLE %p ATTACH PARTITION %n %w;",
     "ALTER TABLE %p DETACH PARTITION %n;"},
    {"persistence", NULL, "ALTER TABLE %n SET %w;", NULL},
    {"privilege", "GRANT %w ON %p TO %n;", "REVOKE ALL ON %p FROM %n; GRANT %w ON %p TO %n;",
     "REVOKE ALL ON %p FROM %n;"},
    {"row security", NULL, "ALTER TABLE %n %w ROW LEVEL SECURITY;", NULL},
    {"rule", NULL, NULL, "DROP RULE %n ON %p;"},
    {"sequence", "run the statement that makes it again, %m", "ALTER SEQUENCE %n %w;", "not ours; drop it"},
    {"table", "run the statement that makes it again, %m; rows that it held are in your backup only",
     "make it again, as %m, and copy its rows", "not ours; move it to a schema of your own, or drop it"},
    {"trigger", "%w;", "DROP TRIGGER %n ON %p; %w;", "DROP TRIGGER %n ON %p;"},
    {"trigger state", NULL, "ALTER TABLE %p ENABLE TRIGGER %n;", NULL},
    {"view", "run the statement that makes it again, %m", "run the statement that makes it again, %m",
     "not ours; move it to a schema of your own, or drop it"},
    {0},
};

const char *verify_difference_name(enum verify_difference difference)
{
    static const char *const names[] = {"same", "missing", "changed", "unexpected"};
    return names[difference];
}

static enum verify_difference compare(const struct verify_object *object)
{
    if (!object->found)
        return VERIFY_MISSING;
    if (!object->wanted)
        return VERIFY_UNEXPECTED;
    return strcmp(object->wanted, object->found) == 0 ? VERIFY_SAME : VERIFY_CHANGED;
}

/* Which migration has the newest text of a function, table or view: "in 0002_outbox.sql". Those that a function or a
 * loop makes have no statement that names them. */
static void where_made(const struct verify_object *object, int32_t version, char *out, size_t size)
{
    size_t count, length = strcspn(object->name, "(");
    const struct migration *all = migrations(&count);
    snprintf(out, size, "see boxrelay migrate print");
    for (size_t i = 0; i < count && all[i].version <= version; i++)
        for (const char *at = all[i].text; (at = strstr(at, "CREATE ")); at += strlen("CREATE ")) {
            const char *name = strstr(at, "relay.");
            if (name && name < strchrnul(at, '\n') && !memmem(at, (size_t)(name - at), " ON ", 4) &&
                strncmp(name, object->name, length) == 0 && strchr("( \n", name[length]))
                snprintf(out, size, "in %s", all[i].file);
        }
}

static void write_mend(struct verify_object *object, int32_t version)
{
    const struct rule *rule = rules;
    while (rule->kind && strcmp(rule->kind, object->kind) != 0)
        rule++;
    const char *const templates[] = {NULL, rule->missing, rule->changed, rule->unexpected};
    const char *text = templates[object->difference];
    char made[128];
    where_made(object, version, made, sizeof made);
    size_t length = 0;
    for (text = text ? text : "make it as the migrations do, %m"; *text && length < sizeof object->mend - 1; text++) {
        const char *value = NULL;
        if (*text == '%') {
            text++;
            value = *text == 'p' ? object->place : *text == 'n' ? object->name : *text == 'm' ? made : object->wanted;
        }
        int added = snprintf(object->mend + length, sizeof object->mend - length, "%.*s", value ? 1000000 : 1,
                             value ? value : text);
        length += (size_t)added;
    }
}

static const char *text_or_null(const PGresult *rows, int row, int column)
{
    return PQgetisnull(rows, row, column) ? NULL : PQgetvalue(rows, row, column);
}

static enum error_class find_list(int32_t version, const char **list, struct error *error)
{
    size_t count;
    const struct migration *all = migrations(&count);
    *list = NULL;
    if (version == 0)
        return migrate_fail_missing(error);
    for (size_t i = 0; i < count; i++)
        if (all[i].version == version)
            *list = all[i].objects;
    if (*list)
        return ERROR_NONE;
    if (count && version > all[count - 1].version) {
        error_set(error, ERROR_INTEGRITY, "SCHEMA_TOO_NEW",
                  "schema relay of this database is at version %d, this boxrelay knows the objects of versions to %d",
                  version, all[count - 1].version);
        return error_hint(error, "use the boxrelay that the migrations came with");
    }
    error_set(error, ERROR_CONFIG, "SCHEMA_TOO_OLD",
              "schema relay of this database is at version %d, whose objects this boxrelay does not know", version);
    return error_hint(error, "apply the newer migrations: boxrelay migrate up, or your own runner");
}

enum error_class verify_schema(struct session *session, int32_t *version,
                               void (*visit)(void *opaque, const struct verify_object *object), void *opaque,
                               struct error *error)
{
    const char *list;
    PGresult *rows;
    if (migrate_version(session, version, error) || find_list(*version, &list, error))
        return error->class;
    if (session_exec(session, sql_verify, 1, &list, &rows, error))
        return error->class;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct verify_object object = {
            .kind = PQgetvalue(rows, row, 0),
            .place = PQgetvalue(rows, row, 1),
            .name = PQgetvalue(rows, row, 2),
            .wanted = text_or_null(rows, row, 3),
            .found = text_or_null(rows, row, 4),
        };
        object.difference = compare(&object);
        if (object.difference != VERIFY_SAME)
            write_mend(&object, *version);
        visit(opaque, &object);
    }
    PQclear(rows);
    return ERROR_NONE;
}
