#include "migrate_format.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define WHY "a migration does not take schema relay back: rows that are not published yet would be lost"

static const char refuse[] =
    "DO $relay$ BEGIN RAISE EXCEPTION '" WHY "' USING HINT = 'By hand, with all that is in it, if you are sure, "
    "DROP SCHEMA relay CASCADE'; END $relay$;";

/* Each row is run by its tool, or checked, in tests/live/test_runners.py, and shown in docs/migrations.md. */
const struct format formats[] = {
    {.name = "plain",
     .parts = {{"{version}_{name}.sql", "{text}"}},
     .grants = "grants.sql",
     .next = "apply them in order, each in one transaction: psql -1 -v ON_ERROR_STOP=1 -f FILE"},
    {.name = "flyway",
     .parts = {{"V{version}__boxrelay_{name}.sql", "{text}"}},
     .next = "keep them in a location and a history table of their own: flyway -locations=filesystem:DIR "
             "-table=boxrelay_history -baselineOnMigrate=true -baselineVersion=0 migrate"},
    {.name = "liquibase",
     .parts = {{"{version}_boxrelay_{name}.sql",
                "--liquibase formatted sql logicalFilePath:boxrelay/{version}_{name}.sql\n\n"
                "--changeset boxrelay:{version} splitStatements:false stripComments:false\n{text}"
                "--rollback {refuse}\n"}},
     .next = "name each in your changelog, in order: - include: { file: DIR/FILE }; then liquibase update"},
    {.name = "golang-migrate",
     .parts = {{"{version6}_boxrelay_{name}.up.sql", "{text}"}, {"{version6}_boxrelay_{name}.down.sql", "{refuse}\n"}},
     .next = "keep them in a folder and a table of their own: migrate -path DIR -database "
             "'postgres://...&x-migrations-table=boxrelay_migrations' up"},
    {.name = "dbmate",
     .parts = {{"{time}_boxrelay_{version}_{name}.sql", "-- migrate:up\n{text}\n-- migrate:down\n{refuse}\n"}},
     .next = "dbmate up"},
    {.name = "sqitch",
     .parts = {{"deploy/boxrelay_{version}_{name}.sql",
                "-- Deploy boxrelay_{version}_{name} to pg\n\nBEGIN;\n\n{text}\nCOMMIT;\n"},
               {"revert/boxrelay_{version}_{name}.sql", "-- Revert boxrelay_{version}_{name} from pg\n\n{refuse}\n"},
               {"verify/boxrelay_{version}_{name}.sql",
                "-- Verify boxrelay_{version}_{name} on pg\n\n"
                "SELECT 1 / count(*) FROM relay.schema_version WHERE version = {number};\n"},
               {"sqitch.plan",
                "boxrelay_{version}_{name}{previous} {iso} boxrelay <boxrelay@localhost> # schema relay, version "
                "{number}\n",
                "%syntax-version=1.0.0\n%project=boxrelay\n\n"}},
     .first = "",
     .previous = " [boxrelay_{version}_{name}]",
     .next = "DIR is your sqitch project, or one of its own: sqitch deploy"},
    {.name = "alembic",
     .parts = {{"boxrelay_{version}_{name}.py",
                "\"\"\"Schema relay, version {number}: {name}.\"\"\"\n"
                "from alembic import op\nfrom sqlalchemy import text\n\n"
                "revision = \"boxrelay_{version}\"\ndown_revision = {previous}\n"
                "branch_labels = None if down_revision else (\"boxrelay\",)\ndepends_on = None\n\n"
                "SQL = \"\"\"\\\n{text}\"\"\"\n\n\n"
                "def upgrade():\n    op.execute(text(SQL))\n\n\n"
                "def downgrade():\n    raise NotImplementedError(\"{why}\")\n"}},
     .escapes = {{"\\", "\\\\"}, {"\"\"\"", "\\\"\\\"\\\""}},
     .first = "None",
     .previous = "\"boxrelay_{version}\"",
     .next = "DIR is one of your version_locations; they are a branch of their own: alembic upgrade heads"},
    {.name = "django",
     .parts = {{"{version}_{name}.py",
                "\"\"\"Schema relay, version {number}: {name}.\"\"\"\nfrom django.db import migrations\n\n"
                "SQL = \"\"\"\\\n{text}\"\"\"\n\n\n"
                "class Migration(migrations.Migration):\n    atomic = True\n    dependencies = [{previous}]\n"
                "    operations = [migrations.RunSQL(SQL)]\n"}},
     .escapes = {{"\\", "\\\\"}, {"\"\"\"", "\\\"\\\"\\\""}},
     .first = "",
     .previous = "(\"boxrelay\", \"{version}_{name}\")",
     .next = "DIR is boxrelay/migrations of an app \"boxrelay\" with an empty __init__.py in both folders, named in "
             "INSTALLED_APPS: python manage.py migrate boxrelay"},
    {.name = "rails",
     .parts =
         {{"{time}_boxrelay_{version}_{name}.rb",
           "# Schema relay, version {number}: {name}\nclass Boxrelay{version}{Name} < ActiveRecord::Migration[6.1]\n"
           "  def up\n    execute <<~'SQL'\n{text}    SQL\n  end\n\n"
           "  def down\n    raise ActiveRecord::IrreversibleMigration, '{why}'\n  end\nend\n"}},
     .next = "DIR is db/migrate; set config.active_record.schema_format = :sql; bin/rails db:migrate"},
    {.name = "prisma",
     .parts = {{"{time}_boxrelay_{version}_{name}/migration.sql", "{text}"}},
     .next = "DIR is prisma/migrations: npx prisma migrate deploy"},
    {.name = "ef",
     .parts =
         {{"{time}_Boxrelay{version}{Name}.cs",
           "// Schema relay, version {number}: {name}\nusing System;\n"
           "using Microsoft.EntityFrameworkCore.Infrastructure;\nusing Microsoft.EntityFrameworkCore.Migrations;\n\n"
           "namespace Boxrelay.Migrations\n{\n    [DbContext(typeof(AppDbContext))] // put your own here\n"
           "    [Migration(\"{time}_Boxrelay{version}{Name}\")]\n"
           "    public class Boxrelay{version}{Name} : Migration\n    {\n"
           "        protected override void Up(MigrationBuilder migrationBuilder)\n        {\n"
           "            migrationBuilder.Sql(@\"{text}\");\n        }\n\n"
           "        protected override void Down(MigrationBuilder migrationBuilder)\n        {\n"
           "            throw new NotSupportedException(\"{why}\");\n        }\n    }\n}\n"}},
     .escapes = {{"\"", "\"\""}},
     .next = "DIR is the Migrations folder of the project; put your DbContext for AppDbContext: "
             "dotnet ef database update"},
    {.name = "knex",
     .parts = {{"{time}_boxrelay_{version}_{name}.cjs",
                "// Schema relay, version {number}: {name}\nconst sql = `\n{text}`;\n\n"
                "exports.up = (knex) => knex.raw(sql);\n\n"
                "exports.down = async () => {\n  throw new Error('{why}');\n};\n"}},
     .escapes = {{"\\", "\\\\"}, {"`", "\\`"}, {"${", "\\${"}},
     .next = "DIR is your folder of migrations: npx knex migrate:latest"},
    {.name = "node-pg-migrate",
     .parts = {{"{time}000_boxrelay_{version}_{name}.cjs",
                "// Schema relay, version {number}: {name}\nconst sql = `\n{text}`;\n\n"
                "exports.up = (pgm) => pgm.sql(sql);\n\n// {why}\nexports.down = false;\n"}},
     .escapes = {{"\\", "\\\\"}, {"`", "\\`"}, {"${", "\\${"}},
     .next = "keep them in a folder and a table of their own: npx node-pg-migrate up -m DIR "
             "--migrations-table boxrelay_migrations"},
    {0},
};

