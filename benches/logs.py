#!/usr/bin/env python3
"""How fast output becomes log files: rsx beside the bare shell, pm2 and supervisord, in one run.

    benches/logs.py measure               lines of 100 bytes, 512 MB, five rounds: some minutes
    benches/logs.py measure --megabytes 64 --rounds 3 --only shell,rsx
    benches/logs.py show [--write]        the table of what was measured, and into docs/BENCHMARKS.md

Needs a C compiler; pm2 and supervisord are installed into a temporary folder, or into --cache. What each figure means is
told in docs/BENCHMARKS.md.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare import machine
from managers import Failed, Pm2, Rsx, Supervisord, run, status_field, wait_gone

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/BENCHMARKS.md"

# key, what it is, beside which of the first two, the least ratio
WAYS = [
    ("bare", "`program > file`", None, None),
    ("cat", "`program \\| cat > file`", None, None),
    ("file", "rsx, `log_driver = \"file\"`", "bare", 0.95),
    ("raw", "rsx, `pipe`", "cat", 0.8),
    ("rotated", "rsx, `pipe`, rotated at 10 MB", None, None),
    ("time", "rsx, `pipe`, `time`", "cat", 0.4),
    ("json", "rsx, `pipe`, `log_type = \"json\"`", "cat", 0.25),
    ("supervisord", "supervisord", None, None),
    ("pm2", "pm2", None, None),
]

SHELL = ("bare", "cat")
RSX = {
    "file": {"log_driver": "file", "rotate": False},
    "raw": {"rotate": False},
    "rotated": {},
    "time": {"time": True, "rotate": False},
    "json": {"log_type": "json", "rotate": False},
}

# How long one round may take.
LIMIT = 300


class Refused(Failed):
    """This rsx cannot do that yet."""


def build(folder):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Failed("a C compiler is needed: `apt-get install gcc libc6-dev`")
    program = folder / "lines"
    source = Path(__file__).parent / "lines.c"
    run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], dict(os.environ))
    return program


def ends(path):
    """Whether the last line has arrived."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 1024))
            tail = file.read()
    except FileNotFoundError:
        return False
    return b" END ." in tail and tail.endswith(b"\n")


def wait_end(path):
    """Nanoseconds of CLOCK_MONOTONIC at which the last line stood in the file, a millisecond too late at most."""
    deadline = time.monotonic() + LIMIT
    while not ends(path):
        if time.monotonic() > deadline:
            raise Failed(f"{path}: not complete after {LIMIT} s")
        time.sleep(0.001)
    return time.monotonic_ns()


class Bench:
    """One folder, one program, one way at a time."""

    def __init__(self, folder, size):
        self.folder, self.size = folder, size
        self.program = build(folder)
        self.marks = folder / "marks"
        self.log = folder / "out.log"

    def clean(self):
        for path in [self.marks, *self.folder.glob("out.log*"), *self.folder.glob(".out.log*")]:
            path.unlink(missing_ok=True)
        # What the last round has left for the disk to write is not this one's.
        os.sync()

    def command(self):
        return [str(self.program), str(self.size), str(self.marks)]

    def took(self):
        """Seconds from the first write to the last line in the file."""
        end = wait_end(self.log)
        deadline = time.monotonic() + 10
        while not (self.marks.exists() and self.marks.read_text().endswith("\n")):
            if time.monotonic() > deadline:
                raise Failed("the program does not come to its end")
            time.sleep(0.001)
        begin, _ = map(int, self.marks.read_text().split())
        return (end - begin) / 1e9

    def beside(self, command, env):
        """Runs a command that starts the program, which may be done before the command is; then see [`took`]."""
        command = [str(word) for word in command]
        verb = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            return self.took()
        finally:
            try:
                verb.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                verb.kill()
                verb.communicate()

    def shell(self, way):
        tail = f"| cat > {self.log}" if way == "cat" else f"> {self.log}"
        script = f"{' '.join(self.command())} {tail}"
        # A session of its own, as managers give.
        shell = subprocess.Popen(["bash", "-c", script], start_new_session=True, stdin=subprocess.DEVNULL)
        try:
            return self.took()
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()


def memory(pids):
    return sum(int(status_field(pid, "VmRSS")) for pid in pids) / 1024


