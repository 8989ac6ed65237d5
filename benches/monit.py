#!/usr/bin/env python3
"""What the dashboard costs: from a key to the screen with 200 instances, and the CPU time of dashboard and daemon together
while 100 idle instances are watched. Usage: benches/monit.py [BINARY], by default target/release/rsx."""

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time

BINARY = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/rsx")
TICKS = os.sysconf("SC_CLK_TCK")


def rsx(home, *args):
    return subprocess.run([BINARY, *args], env=home, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def cpu(pid):
    """CPU seconds of a process so far."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid):
    """Resident kilobytes."""
    lines = open(f"/proc/{pid}/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


class Screen:
    """The dashboard on a terminal of 200 columns and 60 lines."""

    def __init__(self, home):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(BINARY, [BINARY, "monit"], {**home, "TERM": "xterm-256color"})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 200, 0, 0))
        self.read_for(2)

    def drain(self, quiet):
        """Reads until nothing has come for so long, at most half a second: something moves on the screen each second."""
        until = time.monotonic() + 0.5
        while time.monotonic() < until and select.select([self.fd], [], [], quiet)[0]:
            os.read(self.fd, 1 << 20)

    def read_for(self, seconds):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                os.read(self.fd, 1 << 20)

    def key(self, key):
        """Milliseconds from a key to what it changes on the screen."""
        self.drain(0.03)
        begun = time.monotonic()
        os.write(self.fd, key)
        # A frame is between the marks of a synchronized update (CSI ? 2026); what moves by itself comes once a second.
        seen = b""
        while b"\x1b[?2026l" not in seen:
            if time.monotonic() - begun > 5 or not select.select([self.fd], [], [], 5)[0]:
                raise SystemExit("a key was not heard")
            seen += os.read(self.fd, 1 << 20)
        return (time.monotonic() - begun) * 1000

    def close(self):
        os.write(self.fd, b"q")
        os.waitpid(self.pid, 0)


def watched(count, measure):
    with tempfile.TemporaryDirectory(prefix="rsx-", dir="/tmp") as folder:
        home = {"PATH": os.environ["PATH"], "HOME": folder, "RSX_HOME": folder + "/h", "LANG": "C.UTF-8"}
        with open(folder + "/ecosystem.json", "w") as file:
            file.write('{"apps": [{"name": "idle", "script": "sleep 100000", "instances": %d, "exec_mode": "fork"}]}' % count)
        try:
            rsx(home, "start", folder + "/ecosystem.json", "--no-wait")
            time.sleep(3)
            daemon = int(rsx(home, "pid", "--daemon").stdout)
            screen = Screen(home)
            measure(screen, daemon)
            screen.close()
        finally:
            rsx(home, "kill")


def keys(screen, _):
    times = sorted(screen.key(key) for key in [b"j", b"k", b"j", b"\x1b[6~", b"\x1b[5~", b"j"] * 20)
    print(f"key to screen, 200 instances: median {statistics.median(times):.1f} ms, worst of {len(times)} {times[-1]:.1f} ms (to hold: 50)")


def idle(screen, daemon):
    seconds = 20
    screen.read_for(5)
    before = cpu(screen.pid), cpu(daemon)
    screen.read_for(seconds)
    ours, its = ((cpu(pid) - old) / seconds * 100 for pid, old in zip((screen.pid, daemon), before))
    print(f"watching 100 idle instances: dashboard {ours:.2f} %, daemon {its:.2f} %, together {ours + its:.2f} % (to hold: 2)")
    print(f"resident memory of the dashboard: {memory(screen.pid) / 1024:.1f} MB")


watched(200, keys)
watched(100, idle)
