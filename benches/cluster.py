#!/usr/bin/env python3
"""Cluster mode by traffic: throughput beside pm2 and bare SO_REUSEPORT, and the long proof that nobody notices a reload.

    benches/cluster.py throughput           ten interleaved pairs for new and for kept connections
    benches/cluster.py reloads              twenty reloads of each server under load
    benches/cluster.py reloads --only go    of one of them
    benches/cluster.py kills                fifty times kill -9 of an instance under load
    benches/cluster.py skew                 how long requests take where the work is not even, by balance
    benches/cluster.py show [--write]       the tables of what was measured, and into docs/BENCHMARKS.md

Needs a C compiler, Node with npm, Go, Python, cargo, lighttpd and busybox, and the examples as they are built by
examples/README.md. Measurements are kept in --results, so that they can be taken one after the other.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare import PAGE, ROOT, machine
from managers import Failed, Pm2, Rsx, run, wait_gone

INSTANCES = 4
EXAMPLES = ROOT / "examples"

NODE = "require('http').createServer((_, a) => a.end(`pid ${process.pid}`)).listen(+process.env.PORT, '127.0.0.1')\n"

PYTHON = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = b'pid %d' % os.getpid()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.request_queue_size = 200
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
"""

GO = """package main

import ("fmt"; "net/http"; "os")

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "pid %d", os.Getpid()) })
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
"""

# Sets SO_REUSEPORT before each bind: what the kernel does by itself, without anybody's steering.
SHARE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    return ((int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind"))(fd, address, length);
}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Bench:
    def __init__(self, folder, binary, cache):
        self.folder, self.binary, self.cache = folder, binary, cache
        self.rsx = Rsx(folder / "r", None, binary)
        self.load = self.compiled("load", ROOT / "benches/load.c")

    def compiled(self, name, source, *flags):
        target = self.folder / name
        run(["cc", "-O2", "-Wall", "-o", target, source, *flags], dict(os.environ))
        return target

    def start(self, name, count, port, **keys):
        # As in TOML, but for tables.
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if key != "env"]
        lines += [f"env = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in keys.get('env', {}).items())} }}"]
        config = self.folder / f"{name}.toml"
        config.write_text(f'[[apps]]\nname = "{name}"\nport = {port}\ninstances = {count}\n' + "\n".join(lines) + "\n")
        run([self.binary, "start", config], self.rsx.env)

    def verb(self, *words):
        return run([self.binary, *words], self.rsx.env, 300)

    def traffic(self, kind, port, connections, think, seconds):
        command = [self.load, kind, port, connections, think, seconds]
        return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)

    def measured(self, kind, port, seconds):
        return json.loads(self.traffic(kind, port, 64, 0, seconds).communicate(timeout=60)[0])


# The servers of the proof: what is declared of each.


def express(bench, port):
    return {"script": str(EXAMPLES / "express/app.js")}


def node(bench, port):
    (bench.folder / "web.js").write_text(NODE)
    return {"script": str(bench.folder / "web.js")}


def go(bench, port):
    source = bench.folder / "main.go"
    source.write_text(GO)
    run(["go", "build", "-o", bench.folder / "goweb", source], {**os.environ, "CGO_ENABLED": "0"})
    return {"script": str(bench.folder / "goweb")}


def python(bench, port):
    (bench.folder / "web.py").write_text(PYTHON)
    return {"script": str(bench.folder / "web.py"), "interpreter": sys.executable}


def rust(bench, port):
    return {"script": str(EXAMPLES / "rust/target/release/rsx-example-server")}


def pages(bench, text):
    root = bench.folder / "www"
    root.mkdir(exist_ok=True)
    (root / "index.html").write_text(text)
    return root


def lighttpd(bench, port):
    root, file = pages(bench, "hello"), bench.folder / "lighttpd.conf"
    file.write_text(
        f'server.document-root = "{root}"\nserver.port = {port}\nserver.bind = "127.0.0.1"\n'
        'index-file.names = ( "index.html" )\n'
    )
    return {"script": "lighttpd", "args": ["-D", "-f", str(file)]}


def busybox(bench, port):
    root = pages(bench, "hello")
    return {"script": "busybox", "args": ["httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", str(root)]}


