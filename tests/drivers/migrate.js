// Sends a file as migration tools of Node do: node migrate.js HOW DSN FILE.
const fs = require("node:fs");
const { Client } = require("pg");

async function main([how, dsn, path]) {
  const text = fs.readFileSync(path, "utf8");
  const client = new Client({ connectionString: dsn });
  await client.connect();
  if (how === "script") {
    await client.query(text);
  } else {
    const statements = text.split(";\n").filter((part) => part.trim());
    await client.query("BEGIN");
    for (const [index, statement] of statements.entries()) {
      // A name makes it a prepared statement, over the extended protocol.
      await client.query(how === "prepared" ? { name: `s${index}`, text: statement } : statement);
    }
    await client.query("COMMIT");
  }
  await client.end();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
