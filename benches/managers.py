"""The process managers that compare.py measures: how each is installed, booted, asked and ended.

Every manager has a home of its own in a temporary folder; nothing of the user's is touched.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PM2_VERSION = "latest"


class Failed(Exception):
    """A command did not do what a measurement needs."""


def run(command, env, limit=120):
    """Runs a command to its end, bounded; its output, or Failed."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(
            command, env=env, timeout=limit, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: not done within {limit} s") from None
    if done.returncode != 0:
        tail = (done.stderr + done.stdout)[-2000:].strip()
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{tail}")
    return done.stdout


def timed(probe, command, env, limit=120, codes=(0,)):
    """Runs a command by the probe; when it began and ended, in nanoseconds of CLOCK_MONOTONIC."""
    code, begin, end = map(int, run([probe, "time", *command], env, limit).split())
    if codes and code not in codes:
        raise Failed(f"{' '.join(map(str, command))}: exit code {code}")
    return begin, end


def status_field(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split()[1]
    raise Failed(f"/proc/{pid}/status has no {name}")


def wait_gone(pids, limit=20):
    """Waits until processes that are not our children have ended; by pidfd, so without looking again and again."""
    deadline = time.monotonic() + limit
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([handle], [], [], max(0, deadline - time.monotonic()))[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], 5)
        finally:
            os.close(handle)


class Manager:
    """What the managers have in common: a home, an environment, the probe."""

    name = ""
    # How many copies it is asked for.
    counts = (100,)
    # Whether what it runs goes on when its daemon is killed, and the next daemon goes on with it.
    outlives_its_daemon = False

    def __init__(self, home, probe):
        self.home = home
        self.probe = probe
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("RSX_", "PM2_"))}
        home.mkdir()

    def timed(self, command, **options):
        return timed(self.probe, command, self.env, **options)

    def end(self):
        """Ends the daemon, and makes sure of it."""
        pids = self.pids()
        if pids:
            try:
                run(self.end_command, self.env, 60)
            except Failed as failed:
                print(failed, file=sys.stderr)
            wait_gone(pids)