SERVERS = {
    "express": ("Express (Node), handler for SIGTERM", express),
    "node": ("Node, no handler", node),
    "go": ("Go, static, no handler", go),
    "python": ("Python `http.server`, no handler", python),
    "rust": ("Rust", rust),
    "lighttpd": ("lighttpd", lighttpd),
    "busybox": ("`busybox httpd`, announces the end", busybox),
}


# Those that announce the end of each connection: by themselves, or told by the agent in Node.
ANNOUNCED = ("express", "node", "busybox")


def reloads(bench, name, count):
    """Both kinds of clients at once; the figures of each."""
    port = free_port()
    bench.start("web", INSTANCES, port, **SERVERS[name][1](bench, port))
    new = bench.traffic("new", port, 8, 8, 3600)
    kept = bench.traffic("kept", port, 64, 100, 3600)
    try:
        time.sleep(10)
        for client in (new, kept):
            client.send_signal(signal.SIGUSR1)
        began = time.monotonic()
        for number in range(count):
            bench.verb("reload", "web")
            print(f"  {name}: reload {number + 1} of {count}", file=sys.stderr, flush=True)
        took = (time.monotonic() - began) / count
        time.sleep(1)
    finally:
        figures = {}
        for kind, client in (("new", new), ("kept", kept)):
            client.terminate()
            figures[kind] = json.loads(client.communicate(timeout=30)[0])
        bench.verb("delete", "web")
    return {**figures, "reloads": count, "took": took}


def kills(bench, count):
    """What was lost, and what the dead had taken and not answered: they count in memory that outlives them."""
    port, counts = free_port(), bench.folder / "counts"
    counts.mkdir()
    server = bench.compiled("counting", ROOT / "tests/it/traffic/counting.c")
    bench.start(
        "web", INSTANCES, port, script=str(server), args=[str(port), str(counts)], restart_delay=0, max_restarts=1000
    )
    client = bench.traffic("new", port, 16, 5, 3600)
    try:
        time.sleep(3)
        client.send_signal(signal.SIGUSR1)
        in_hand = 0
        for number in range(count):
            apps = json.loads(bench.verb("ls", "--json"))
            pid = apps[0]["slots"][number % INSTANCES]["pid"]
            handle = os.pidfd_open(pid)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
            # It is replaced at once; what waited in its queue is answered by then.
            time.sleep(0.3)
            taken, answered = struct.unpack("QQ", (counts / str(pid)).read_bytes())
            in_hand += taken - answered
    finally:
        client.terminate()
        figures = json.loads(client.communicate(timeout=30)[0])
        bench.verb("delete", "web")
    return {**figures, "kills": count, "in_hand": in_hand}


def throughput(bench, pairs, seconds):
    """Requests a second of the same Express app: rsx, pm2's cluster mode, and the same processes on bare SO_REUSEPORT."""
    app, instances = EXAMPLES / "express/app.js", len(os.sched_getaffinity(0))
    env = {"NODE_ENV": "production"}
    ports = {name: free_port() for name in ("rsx", "pm2", "bare")}
    pm2 = Pm2(bench.folder / "p", None, bench.cache / "pm2")
    share = bench.folder / "share.c"
    share.write_text(SHARE)
    preload = bench.compiled("share.so", share, "-shared", "-fPIC", "-ldl")
    bare = []
    try:
        bench.start("web", instances, ports["rsx"], script=str(app), env=env)
        config = pm2.home / "web.json"
        declared = {"name": "web", "script": str(app), "exec_mode": "cluster", "instances": instances}
        config.write_text(json.dumps({"apps": [{**declared, "env": {**env, "PORT": ports["pm2"]}}]}))
        run([pm2.binary, "start", config], pm2.env)
        environment = {**os.environ, **env, "PORT": str(ports["bare"]), "LD_PRELOAD": str(preload)}
        for _ in range(instances):
            bare.append(subprocess.Popen(["node", str(app)], env=environment, stdout=subprocess.DEVNULL, start_new_session=True))
        time.sleep(3)
        rates = {kind: {name: [] for name in ports} for kind in ("new", "kept")}
        for kind in rates:
            for port in ports.values():
                bench.measured(kind, port, 1)
            for pair in range(pairs):
                # Each begins once in three times.
                names = list(ports)[pair % 3 :] + list(ports)[: pair % 3]
                for name in names:
                    seen = bench.measured(kind, ports[name], seconds)
                    if seen["failed"]:
                        raise Failed(f"{name}: {seen['reasons']}")
                    rates[kind][name].append(seen["requests"] / seen["seconds"])
                print(f"  {kind}: " + ", ".join(f"{n} {r[-1]:.0f}/s" for n, r in rates[kind].items()), file=sys.stderr)
        return {"rates": rates, "instances": instances, "pm2": pm2.version(), "node": run(["node", "--version"], env | {"PATH": os.environ["PATH"]}).strip()}
    finally:
        for process in bare:
            process.terminate()
        for process in bare:
            process.wait(timeout=20)
        pm2.end()


