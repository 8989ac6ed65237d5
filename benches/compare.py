#!/usr/bin/env python3
"""rsx beside pm2 and supervisord: the same work, on the same machine, in one run.

    benches/compare.py              prints a Markdown table
    benches/compare.py --write      and puts it into docs/BENCHMARKS.md, between the markers
    benches/compare.py --quick      fewer rounds, for trying the script

Needs a C compiler, Node with npm, Python with venv. What it installs goes to a temporary folder, or to --cache. What
each figure means is told in docs/BENCHMARKS.md.
"""

import argparse
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from managers import Failed, Manager, Pm2, Rsx, Supervisord, build_probe, run, status_field

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/BENCHMARKS.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

# key, what it is, unit, what rsx has to hold
FIGURES = [
    ("boot", "nothing runs → first verb answered", "ms", 15),
    ("ls-0", "`ls`, empty", "ms", None),
    ("ls-100", "`ls`, 100 processes", "ms", 5),
    ("ls-1000", "`ls`, 1,000 processes", "ms", 15),
    ("copies-100", "verb → 100 C programs run", "ms", 100),
    ("copies-1000", "verb → 1,000 C programs run", "ms", 1200),
    ("crash-median", "`kill -9` → replacement's first instruction, median", "ms", 3),
    ("crash-p95", "the same, 95th percentile", "ms", None),
    ("restart", "`restart` of a program that is ready at once", "ms", 10),
    ("pss-0", "memory of the manager (PSS), empty", "MB", 6),
    ("pss-100", "the same, 100 processes", "MB", 9),
    ("pss-1000", "the same, 1,000 processes", "MB", 16),
    ("cpu-100", "CPU of the manager, 100 idle processes", "%", 0.2),
    ("cpu-1000", "the same, 1,000 idle processes", "%", 1.0),
    ("gap-1", "`kill -9` of the daemon → `ls` answered, 1 process, median", "ms", 50),
    ("gap-100", "the same, 100 processes", "ms", 50),
    ("gap-1000", "the same, 1,000 processes", "ms", None),
    ("guardian-1", "guardian's memory of its own (RssAnon), 1 process", "kB", 500),
    ("guardian-100", "the same, 100 processes", "kB", 500),
    ("guardian-1000", "the same, 1,000 processes", "kB", 500),
]


class Marks:
    """The file to which copies of the probe append their pid and the time of their first instruction."""

    def __init__(self, path):
        self.path = path
        self.seen = set()
        self.clear()

    def clear(self):
        self.path.write_bytes(b"")

    def lines(self):
        whole, _, _ = self.path.read_text().rpartition("\n")
        found = [tuple(map(int, line.split())) for line in whole.splitlines()]
        self.seen.update(pid for pid, _ in found)
        return found

    def wait(self, count, limit):
        """Waits until so many copies have written. The times are theirs: looking late costs no accuracy."""
        deadline = time.monotonic() + limit
        while len(found := self.lines()) < count:
            if time.monotonic() > deadline:
                raise Failed(f"{len(found)} of {count} processes after {limit} s")
            time.sleep(0.003)
        return found


def median(values):
    return statistics.median(values)


def percentile(values, share):
    return sorted(values)[math.ceil(share * len(values)) - 1]


def pss(pids):
    """Megabytes of a manager's processes; what they share is counted once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def cpu_time(pids):
    """Nanoseconds that all threads of these processes have run."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                pass
    return total