class ByRsx(Rsx):
    def __init__(self, home, bench, binary):
        super().__init__(home, bench.program, binary)
        self.bench = bench
        # The daemon is there before anything is measured.
        idle = {"name": "idle", "script": "sleep 100000"}
        run([self.binary, "start", self.written(idle)], self.env, LIMIT)

    def written(self, app):
        config = self.home / "bench.toml"
        config.write_text("[[apps]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in app.items()))
        return config

    def round(self, way):
        app = {
            "name": "lines",
            "script": str(self.bench.program),
            "args": self.bench.command()[1:],
            "out_file": str(self.bench.log),
            "restart": "never",
            **RSX[way],
        }
        config = self.written(app)
        try:
            run([self.binary, "check", config], self.env)
        except Failed as failed:
            if "not in this version yet" in str(failed):
                raise Refused(way) from None
            raise
        before = memory(self.pids())
        try:
            took = self.bench.beside([self.binary, "start", config], self.env)
            return took, memory(self.pids()) - before
        finally:
            self.delete("lines")


class ByPm2(Pm2):
    def __init__(self, home, bench, prefix):
        super().__init__(home, bench.program, prefix)
        self.bench = bench
        self.boot()

    def round(self, _):
        app = {
            "name": "lines",
            "script": str(self.bench.program),
            "args": self.bench.command()[1:],
            "interpreter": "none",
            "exec_mode": "fork",
            "out_file": str(self.bench.log),
            "autorestart": False,
        }
        config = self.home / "lines.json"
        config.write_text(json.dumps({"apps": [app]}))
        before = memory(self.pids())
        try:
            took = self.bench.beside([self.binary, "start", config], self.env)
            return took, memory(self.pids()) - before
        finally:
            self.delete("lines")


class BySupervisord(Supervisord):
    def __init__(self, home, bench, venv):
        super().__init__(home, bench.program, venv)
        self.bench = bench
        self.boot()

    def round(self, _):
        (self.programs / "lines.conf").write_text(
            f"[program:lines]\ncommand={' '.join(self.bench.command())}\nautostart=false\nautorestart=false\n"
            f"stdout_logfile={self.bench.log}\nstdout_logfile_maxbytes=0\nstartsecs=0\n"
        )
        run([*self.ctl, "update"], self.env)
        before = memory(self.pids())
        try:
            took = self.bench.beside([*self.ctl, "start", "lines"], self.env)
            return took, memory(self.pids()) - before
        finally:
            run([*self.ctl, "stop", "lines"], self.env)
            self.delete("lines")


def measure(options, folder):
    bench = Bench(folder, options.megabytes * 1_000_000)
    cache = (options.cache or folder).resolve()
    wanted = options.only.split(",")
    makers = {
        "rsx": lambda: ByRsx(folder / "r", bench, options.rsx),
        "supervisord": lambda: BySupervisord(folder / "s", bench, cache / "supervisor"),
        "pm2": lambda: ByPm2(folder / "p", bench, cache / "pm2"),
    }
    found = {"megabytes": options.megabytes, "ways": {}, "machine": machine()}
    managers = {}
    try:
        for name in wanted:
            if name in makers:
                managers[name] = makers[name]()
        ways = [(way, lambda way=way: (bench.shell(way), None)) for way in SHELL if "shell" in wanted]
        ways += [(way, lambda way=way: managers["rsx"].round(way)) for way in RSX if "rsx" in managers]
        ways += [(name, lambda name=name: managers[name].round(name)) for name in ("supervisord", "pm2") if name in managers]
        # Interleaved: what changes on the machine meanwhile meets all of them.
        for turn in range(options.rounds):
            for way, once in list(ways):
                bench.clean()
                try:
                    took, grown = once()
                except Refused:
                    print(f"  {way}: not in this version yet", file=sys.stderr)
                    ways = [other for other in ways if other[0] != way]
                    continue
                rate = bench.size / took / 1e6
                print(f"  {turn + 1} {way:12} {rate:8.0f} MB/s", file=sys.stderr, flush=True)
                seen = found["ways"].setdefault(way, {"rates": [], "grown": []})
                seen["rates"].append(rate)
                if grown is not None:
                    seen["grown"].append(grown)
    finally:
        for manager in managers.values():
            pids = manager.pids()
            manager.end()
            wait_gone(pids)
    return found


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def table(found):
    middle = {way: statistics.median(seen["rates"]) for way, seen in found["ways"].items()}
    rows = [row("100-byte lines", "MB/s", "÷ `> file`", "÷ `cat`", "to hold", "memory grew by"), row("---", *["---:"] * 5)]
    for way, label, beside, least in WAYS:
        if way not in middle:
            rows.append(row(label, "–", "", "", "", ""))
            continue
        ratios = {base: middle[way] / middle[base] for base in SHELL if base in middle and base != way}
        cells = [f"{ratios[base]:.2f}" if base in ratios else "" for base in SHELL]
        if beside in ratios and ratios[beside] < least:
            cells[SHELL.index(beside)] = f"**{cells[SHELL.index(beside)]}**"
        limit = f"≥ {least:.2f} × `{'cat' if beside == 'cat' else '> file'}`" if least else ""
        grown = found["ways"][way]["grown"]
        rows.append(row(label, f"{middle[way]:,.0f}", *cells, limit, f"{max(grown):.1f} MB" if grown else ""))
    return "\n".join(rows)


def write(text):
    page = PAGE.read_text()
    before, found, rest = page.partition("<!-- logs: begin -->")
    _, end, after = rest.partition("<!-- logs: end -->")
    if not (found and end):
        raise Failed(f"{PAGE}: the markers of `logs` are gone")
    PAGE.write_text(f"{before}{found}\n{text}\n{end}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["measure", "show"])
    parser.add_argument("--rsx", type=Path, help="the binary; default: a release build of this tree")
    parser.add_argument("--cache", type=Path, help="where pm2 and supervisord are installed, to be used again")
    parser.add_argument("--results", type=Path, default=ROOT / "target/logs-bench.json", help="where figures are kept")
    parser.add_argument("--only", default="shell,rsx,supervisord,pm2", help="which, separated by commas")
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    if options.what == "measure":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        if options.rsx is None:
            run(["cargo", "build", "--release", "--manifest-path", ROOT / "Cargo.toml"], dict(os.environ), 1800)
            options.rsx = ROOT / "target/release/rsx"
        options.rsx = options.rsx.resolve()
        with tempfile.TemporaryDirectory(prefix="rl", dir="/tmp") as name:
            found = measure(options, Path(name))
        options.results.parent.mkdir(exist_ok=True)
        options.results.write_text(json.dumps(found, indent=1))
    found = json.loads(options.results.read_text())
    text = f"{found['machine']} {found['megabytes']} MB, median of {max(len(it['rates']) for it in found['ways'].values())}.\n\n{table(found)}"
    print(text)
    if options.write:
        write(text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(f"error: {failed}")
