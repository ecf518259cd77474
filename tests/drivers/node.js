// node-postgres through the proxy: what passes directly must pass here. Usage: node node.js DSN
const assert = require("node:assert/strict");
const { once } = require("node:events");
const { pipeline } = require("node:stream/promises");
const { Readable } = require("node:stream");
const { Client, Pool } = require("pg");
const Cursor = require("pg-cursor");
const { from, to } = require("pg-copy-streams");

const connectionString = process.argv[2];

async function statements(client) {
  await client.query("CREATE TABLE t_node (id int PRIMARY KEY, data text)");
  for (let id = 0; id < 50; id++) {
    await client.query("INSERT INTO t_node VALUES ($1, $2)", [id, `row ${id}`]);
  }
  for (let id = 0; id < 10; id++) {
    const { rows } = await client.query({ name: "by-id", text: "SELECT data FROM t_node WHERE id = $1", values: [id] });
    assert.deepEqual(rows, [{ data: `row ${id}` }]);
  }
  const several = await client.query("SELECT 1 AS a; SELECT 2 AS a; SELECT 3 AS a");
  assert.deepEqual(several.map((result) => result.rows[0].a), [1, 2, 3]);
  // Queued at once, answered in order.
  const queued = await Promise.all([...Array(50).keys()].map((n) => client.query("SELECT $1::int AS n", [n])));
  assert.deepEqual(queued.map((result) => result.rows[0].n), [...Array(50).keys()]);
  const binary = await client.query({ text: "SELECT $1::int8 AS n", values: [7], binary: true });
  assert.equal(String(binary.rows[0].n), "7");
}

async function errors(client) {
  await assert.rejects(client.query("INSERT INTO t_node VALUES ($1, 'twice')", [1]), {
    code: "23505",
    table: "t_node",
    constraint: "t_node_pkey",
    detail: "Key (id)=(1) already exists.",
  });
  await assert.rejects(client.query("SELECT nosuch"), { code: "42703", position: "8" });
  await client.query("BEGIN");
  await assert.rejects(client.query("SELECT 1/0"), { code: "22012" });
  await assert.rejects(client.query("SELECT 1"), { code: "25P02" });
  await client.query("ROLLBACK");
}

async function streams(client) {
  const cursor = client.query(new Cursor("SELECT id FROM t_node ORDER BY id"));
  assert.deepEqual((await cursor.read(7)).map((row) => row.id), [0, 1, 2, 3, 4, 5, 6]);
  await cursor.close();
  const lines = Array.from({ length: 1000 }, (_, n) => `${n + 100}\tcopied\n`);
  await pipeline(Readable.from(lines), client.query(from("COPY t_node FROM STDIN")));
  let bytes = 0;
  for await (const chunk of client.query(to("COPY t_node TO STDOUT"))) bytes += chunk.length;
  assert.ok(bytes > 10_000);
  const { rows } = await client.query("SELECT count(*)::int AS n FROM t_node");
  assert.equal(rows[0].n, 1050);
}

async function asynchronous(client) {
  const notice = once(client, "notice");
  await client.query("DO $$ BEGIN RAISE NOTICE 'hello'; END $$");
  assert.equal((await notice)[0].message, "hello");
  const heard = once(client, "notification");
  await client.query("LISTEN node");
  await client.query("NOTIFY node, 'payload'");
  const [notification] = await heard;
  assert.deepEqual([notification.channel, notification.payload], ["node", "payload"]);
  assert.equal(notification.processId, client.processID);
}

async function pooled() {
  const pool = new Pool({ connectionString, max: 4 });
  const sums = await Promise.all([...Array(40).keys()].map((n) => pool.query("SELECT $1::int + 1 AS n", [n])));
  assert.deepEqual(sums.map((result) => result.rows[0].n), [...Array(40).keys()].map((n) => n + 1));
  await pool.end();
}

async function main() {
  const client = new Client({ connectionString });
  await client.connect();
  await statements(client);
  await errors(client);
  await streams(client);
  await asynchronous(client);
  await client.query("DROP TABLE t_node");
  await client.end();
  await pooled();
  console.log("all passed");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