class Run:
    """One manager through all measurements."""

    def __init__(self, manager: Manager, marks: Marks, quick: bool):
        self.manager, self.marks, self.quick = manager, marks, quick
        self.figures = {}

    def note(self, key, value):
        self.figures[key] = value
        print(f"  {self.manager.name:12} {key:14} {value:10.2f}", file=sys.stderr, flush=True)

    def all(self):
        boots = []
        for _ in range(2 if self.quick else 5):
            boots.append(self.manager.boot() / 1e6)
            self.manager.end()
        self.note("boot", median(boots))
        self.manager.boot()
        time.sleep(1)
        self.at_rest(0)
        for count in self.manager.counts:
            self.copies(count)
        if self.manager.outlives_its_daemon:
            self.manager.timed(self.manager.declare("copies", "mark", self.marks.path, 1))
            self.deaths(1)
            self.manager.delete("copies")
        self.crash()
        self.restart()

    def at_rest(self, count):
        command = self.manager.ls_command
        # supervisorctl's status has an exit code of its own for programs that do not run.
        spans = [self.manager.timed(command, codes=()) for _ in range(5 if self.quick else 15)]
        self.note(f"ls-{count}", median([(end - begin) / 1e6 for begin, end in spans]))
        # At rest: what only the answers needed may be given back.
        time.sleep(3)
        self.note(f"pss-{count}", pss(self.manager.pids()))
        if count:
            pids, seconds = self.manager.pids(), 2 if self.quick else 10
            before, began = cpu_time(pids), time.monotonic_ns()
            time.sleep(seconds)
            self.note(f"cpu-{count}", 100 * (cpu_time(pids) - before) / (time.monotonic_ns() - began))

    def copies(self, count):
        rounds = 1 if self.quick else 3
        spans = []
        for left in reversed(range(rounds)):
            self.marks.clear()
            begin, _ = self.manager.timed(self.manager.declare("copies", "mark", self.marks.path, count), limit=180)
            spans.append((max(born for _, born in self.marks.wait(count, 60)) - begin) / 1e6)
            if left == 0:
                # What comes with the start, readiness for example, is over before it is called idle.
                time.sleep(3)
                self.at_rest(count)
                if self.manager.outlives_its_daemon:
                    self.deaths(count)
            self.manager.delete("copies")
        self.note(f"copies-{count}", median(spans))

    def deaths(self, count):
        """The daemon dies, and the next one answers; no process of this count ends."""
        before, spans = self.marks.lines(), []
        for _ in range(5 if self.quick else 50):
            daemon = self.manager.pids()[0]
            # One restart a second is without delay.
            time.sleep(1.05)
            killed = time.monotonic_ns()
            os.kill(daemon, signal.SIGKILL)
            _, end = self.manager.timed(self.manager.ls_command)
            spans.append((end - killed) / 1e6)
        if self.marks.lines() != before:
            raise Failed(f"processes were started again after a death of the daemon: {count} ran")
        self.note(f"gap-{count}", median(spans))
        time.sleep(3)
        self.note(f"guardian-{count}", int(status_field(self.manager.pids()[1], "RssAnon")))

    def crash(self):
        self.marks.clear()
        self.manager.timed(self.manager.declare("crash", "mark", self.marks.path, 1))
        spans = []
        for dead in range(3 if self.quick else 15):
            pid, _ = self.marks.wait(dead + 1, 20)[-1]
            # A process that has lived for a second counts as stable for each of the managers: no backoff.
            time.sleep(1.3)
            killed = time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            _, born = self.marks.wait(dead + 2, 30)[-1]
            spans.append((born - killed) / 1e6)
        self.manager.delete("crash")
        self.note("crash-median", median(spans))
        self.note("crash-p95", percentile(spans, 0.95))

    def restart(self):
        self.marks.clear()
        self.manager.timed(self.manager.declare("restart", "ready", self.marks.path, 1))
        self.marks.wait(1, 20)
        time.sleep(1.3)
        spans = []
        for _ in range(3 if self.quick else 15):
            begin, end = self.manager.timed(self.manager.restart_command("restart"))
            spans.append((end - begin) / 1e6)
        self.manager.delete("restart")
        self.note("restart", median(spans))


def bare(probe, marks, count):
    """Milliseconds that a posix_spawn loop takes for the same copies, measured the same way."""
    marks.clear()
    begin = time.monotonic_ns()
    with subprocess.Popen([probe, "spawn", str(count), marks.path], stdin=subprocess.PIPE) as loop:
        try:
            return (max(born for _, born in marks.wait(count, 60)) - begin) / 1e6
        finally:
            loop.stdin.close()