const struct format *format_find(const char *name)
{
    for (const struct format *format = formats; format->name; format++)
        if (strcmp(format->name, name) == 0)
            return format;
    return NULL;
}

static void add_escaped(const struct format *format, const char *text, struct text *out)
{
    while (*text) {
        size_t escape = 0, length = 1;
        while (escape < FORMAT_ESCAPES_MAX && format->escapes[escape].from &&
               !text_starts(text, format->escapes[escape].from))
            escape++;
        if (escape < FORMAT_ESCAPES_MAX && format->escapes[escape].from) {
            length = strlen(format->escapes[escape].from);
            text_add(out, format->escapes[escape].to);
        } else {
            text_add_bytes(out, text, length);
        }
        text += length;
    }
}

/* dead_letter: DeadLetter */
static void add_camel(const char *name, struct text *out)
{
    for (bool upper = true; *name; upper = *name++ == '_') {
        char letter = (char)(upper ? toupper((unsigned char)*name) : *name);
        if (*name != '_')
            text_add_bytes(out, &letter, 1);
    }
}

/* A time that orders as the numbers do and is the same in every release; before those of anybody's later migrations
 * that need the schema. */
static void add_time(bool iso, int32_t number, struct text *out)
{
    int hours = number / 3600, minutes = number / 60 % 60, seconds = number % 60;
    if (iso)
        text_addf(out, "2025-01-01T%02d:%02d:%02dZ", hours, minutes, seconds);
    else
        text_addf(out, "20250101%02d%02d%02d", hours, minutes, seconds);
}

static void add_previous(const struct format *format, const struct migration *all, size_t index, struct text *out)
{
    if (index == 0)
        text_add(out, format->first);
    else
        format_fill(format, format->previous, all, index - 1, "", out);
}

static void add_value(const struct format *format, const char *key, const struct migration *all, size_t index,
                      const char *text, struct text *out)
{
    const struct migration *migration = &all[index];
    if (strcmp(key, "version") == 0)
        text_addf(out, "%04d", migration->version);
    else if (strcmp(key, "version6") == 0)
        text_addf(out, "%06d", migration->version);
    else if (strcmp(key, "number") == 0)
        text_addf(out, "%d", migration->version);
    else if (strcmp(key, "name") == 0)
        text_add(out, migration->name);
    else if (strcmp(key, "Name") == 0)
        add_camel(migration->name, out);
    else if (strcmp(key, "time") == 0)
        add_time(false, migration->version, out);
    else if (strcmp(key, "iso") == 0)
        add_time(true, migration->version, out);
    else if (strcmp(key, "previous") == 0)
        add_previous(format, all, index, out);
    else if (strcmp(key, "refuse") == 0)
        text_add(out, refuse);
    else if (strcmp(key, "why") == 0)
        text_add(out, WHY);
    else if (strcmp(key, "text") == 0)
        add_escaped(format, text, out);
    else
        text_addf(out, "{%s}", key);
}

void format_fill(const struct format *format, const char *template, const struct migration *all, size_t index,
                 const char *text, struct text *out)
{
    while (*template) {
        size_t plain = strcspn(template, "{"), length;
        text_add_bytes(out, template, plain);
        template += plain;
        if (!*template)
            break;
        length = strspn(template + 1, "abcdefghijklmnopqrstuvwxyzN6");
        if (length == 0 || template[1 + length] != '}') {
            text_add_bytes(out, template ++, 1);
            continue;
        }
        char *key = text_copy_n(template + 1, length);
        add_value(format, key, all, index, text, out);
        free(key);
        template += length + 2;
    }
}
