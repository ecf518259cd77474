"""psycopg 3 and asyncpg through the proxy: what passes directly must pass here."""

import asyncio
import sys

import asyncpg
import psycopg

DSN = sys.argv[1]


def psycopg_suite():
    with psycopg.connect(DSN, autocommit=True) as conn:
        assert conn.info.backend_pid == conn.execute("SELECT pg_backend_pid()").fetchone()[0]
        conn.execute("CREATE TABLE t_psycopg (id int PRIMARY KEY, data text)")
        with conn.cursor() as cur:
            cur.executemany("INSERT INTO t_psycopg VALUES (%s, %s)", [(i, f"row {i}") for i in range(100)])
            with cur.copy("COPY t_psycopg FROM STDIN") as copy:
                for i in range(100, 200):
                    copy.write_row((i, f"row {i}"))
            with cur.copy("COPY t_psycopg TO STDOUT (FORMAT binary)") as copy:
                assert sum(len(block) for block in copy) > 1000
        with conn.pipeline():
            cursors = [conn.execute("SELECT %s::int", (i,)) for i in range(20)]
            assert [cur.fetchone()[0] for cur in cursors] == list(range(20))
        for _ in range(10):
            assert conn.execute("SELECT count(*) FROM t_psycopg WHERE id < %s", (50,), prepare=True).fetchone() == (50,)
        with conn.transaction():
            cur = conn.cursor("named")
            cur.execute("SELECT id FROM t_psycopg ORDER BY id")
            assert [row[0] for row in cur.fetchmany(5)] == [0, 1, 2, 3, 4]
        try:
            with conn.transaction():
                conn.execute("INSERT INTO t_psycopg VALUES (1, 'twice')")
            raise AssertionError("a duplicate key passed")
        except psycopg.errors.UniqueViolation as error:
            assert error.diag.constraint_name == "t_psycopg_pkey"
        conn.execute("LISTEN channel")
        conn.execute("NOTIFY channel, 'payload'")
        assert [n.payload for n in conn.notifies(timeout=10, stop_after=1)] == ["payload"]
        with conn.cursor(binary=True) as cur:
            assert cur.execute("SELECT %b::int8, %b::text", (7, "x")).fetchone() == (7, "x")
        conn.execute("DROP TABLE t_psycopg")


async def asyncpg_suite():
    conn = await asyncpg.connect(DSN)
    await conn.execute("CREATE TABLE t_asyncpg (id int PRIMARY KEY, data text)")
    await conn.executemany("INSERT INTO t_asyncpg VALUES ($1, $2)", [(i, str(i)) for i in range(100)])
    for i in range(20):
        assert await conn.fetchval("SELECT data FROM t_asyncpg WHERE id = $1", i) == str(i)
    async with conn.transaction():
        rows = [row async for row in conn.cursor("SELECT id FROM t_asyncpg ORDER BY id", prefetch=7)]
        assert len(rows) == 100
    await conn.copy_records_to_table("t_asyncpg", records=[(i, "c") for i in range(100, 150)])
    try:
        await conn.execute("INSERT INTO t_asyncpg VALUES (1, 'twice')")
        raise AssertionError("a duplicate key passed")
    except asyncpg.UniqueViolationError:
        pass
    try:
        await conn.fetch("SELECT pg_sleep(60)", timeout=0.2)
        raise AssertionError("no timeout")
    except asyncio.TimeoutError:
        pass
    assert await conn.fetchval("SELECT count(*) FROM t_asyncpg") == 150
    await conn.execute("DROP TABLE t_asyncpg")
    await conn.close()


psycopg_suite()
asyncio.run(asyncpg_suite())
print("all passed")
