"""Suites of Python: drivers and what stands on them. Outcomes come from JUnit files."""

import os
import pathlib
import shutil
import xml.etree.ElementTree

import fetch
import places
from suites.suite import Suite

PYTEST = ["pytest==8.4.2", "pytest-timeout==2.4.0"]


class Pytest(Suite):
    """A suite that pytest runs; one test may take two minutes."""

    package = ""
    needs = ()
    paths = ("tests",)
    arguments = ()

    def prepare(self):
        self.source = self.fetch()
        self.python = fetch.venv(self.package.partition("==")[0] or self.name, *PYTEST, *self.needs)

    def fetch(self):
        """A folder with the tests alone, so that they meet the installed package and not its source."""
        tests = places.folder("tests", self.name)
        if not (tests / "tests").exists():
            shutil.copytree(fetch.sdist(self.package) / "tests", tests / "tests")
            places.own_tree(tests)
        return tests

    def run(self, target):
        results = target.place / "results.xml"
        self.execute(target, [
            self.python, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--timeout=120", f"--junitxml={results}",
            *self.arguments, *self.database(target), *self.paths,
        ], self.environment(target), cwd=self.source)
        return junit(results)

    def database(self, target):
        """What pytest is told of the database."""
        return []

    def environment(self, target):
        """What the tests are told of the database."""
        return {}


def junit(path):
    """Outcomes in a JUnit file; a test that stands there twice has passed if it did both times."""
    found = {}
    if not path.exists():
        return found
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        words = {child.tag for child in case}
        outcome = "failed" if words & {"failure", "error"} else "skipped" if "skipped" in words else "ok"
        found[name] = outcome if found.get(name, "ok") == "ok" else found[name]
    return found


class Psycopg2(Pytest):
    """psycopg2, with its tests of replication."""

    name = "psycopg2"
    package = "psycopg2==2.9.13"
    needs = ("psycopg2==2.9.13",)

    def fill(self, target, cluster):
        cluster.sql("CREATE DATABASE psycopg2_test")
        cluster.sql("CREATE EXTENSION hstore", "psycopg2_test")


class Asyncpg(Pytest):
    """asyncpg, but for what starts servers of its own."""

    name = "asyncpg"
    package = "asyncpg==0.32.0"
    needs = ("asyncpg==0.32.0", "distro")

    def environment(self, target):
        return {"PGDATABASE": "postgres"}


class Psycopg3(Pytest):
    """psycopg 3: its tests are in Debian's source package, or in a checkout of its repository."""

    name = "psycopg3"

    def fetch(self):
        checkout = os.environ.get("PSYCOPG3_SRC") or fetch.debian_tree("psycopg3", "3.1.7")
        self.needs = (f"{checkout}/psycopg[test]", f"{checkout}/psycopg_pool")
        self.arguments = ("-m", "not proxy and not refcount and not slow")
        return pathlib.Path(checkout)

    def database(self, target):
        return [f"--test-dsn=host=127.0.0.1 port={target.port} user=postgres dbname=psycopg3_test"]

    def fill(self, target, cluster):
        cluster.sql("CREATE DATABASE psycopg3_test")


class SqlAlchemy(Pytest):
    """SQLAlchemy's dialect and connections, with psycopg 3; what every dialect has to pass with two more drivers."""

    name = "sqlalchemy"
    package = "sqlalchemy==2.1.9"
    needs = ("psycopg[binary]==3.3.9", "psycopg2==2.9.13", "asyncpg==0.32.0", "greenlet", "typing-extensions")
    paths = ("test/dialect/postgresql", "test/dialect/test_suite.py", "test/engine")
    # It gives up after 250 failures unless told otherwise.
    arguments = ("--maxfail=100000",)
    limit = 3600

    def fetch(self):
        return fetch.sdist(self.package)

    def database(self, target):
        drivers = ("psycopg", "psycopg2", "asyncpg")
        return [
            word for driver in drivers
            for word in ("--dburi", f"postgresql+{driver}://postgres@127.0.0.1:{target.port}/test")]

    def fill(self, target, cluster):
        cluster.sql("CREATE DATABASE test")
        for schema in ["test_schema", "test_schema_2"]:
            cluster.sql(f"CREATE SCHEMA {schema}", "test")
        for extension in ["hstore", "citext"]:
            cluster.sql(f"CREATE EXTENSION {extension}", "test")
        cluster.sql("ALTER DATABASE test SET default_text_search_config = 'pg_catalog.english'")
        cluster.sql("ALTER DATABASE test SET timezone = 'UTC'")


class SqlAlchemyOrm(SqlAlchemy):
    """Its SQL and its ORM."""

    name = "sqlalchemy-orm"
    paths = ("test/sql", "test/orm")


SETTINGS_OF_DJANGO = """
DATABASES = {{
    name: {{
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1", "PORT": {port}, "USER": "postgres", "NAME": name + "_db",
        "TEST": {{"NAME": "test_" + name}},
    }}
    for name in ("default", "other")
}}
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "xmlrunner.extra.djangotestrunner.XMLTestRunner"
TEST_OUTPUT_FILE_NAME = "{results}"
"""


class Django(Suite):
    """Django's tests of its backend, its schema editor and its queries."""

    name = "django"
    package = "django==5.2.19"
    needs = ("psycopg==3.3.9", "unittest-xml-reporting==3.2.0", "asgiref", "sqlparse", "pyyaml", "jinja2", "tblib")
    labels = (
        "backends transactions transaction_hooks queries schema migrations constraints db_typecasts db_utils indexes "
        "inspectdb introspection raw_query select_for_update servers").split()
    limit = 3600

    def prepare(self):
        self.source = fetch.sdist(self.package)
        self.python = fetch.venv("django", *self.needs, self.source)

    def run(self, target):
        results = target.place / "results.xml"
        settings = target.place / "holdgate_settings.py"
        settings.write_text(SETTINGS_OF_DJANGO.format(port=target.port, results=results))
        self.execute(target, [
            self.python, "runtests.py", "--settings=holdgate_settings", "--parallel=1", "--noinput", *self.labels,
        ], {"PYTHONPATH": str(target.place)}, cwd=self.source / "tests")
        return junit(results)


class DjangoModels(Django):
    """Its tests of what models are asked for."""

    name = "django-models"
    labels = (
        "postgres_tests aggregation aggregation_regress annotations bulk_create custom_columns datetimes dates "
        "db_functions delete expressions expressions_case expressions_window get_or_create lookup m2m_regress "
        "model_fields ordering save_delete_hooks select_related timezones update").split()