# One request at a time, as a program with an event loop has it. Work is a pause, so that the cores are free for the others.
UNEVEN = """
const pause = new Int32Array(new SharedArrayBuffer(4))
const one = process.env.NODE_APP_INSTANCE === '0', kind = process.env.KIND
const work = () => kind === 'instance' ? (one ? 12 : 1) : Math.random() < 0.02 ? 60 : 1
require('http').createServer((_, a) => { Atomics.wait(pause, 0, 0, work()); a.end('x') }).listen(+process.env.PORT, '127.0.0.1')
"""

SKEWS = {
    "requests": "one request in 50 takes 60 ms, the others 1 ms",
    "instance": "one instance takes 12 ms a request, the others 1 ms",
}
BALANCES = ("random", "least", "shared")


def skew(bench, rounds, seconds):
    """The latencies of new connections, of the three balances side by side, one after the other, several times."""
    script = bench.folder / "uneven.js"
    script.write_text(UNEVEN)
    found = {}
    for kind in SKEWS:
        ports = {balance: free_port() for balance in BALANCES}
        seen = found[kind] = {balance: [] for balance in BALANCES}
        for balance, port in ports.items():
            bench.start(balance, INSTANCES, port, script=str(script), balance=balance, env={"KIND": kind})
        try:
            for turn in range(rounds):
                names = list(ports)[turn % 3 :] + list(ports)[: turn % 3]
                for name in names:
                    # The weights of `least` follow within seconds.
                    client = bench.traffic("new", ports[name], 12, 20, seconds)
                    figures = json.loads(client.communicate(timeout=60)[0])
                    if figures["failed"]:
                        raise Failed(f"{name}: {figures['reasons']}")
                    seen[name].append(figures)
        finally:
            bench.verb("delete", "all")
    return {"latencies": found}


# The tables.


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def throughput_table(found):
    rows = [
        row("Express, requests a second", "rsx", f"pm2 {found['pm2']} cluster", "bare SO_REUSEPORT", "rsx ÷ pm2", "to hold", "rsx ÷ bare", "to hold"),
        row("---", *["---:"] * 7),
    ]
    for kind, label, limit in (("new", "new connections", 1.25), ("kept", "kept connections", 1.0)):
        rates = found["rates"][kind]
        ratio = {
            peer: statistics.median([ours / theirs for ours, theirs in zip(rates["rsx"], rates[peer])])
            for peer in ("pm2", "bare")
        }
        medians = [f"{statistics.median(rates[name]):,.0f}" for name in ("rsx", "pm2", "bare")]
        held = lambda value, least: f"{value:.2f}" if value >= least else f"**{value:.2f}**"
        rows.append(
            row(label, *medians, held(ratio["pm2"], limit), f"≥ {limit:.2f}", held(ratio["bare"], 0.95), "≥ 0.95")
        )
    return "\n".join(rows)


def proof_table(found):
    rows = [
        row("server, 4 instances", "reloads", "new: requests", "failed", "slowest (steady p99.9)", "kept: requests", "failed", "slowest (steady p99.9)", "a reload takes"),
        row("---", *["---:"] * 8),
    ]
    for name, (label, _) in SERVERS.items():
        if name not in found:
            continue
        figures = found[name]
        cells = []
        for kind in ("new", "kept"):
            seen = figures[kind]
            lost = seen["failed"] > (0 if kind == "new" or name in ANNOUNCED else min(seen["requests"] / 1000, INSTANCES * figures["reloads"]))
            slow = seen["max"] > seen["steady_p999"] + 500
            failed = f"**{seen['failed']}**" if lost else str(seen["failed"])
            slowest = f"{seen['max']:.0f} ms ({seen['steady_p999']:.0f})"
            cells += [f"{seen['requests']:,}", failed, f"**{slowest}**" if slow else slowest]
        rows.append(row(label, str(figures["reloads"]), *cells, f"{figures['took']:.1f} s"))
    return "\n".join(rows)


