"""The suites by name, in the order in which they run."""

from suites import node, postgres, python, rust

SUITES = {
    suite.name: suite
    for suite in [
        postgres.Regress(),
        postgres.Isolation(),
        postgres.Pipeline(),
        python.Psycopg3(),
        python.Psycopg2(),
        python.Asyncpg(),
        python.SqlAlchemy(),
        python.SqlAlchemyOrm(),
        python.Django(),
        python.DjangoModels(),
        node.NodePostgres(),
        rust.RustPostgres(),
        rust.Sqlx(),
    ]
}
