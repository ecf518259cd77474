#!/usr/bin/env bash
# Ratios of throughput and of proxy CPU a query: direct, a plain TCP relay, Holdgate. Interleaved rounds in one run; absolute
# figures of a noisy machine mean nothing.
#
# Usage: benches/pgbench/run.sh [ROUNDS] [SECONDS A ROUND]
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3} seconds=${2:-3}

[ -n "${PREBUILT:-}" ] || cargo build --release --locked --example tcp_relay --bin holdgate
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

pg=$(free_port) relay=$(free_port) observe=$(free_port) enforce=$(free_port)
as_server "$bin/initdb" -D "$work/data" -U postgres -A trust -N >/dev/null
as_server "$bin/pg_ctl" -D "$work/data" -w -l "$work/server.log" \
  -o "-p $pg -c fsync=off -c unix_socket_directories='$work' -c listen_addresses=127.0.0.1" start >/dev/null
pgbench -i -q -s 5 "postgres://postgres@127.0.0.1:$pg/postgres" 2>/dev/null

target/release/examples/tcp_relay "127.0.0.1:$relay" "127.0.0.1:$pg" & pids+=($!)
relay_pid=$!
start() { # port mode -> pid
  target/release/holdgate serve --upstream "postgres://postgres@127.0.0.1:$pg/postgres" --listen "127.0.0.1:$1" \
    --http 127.0.0.1:0 --state "$work/state-$2" --mode "$2" 2>"$work/$2.log" & pids+=($!)
}
start "$observe" observe; observe_pid=$!
start "$enforce" enforce; enforce_pid=$!
for mode in observe enforce; do until grep -q "ready http" "$work/$mode.log"; do sleep 0.1; done; done

ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
round() { # port pid mode -> "tps cpu_us"
  local before=0 after=0 out tps count
  [ "$2" = - ] || before=$(ticks "$2")
  out=$(pgbench -n -S -M "$3" -c 4 -j 1 -T "$seconds" "postgres://postgres@127.0.0.1:$1/postgres" 2>/dev/null)
  [ "$2" = - ] || after=$(ticks "$2")
  tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' <<<"$out")
  count=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' <<<"$out")
  python3 -c "print($tps, ($after - $before) * 10000 / max($count, 1))"
}

printf '%-9s  %-8s  %12s  %15s\n' protocol through "tps/direct" "proxy CPU us/q"
for mode in simple extended prepared; do
  : >"$work/rounds"
  for _ in $(seq "$rounds"); do
    echo "direct $(round "$pg" - "$mode")" >>"$work/rounds"
    echo "relay $(round "$relay" "$relay_pid" "$mode")" >>"$work/rounds"
    echo "observe $(round "$observe" "$observe_pid" "$mode")" >>"$work/rounds"
    echo "enforce $(round "$enforce" "$enforce_pid" "$mode")" >>"$work/rounds"
  done
  python3 - "$work/rounds" "$mode" <<'PY'
import statistics, sys
rows = [line.split() for line in open(sys.argv[1])]
def of(name, column):
    return [float(row[column]) for row in rows if row[0] == name]
direct = statistics.median(of("direct", 1))
for name in ["relay", "observe", "enforce"]:
    tps, cpu = statistics.median(of(name, 1)), min(of(name, 2))
    print(f"{sys.argv[2]:<9}  {name:<8}  {tps / direct:>12.2f}  {cpu:>15.1f}")
PY
done