class Rsx(Manager):
    name = "rsx"
    counts = (100, 1000)
    outlives_its_daemon = True

    def __init__(self, home, probe, binary):
        super().__init__(home, probe)
        self.binary = binary
        self.env["RSX_HOME"] = str(home / "home")
        self.env.pop("XDG_RUNTIME_DIR", None)
        self.ls_command = [binary, "ls"]
        self.end_command = [binary, "kill"]

    def version(self):
        return run([self.binary, "--version"], self.env).split()[-1]

    def declare(self, name, role, file, count, **more):
        """Writes the app's file; the command that starts it."""
        # TOML's strings, numbers and booleans are JSON's.
        keys = {
            "name": name,
            "script": str(self.probe),
            "args": [role, str(file)],
            "exec_mode": "fork",
            "instances": count,
            "restart_delay": 0,
            **more,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        config = self.home / f"{name}.toml"
        config.write_text("[[apps]]\n" + "\n".join(lines) + "\n")
        return [self.binary, "start", config]

    def boot(self):
        """From nothing to the answer of the first verb; an app that is only registered costs no process."""
        begin, end = self.timed(self.declare("boot", "mark", "/dev/null", 1, autostart=False))
        run([self.binary, "delete", "all"], self.env)
        return end - begin

    def pids(self):
        try:
            daemon = int(run([self.binary, "pid", "--daemon"], self.env))
        except (Failed, ValueError):
            return []
        parent = int(status_field(daemon, "PPid"))
        same = parent > 1 and os.readlink(f"/proc/{parent}/exe") == os.readlink(f"/proc/{daemon}/exe")
        return [daemon, parent] if same else [daemon]

    def restart_command(self, name):
        return [self.binary, "restart", name]

    def delete(self, name):
        run([self.binary, "delete", name], self.env)


class Pm2(Manager):
    name = "pm2"

    def __init__(self, home, probe, prefix):
        super().__init__(home, probe)
        self.env.update(PM2_HOME=str(home / "home"), PM2_DISABLE_VERSION_CHECK="true")
        self.binary = prefix / "node_modules/.bin/pm2"
        if not self.binary.exists():
            install = ["npm", "install", "--prefix", prefix, "--no-audit", "--no-fund", f"pm2@{PM2_VERSION}"]
            run(install, self.env, 300)
        self.ls_command = [self.binary, "ls"]
        self.end_command = [self.binary, "kill"]

    def version(self):
        package = self.binary.parent.parent / "pm2/package.json"
        return json.loads(package.read_text())["version"]

    def declare(self, name, role, file, count):
        app = {
            "name": name,
            "script": str(self.probe),
            "args": [role, str(file)],
            "interpreter": "none",
            "exec_mode": "fork",
            "instances": count,
            "wait_ready": role == "ready",
        }
        config = self.home / f"{name}.json"
        config.write_text(json.dumps({"apps": [app]}))
        return [self.binary, "start", config]

    def boot(self):
        begin, end = self.timed([self.binary, "ping"])
        return end - begin

    def pids(self):
        try:
            pid = int((self.home / "home/pm2.pid").read_text())
        except (OSError, ValueError):
            return []
        return [pid] if Path(f"/proc/{pid}").exists() else []

    def restart_command(self, name):
        return [self.binary, "restart", name]

    def delete(self, name):
        run([self.binary, "delete", name], self.env)


class Supervisord(Manager):
    name = "supervisord"

    def __init__(self, home, probe, venv):
        super().__init__(home, probe)
        if not (venv / "bin/supervisord").exists():
            run([sys.executable, "-m", "venv", venv], self.env)
            run([venv / "bin/pip", "install", "-q", "supervisor"], self.env, 300)
        self.binary = venv / "bin/supervisord"
        self.conf = home / "supervisord.conf"
        self.programs = home / "programs"
        self.programs.mkdir()
        self.conf.write_text(
            f"[supervisord]\nlogfile={home}/log\npidfile={home}/pid\nchildlogdir={home}\nminfds=8192\n"
            + ("user=root\n" if os.geteuid() == 0 else "")
            + f"[unix_http_server]\nfile={home}/s.sock\n"
            + "[rpcinterface:supervisor]\n"
            + "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            + f"[supervisorctl]\nserverurl=unix://{home}/s.sock\n[include]\nfiles={self.programs}/*.conf\n"
        )
        self.ctl = [venv / "bin/supervisorctl", "-c", self.conf]
        self.ls_command = [*self.ctl, "status"]
        self.end_command = [*self.ctl, "shutdown"]

    def version(self):
        return run([self.binary, "--version"], self.env).strip()

    def declare(self, name, role, file, count):
        (self.programs / f"{name}.conf").write_text(
            f"[program:{name}]\ncommand={self.probe} {role} {file}\nnumprocs={count}\n"
            + "process_name=%(program_name)s-%(process_num)d\nautostart=false\nautorestart=true\n"
            + ("startsecs=0\n" if role == "ready" else "")
        )
        run([*self.ctl, "update"], self.env)
        return [*self.ctl, "start", f"{name}:*"]

    def boot(self):
        begin, _ = self.timed([self.binary, "-c", self.conf])
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            code, _, end = map(int, run([self.probe, "time", *self.ctl, "pid"], self.env).split())
            if code == 0:
                return end - begin
        raise Failed("supervisord does not answer")

    def pids(self):
        try:
            pid = int((self.home / "pid").read_text())
        except (OSError, ValueError):
            return []
        return [pid] if Path(f"/proc/{pid}").exists() else []

    def restart_command(self, name):
        return [*self.ctl, "restart", f"{name}:*"]

    def delete(self, name):
        (self.programs / f"{name}.conf").unlink()
        run([*self.ctl, "update"], self.env)


def build_probe(folder):
    """Compiles the C program."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Failed("a C compiler is needed: `apt-get install gcc libc6-dev`")
    probe = folder / "probe"
    source = Path(__file__).parent / "probe.c"
    run([compiler, "-O2", "-Wall", "-Wextra", "-o", probe, source], dict(os.environ))
    return probe
