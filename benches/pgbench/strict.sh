#!/usr/bin/env bash
# Throughput of tagged statements, each on disk in the log before it is forwarded, beside that of untagged ones, and what the
# disk's own fdatasync allows. Interleaved rounds.
#
# Usage: benches/pgbench/strict.sh [ROUNDS] [SECONDS A ROUND] [CLIENTS]
# The log lies in TMPDIR: point it at the disk that is to be measured.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3} seconds=${2:-3} clients=${3:-16}

[ -n "${PREBUILT:-}" ] || cargo build --release --locked --bin holdgate
binary=${BINARY:-target/release/holdgate}
work=$(mktemp -d)
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
as_server() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
cleanup() {
  kill "${pids[@]}" 2>/dev/null || true
  as_server "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$work"
}
pids=()
trap cleanup EXIT
[ "$(id -u)" = 0 ] && chown postgres "$work"

pg=$(free_port) port=$(free_port)
as_server "$bin/initdb" -D "$work/data" -U postgres -A trust -N >/dev/null
as_server "$bin/pg_ctl" -D "$work/data" -w -l "$work/server.log" \
  -o "-p $pg -c fsync=off -c unix_socket_directories='$work' -c listen_addresses=127.0.0.1" start >/dev/null
psql -qX "postgres://postgres@127.0.0.1:$pg/postgres" -c "CREATE TABLE people (id int PRIMARY KEY, email text, city text);
  INSERT INTO people SELECT i, 'p' || i, 'c' || i FROM generate_series(1, 10000) i; ANALYZE people"
# No budget: a shipped one would end the rounds.
printf '%s\n' 'version: 1' 'tags:' '  - { columns: [email], tag: user.contact.email }' 'rules: []' 'default: allow' >"$work/policy.yaml"
"$binary" serve --policies "$work/policy.yaml" --upstream "postgres://postgres@127.0.0.1:$pg/postgres" --listen "127.0.0.1:$port" --http 127.0.0.1:0 \
  --state "$work/state" 2>"$work/proxy.log" & pids+=($!)
until grep -q "ready http" "$work/proxy.log"; do sleep 0.1; done

printf '%s\n' '\set id random(1, 10000)' 'SELECT email FROM people WHERE id = :id;' >"$work/tagged.sql"
printf '%s\n' '\set id random(1, 10000)' 'SELECT city FROM people WHERE id = :id;' >"$work/untagged.sql"
tps() { # script -> tps
  pgbench -n -M extended -c "$clients" -j 2 -T "$seconds" -f "$work/$1.sql" "postgres://postgres@127.0.0.1:$port/postgres" \
    2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}
fdatasync() { # -> median seconds, on the log's own disk, of appends as long as a record
  python3 - "$work/state/log" <<'PY'
import os, statistics, sys, tempfile, time
with tempfile.NamedTemporaryFile(dir=sys.argv[1]) as file:
    took = []
    for _ in range(100):
        os.write(file.fileno(), b"x" * 1000)
        since = time.perf_counter()
        os.fdatasync(file.fileno())
        took.append(time.perf_counter() - since)
print(statistics.median(took))
PY
}
: >"$work/rounds"
for _ in $(seq "$rounds"); do
  echo "$(fdatasync) $(tps untagged) $(tps tagged)" >>"$work/rounds"
done
python3 - "$work/rounds" "$clients" <<'PY'
import statistics, sys
rows = [[float(word) for word in line.split()] for line in open(sys.argv[1])]
sync, untagged, tagged = (statistics.median(column) for column in zip(*rows))
clients = int(sys.argv[2])
wanted = min(0.6 * untagged, 0.7 * clients / sync)
print(f"fdatasync {sync * 1000:.2f} ms, {clients} clients: untagged {untagged:.0f} tps, tagged {tagged:.0f} tps")
print(f"wanted min(60 % of untagged {0.6 * untagged:.0f}, 0.7 x clients / fdatasync {0.7 * clients / sync:.0f}) = "
      f"{wanted:.0f}: {tagged / wanted:.2f} of it")
PY
