"""Other people's migration runners, each called as its users call it.

    runners.apply("flyway", folder, dsn)   # what it said; folder holds what `boxrelay migrate print --dir` wrote

They come from Debian (tests/install.sh) or from their registries, into the cache folder.
"""
import os
import shutil
import subprocess
from pathlib import Path

from servers import jars
from servers.cache import build_once
from servers.paths import cache_dir

HERE = Path(__file__).resolve().parent
GOLANG_MIGRATE = "github.com/golang-migrate/migrate/v4/cmd/migrate@v4.15.2"  # later ones need a newer Go than Debian's


def parts(dsn):
    """host, port, dbname and user of a conninfo string."""
    return dict(word.split("=", 1) for word in dsn.split())


def url(dsn, **more):
    """postgres://... as Go's and Node's libraries want it."""
    query = "&".join(["sslmode=disable", *(f"{key}={value}" for key, value in more.items())])
    return "postgres://{user}@{host}:{port}/{dbname}?".format(**parts(dsn)) + query


def environment(dsn, **more):
    """libpq's variables; nothing of the user's home."""
    named = parts(dsn)
    return {**os.environ, "PGHOST": named["host"], "PGPORT": named["port"], "PGDATABASE": named["dbname"],
            "PGUSER": named["user"], **more}


def call(*argv, cwd=None, env=None, timeout=280):
    """Runs it; stdout and stderr. It must succeed."""
    done = subprocess.run([str(word) for word in argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False)
    assert done.returncode == 0, f"{argv[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


# ---- where they come from ----

def java_jars():
    """Flyway, Liquibase and the driver."""
    def fetch(folder):
        jars.maven("-f", str(HERE / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime",
                    f"-DoutputDirectory={folder}", log=f"{folder}/maven.log")
        os.unlink(f"{folder}/maven.log")
    return build_once("runners-java-1", fetch)


def node_modules():
    """knex, node-pg-migrate and dbmate in a package of ES modules, as new ones are."""
    def fetch(folder):
        shutil.copy(HERE / "package.json", folder)
        call("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", cache_dir() / "npm", cwd=folder)
    return build_once("runners-node-2", fetch)


def golang_migrate_program():
    """Its command line with PostgreSQL's driver alone; half a minute on two cores, once."""
    def fetch(folder):
        env = {**os.environ, "GOPATH": str(cache_dir() / "go"), "GOCACHE": str(cache_dir() / "go-build"),
               "GOBIN": folder, "GOFLAGS": "-modcacherw", "CGO_ENABLED": "0"}
        call("go", "install", "-tags", "postgres", "-ldflags", "-s -w", GOLANG_MIGRATE, env=env, timeout=900)
    return build_once("runners-golang-migrate-4.15.2", fetch) / "migrate"


# ---- how they are called ----

def psql(folder, dsn):
    """One transaction a file."""
    for file in sorted(folder.glob("*.sql")):
        call("psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", file)


def flyway(folder, dsn):
    named = parts(dsn)
    classes = build_once("runners-flyway-1", lambda target: call(
        "javac", "-cp", f"{java_jars()}/*", "-d", target, HERE / "Migrate.java"))
    return call("java", "-cp", f"{classes}:{java_jars()}/*", "Migrate",
                "jdbc:postgresql://{host}:{port}/{dbname}".format(**named), named["user"], folder)


def liquibase(folder, dsn):
    named = parts(dsn)
    files = sorted(file.name for file in folder.glob("*.sql"))
    (folder / "changelog.yaml").write_text(
        "databaseChangeLog:\n" + "".join(f"  - include: {{ file: {name} }}\n" for name in files))
    return call("java", "-cp", f"{java_jars()}/*", "liquibase.integration.commandline.LiquibaseCommandLine",
                f"--search-path={folder}", "--show-banner=false", "update",
                "--url=jdbc:postgresql://{host}:{port}/{dbname}".format(**named), f"--username={named['user']}",
                "--changelog-file=changelog.yaml", cwd=folder)


def golang_migrate(folder, dsn):
    return call(golang_migrate_program(), "-path", folder, "-database",
                url(dsn, **{"x-migrations-table": "boxrelay_migrations"}), "up")


def dbmate(folder, dsn):
    return call(node_modules() / "node_modules/.bin/dbmate", "--url", url(dsn), "--migrations-dir", folder, "--no-dump-schema", "up")


def sqitch(folder, dsn):
    (folder / "sqitch.conf").write_text("[core]\n    engine = pg\n")
    env = environment(dsn, SQITCH_FULLNAME="Test", SQITCH_EMAIL="test@localhost", LC_ALL="C.UTF-8", HOME=str(folder))
    return call("sqitch", "deploy", "--verify", "db:pg://{user}@{host}:{port}/{dbname}".format(**parts(dsn)),
                cwd=folder, env=env)


def alembic(folder, dsn):
    """A project with a branch of its own beside ours."""
    home = folder.parent / "own"
    if not home.exists():
        call("/usr/bin/python3", "-m", "alembic.config", "init", home, cwd=folder.parent)
        address = "postgresql://{user}@{host}:{port}/{dbname}".format(**parts(dsn))
        (folder.parent / "alembic.ini").write_text(
            f"[alembic]\nscript_location = {home}\nversion_locations = {home}/versions {folder}\n"
            f"version_path_separator = space\nsqlalchemy.url = {address}\n[loggers]\nkeys = root\n[handlers]\nkeys =\n"
            "[formatters]\nkeys =\n[logger_root]\nlevel = WARN\nhandlers =\n")
    return call("/usr/bin/python3", "-m", "alembic.config", "upgrade", "heads", cwd=folder.parent)


def django(folder, dsn):
    app = folder.parent
    for module in (app, folder):
        (module / "__init__.py").touch()
    (app.parent / "settings.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['boxrelay']\nUSE_TZ = True\nDATABASES = {'default': {'ENGINE': "
        "'django.db.backends.postgresql', 'HOST': '%(host)s', 'PORT': '%(port)s', 'NAME': '%(dbname)s', 'USER': "
        "'%(user)s'}}\n" % parts(dsn))
    env = {**os.environ, "PYTHONPATH": str(app.parent), "DJANGO_SETTINGS_MODULE": "settings"}
    return call("/usr/bin/python3", "-m", "django", "migrate", "boxrelay", cwd=app.parent, env=env)


def rails(folder, dsn):
    return call("/usr/bin/ruby", HERE / "migrate.rb", folder, env=environment(dsn))


def prisma(folder, dsn):
    """Its engine is a download from elsewhere: the files are plain SQL, and are applied as such, in its order."""
    for file in sorted(folder.glob("*/migration.sql")):
        call("psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", file)


def knex(folder, dsn):
    project = folder.parent
    config, modules = project / "knexfile.cjs", project / "node_modules"
    if not modules.exists():
        modules.symlink_to(node_modules() / "node_modules")
    config.write_text(f"module.exports = {{ client: 'pg', connection: '{url(dsn)}', "
                      f"migrations: {{ directory: '{folder}' }} }};\n")
    return call(modules / ".bin/knex", "migrate:latest", "--knexfile", config, cwd=project)


def node_pg_migrate(folder, dsn):
    modules = node_modules()
    return call(modules / "node_modules/.bin/node-pg-migrate", "up", "-m", folder, "--migrations-table",
                "boxrelay_migrations", cwd=modules, env={**os.environ, "DATABASE_URL": url(dsn)})


def apply(name, folder, dsn):
    """Applies what is in the folder and was not applied yet, by the runner of that format."""
    runner = psql if name == "plain" else globals()[name.replace("-", "_")]
    return runner(folder, dsn)
