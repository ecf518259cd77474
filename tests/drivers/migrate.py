"""Sends the statements of a file as migration tools of Python do: python migrate.py HOW DSN FILE."""

import asyncio
import sys

how, dsn, path = sys.argv[1:4]
with open(path) as file:
    text = file.read()
statements = [part for part in text.split(";\n") if part.strip()]


def psycopg_in_a_transaction(**options):
    import psycopg

    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement, **options)


def psycopg_script():
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(text)


async def asyncpg_in_a_transaction():
    import asyncpg

    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        for statement in statements:
            # A prepared statement, over the extended protocol.
            await connection.fetch(statement)
    await connection.close()


async def asyncpg_script():
    import asyncpg

    connection = await asyncpg.connect(dsn)
    await connection.execute(text)
    await connection.close()


if how == "psycopg":
    psycopg_in_a_transaction()
elif how == "psycopg-prepared":
    psycopg_in_a_transaction(prepare=True)
elif how == "psycopg-script":
    psycopg_script()
elif how == "asyncpg":
    asyncio.run(asyncpg_in_a_transaction())
elif how == "asyncpg-script":
    asyncio.run(asyncpg_script())
else:
    sys.exit(f"no way {how}")