def skew_table(found):
    rows = [
        row("4 instances, a request at a time each", "balance", "requests/s", "p50", "p99", "p99.9", "slowest"),
        row("---", "---", *["---:"] * 5),
    ]
    for kind, label in SKEWS.items():
        for balance, seen in found["latencies"][kind].items():
            middle = lambda key: statistics.median(figures[key] for figures in seen)
            rate = statistics.median(figures["requests"] / figures["seconds"] for figures in seen)
            slowest = max(figures["max"] for figures in seen)
            times = [f"{middle(key):.1f} ms" for key in ("p50", "p99", "p999")]
            rows.append(row(label, f"`{balance}`", f"{rate:,.0f}", *times, f"{slowest:.0f} ms"))
            label = ""
    return "\n".join(rows)


def kills_line(found):
    return (
        f"kill -9 of an instance, {found['kills']} times under load: {found['requests']:,} requests answered, "
        f"{found['failed']} failed; the dead had taken and not answered {found['in_hand']}. Slowest: {found['max']:.0f} ms."
    )


def tables(results):
    parts = {}
    if "throughput" in results:
        parts["throughput"] = f"{results['throughput']['machine']}\n\n{throughput_table(results['throughput'])}"
    if "skew" in results:
        parts["skew"] = f"{results['skew']['machine']}\n\n{skew_table(results['skew'])}"
    proofs = []
    if "reloads" in results:
        proofs.append(f"{results['reloads']['machine']}\n\n{proof_table(results['reloads'])}")
    if "kills" in results:
        proofs.append(f"{results['kills']['machine']}\n\n{kills_line(results['kills'])}")
    if proofs:
        parts["proof"] = "\n\n".join(proofs)
    return parts


def write(parts):
    page = PAGE.read_text()
    for name, text in parts.items():
        before, found, rest = page.partition(f"<!-- {name}: begin -->")
        _, end, after = rest.partition(f"<!-- {name}: end -->")
        if not (found and end):
            raise Failed(f"{PAGE}: the markers of `{name}` are gone")
        page = f"{before}{found}\n{text}\n{end}{after}"
    PAGE.write_text(page)


def keep(options, results):
    results[options.what]["machine"] = machine()
    options.results.write_text(json.dumps(results, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["throughput", "reloads", "kills", "skew", "show"])
    parser.add_argument("--rsx", type=Path, help="the binary; default: a release build of this tree")
    parser.add_argument("--cache", type=Path, help="where pm2 is installed, to be used again")
    parser.add_argument("--results", type=Path, default=ROOT / "target/cluster-bench.json", help="where figures are kept")
    parser.add_argument("--only", help="which servers, separated by commas")
    parser.add_argument("--count", type=int, help="how many reloads (20), kills (50), pairs (10), or rounds (5)")
    parser.add_argument("--seconds", type=float, default=3, help="of each throughput measurement")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    if options.what != "show":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        with tempfile.TemporaryDirectory(prefix="rc", dir="/tmp") as name:
            folder = Path(name)
            binary = options.rsx and options.rsx.resolve()
            if binary is None:
                run(["cargo", "build", "--release", "--manifest-path", ROOT / "Cargo.toml"], dict(os.environ), 1800)
                binary = ROOT / "target/release/rsx"
            bench = Bench(folder, binary, (options.cache or folder).resolve())
            try:
                if options.what == "throughput":
                    results["throughput"] = throughput(bench, options.count or 10, options.seconds)
                elif options.what == "skew":
                    results["skew"] = skew(bench, options.count or 5, options.seconds)
                elif options.what == "kills":
                    results["kills"] = kills(bench, options.count or 50)
                else:
                    for server in (options.only or ",".join(SERVERS)).split(","):
                        results.setdefault("reloads", {})[server] = reloads(bench, server, options.count or 20)
                        keep(options, results)
                keep(options, results)
            finally:
                pids = bench.rsx.pids()
                run([binary, "kill"], bench.rsx.env, 60)
                wait_gone(pids)
    parts = tables(results)
    print("\n\n".join(parts.values()))
    if options.write:
        write(parts)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(f"error: {failed}")