def sweep(probe, marks):
    """Ends copies that a manager has left behind; nobody else's."""
    left = 0
    for pid in marks.seen:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if os.readlink(f"/proc/{pid}/exe") == str(probe):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                left += 1
        except (FileNotFoundError, ProcessLookupError):
            pass
        finally:
            os.close(handle)
    marks.seen.clear()
    return left


def shown(value, unit):
    if value is None:
        return "–"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} {unit}"


def table(results, versions, bares):
    peers = [name for name in results if name != "rsx"]
    head = ["figure", "to hold", f"rsx {versions.get('rsx', '')}".strip()]
    for name in peers:
        head += [f"{name} {versions[name]}", "÷ rsx"]
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for key, label, unit, limit in FIGURES:
        ours = results.get("rsx", {}).get(key)
        if key in bares:
            label += f" (bare `posix_spawn` loop: {shown(bares[key], unit)})"
        row = [label, "" if limit is None else f"≤ {limit:,} {unit}", shown(ours, unit)]
        if ours is not None and limit is not None and ours > limit:
            row[2] = f"**{row[2]}**"
        for name in peers:
            theirs = results[name].get(key)
            ratio = f"{theirs / ours:,.1f} ×" if theirs is not None and ours else "–"
            row += [shown(theirs, unit), ratio]
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def machine():
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{date.today()}, {cores} × {model}, Linux {platform.release()}. In bold: not held."


def write(text):
    page = PAGE.read_text()
    before, found_begin, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise Failed(f"{PAGE}: the markers are gone")
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="rsx,pm2,supervisord", help="which managers, separated by commas")
    parser.add_argument("--rsx", type=Path, help="the binary; default: a release build of this tree")
    parser.add_argument("--cache", type=Path, help="where pm2 and supervisord are installed, to be used again")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; the figures mean little")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - {"rsx", "pm2", "supervisord"}:
        parser.error(f"--only: unknown: {', '.join(sorted(unknown))}")
    if options.write and (options.quick or len(set(wanted)) < 3):
        parser.error("--write is for whole runs: neither with --quick nor with --only")

    # SIGTERM unwinds like Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="rb", dir="/tmp") as name:
        folder = Path(name)
        cache = (options.cache or folder).resolve()
        probe = build_probe(folder)
        marks = Marks(folder / "marks")
        binary = options.rsx and options.rsx.resolve()
        if "rsx" in wanted and binary is None:
            run(["cargo", "build", "--release", "--manifest-path", ROOT / "Cargo.toml"], dict(os.environ), 1800)
            binary = ROOT / "target/release/rsx"
        makers = {"rsx": Rsx, "pm2": Pm2, "supervisord": Supervisord}
        installed = {"rsx": binary, "pm2": cache / "pm2", "supervisord": cache / "supervisor"}
        results, versions = {}, {}
        bares = {f"copies-{count}": median([bare(probe, marks, count) for _ in range(5)]) for count in (100, 1000)}
        for name in wanted:
            manager = makers[name](folder / name[0], probe, installed[name])
            versions[name] = manager.version()
            measured = Run(manager, marks, options.quick)
            results[name] = measured.figures
            try:
                measured.all()
            except Failed as failed:
                print(f"{name}: {failed}", file=sys.stderr)
            finally:
                manager.end()
                if left := sweep(probe, marks):
                    print(f"{name} left {left} processes behind", file=sys.stderr)
        text = f"{machine()}\n\n{table(results, versions, bares)}"
        print(text)
        if options.write:
            write(text)
    complete = all(key in results[name] for name in wanted for key in expected(makers[name]))
    return 0 if complete else 1


def expected(manager):
    """The figures that a manager must have."""
    left_out = {1000} - set(manager.counts)
    asked = [key for key, *_ in FIGURES if not any(key.endswith(f"-{count}") for count in left_out)]
    return [key for key in asked if manager.outlives_its_daemon or key.split("-")[0] not in ("gap", "guardian")]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(f"error: {failed}")
