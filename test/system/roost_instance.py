# SPDX-License-Identifier: MIT
"""A Roost of its own for a test: configuration, ports, start, stop, administration."""

import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("ROOST_BUILD", TOP / "build"))
PASSWORD = "correct horse 9"
DOMAIN = "example.test"

# Ports by listener; each is bound once to find it free, then given to Roost.
PORTS = ["smtp", "lmtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s", "metrics"]


def wait_until(condition, timeout=60, what="the condition"):
    """Polls until condition() is true and returns its value; a timeout fails the test. A machine may be slow: the limit is
    for what never comes true."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {timeout} s")
        time.sleep(0.02)


def free_ports(count):
    """Free loopback ports, all different, below those that the kernel gives to outgoing connections."""
    found = []
    while len(found) < count:
        port = random.randrange(15000, 32000)
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def can_connect(port, host="127.0.0.1"):
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=10).close()
        return True
    return False


class Postgres:
    """A PostgreSQL server of its own, on a UNIX socket and a loopback port."""

    def __init__(self):
        self.bin = Path(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1])
        self.dir = Path(tempfile.mkdtemp(prefix="roost-pg-", dir="/tmp"))
        self.port = free_ports(1)[0]
        self.as_user = []
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.dir, owner.pw_uid, owner.pw_gid)
            self.as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        self.run("initdb", "-D", self.dir / "data", "-A", "trust", "-U", "roost", "-N")
        self.start()

    def run(self, program, *args):
        command = [*self.as_user, self.bin / program, *args]
        result = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd="/",
                                stdin=subprocess.DEVNULL)
        assert result.returncode == 0, f"{program}: {result.stdout}{result.stderr}"

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.dir} -c fsync=off"
        self.run("pg_ctl", "-D", self.dir / "data", "-l", self.dir / "log", "-o", options, "-w", "start")

    def stop(self, mode="immediate"):
        self.run("pg_ctl", "-D", self.dir / "data", "-m", mode, "-w", "stop")

    def create_database(self, name):
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "roost", name)

    def dsn(self, name):
        return f"host=127.0.0.1 port={self.port} user=roost dbname={name}"

    def close(self):
        with contextlib.suppress(AssertionError):
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Roost:
    """One instance below a directory of its own in /tmp (socket paths must stay short)."""

    running = []  # all that are not closed

    def __init__(self, db="sqlite", dsn=None, settings=None, users=("alice", "bob"), domain=DOMAIN):
        self.running.append(self)
        self.dir = Path(tempfile.mkdtemp(prefix="roost-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.state = self.dir / "state"
        self.conf = self.dir / "roost.conf"
        self.log_path = self.dir / "log"
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.process = None
        self.settings = {
            "hostname": "mail.example.test",
            "state_dir": self.state,
            "program_dir": BUILD,
            "db": db,
            "log_level": "debug",
            "password_scheme": "SHA512-CRYPT",
            "login_delay_max": "1s",
        }
        if dsn:
            self.settings["postgresql"] = dsn
        for name in PORTS:
            self.settings[f"listen_{name}"] = [f"127.0.0.1:{self.ports[name]}"]
        self.settings.update(settings or {})
        self.write_conf()
        self.start()
        if domain:
            self.ctl("domain", "add", domain)
        for user in users:
            self.add_user(user)

    # ---- life ----

    def write_conf(self):
        def quoted(value):
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'

        lines = []
        for name, value in self.settings.items():
            if isinstance(value, (list, tuple)):
                lines.append(f"{name} = {{{', '.join(quoted(v) for v in value)}}}")
            else:
                lines.append(f"{name} = {quoted(value)}")
        # At once, for a roostctl that reads it meanwhile.
        fresh = self.conf.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(self.conf)

    def start(self):
        self.ready_path.unlink(missing_ok=True)
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen([BUILD / "roost", "-c", self.conf], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        wait_until(lambda: self.ready_path.exists() or self.process.poll() is not None,
                   what="Roost is ready")
        assert self.process.poll() is None, f"Roost ended at start:\n{self.log_tail()}"

    @property
    def ready_path(self):
        return self.state / "run" / "ready"

    def stop(self, timeout=60):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout)
        self.process = None

    def close(self):
        try:
            self.stop()
        finally:
            if self.process and self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            shutil.rmtree(self.dir, ignore_errors=True)
            if self in self.running:  # a test may have closed it already
                self.running.remove(self)

    def reload(self):
        self.ctl("reload")

    # ---- looking inside ----

    def log(self):
        return self.log_path.read_text(errors="replace")

    def log_tail(self, lines=60):
        return "\n".join(self.log().splitlines()[-lines:])

    def pids(self, program):
        """Processes of one daemon of this instance, without forked sessions' children."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                exe = os.readlink(entry / "exe")
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if Path(exe).name == program and parent == self.process.pid:
                    found.append(int(entry.name))
        return found

    @property
    def tls_cert(self):
        return self.state / "tls" / "cert.pem"

    def home(self, user, domain=DOMAIN):
        return self.state / "mail" / domain / user

    def remove_index(self, user, domain=DOMAIN):
        """At once: a daemon at work puts something into a directory that is being emptied."""
        gone = self.home(user, domain) / "index.gone"
        shutil.rmtree(gone, ignore_errors=True)
        (self.home(user, domain) / "index").rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    # ---- administration ----

    def ctl(self, *args, check=True, stdin="", timeout=120):
        """Runs roostctl --json; returns the result, or with check=False (exit status, result, stderr)."""
        result = subprocess.run([BUILD / "roostctl", "-c", self.conf, "--json", *map(str, args)],
                                input=stdin, capture_output=True, text=True, timeout=timeout)
        document = None
        if result.stdout.strip():
            document = json.loads(result.stdout)
        if not check:
            return result.returncode, document, result.stderr
        assert result.returncode == 0, f"roostctl {args}: {result.stderr}\n{self.log_tail()}"
        return document

    def add_user(self, local, domain=DOMAIN, password=PASSWORD, **options):
        extra = [word for key, value in options.items() for word in (f"--{key}", value)]
        self.ctl("user", "add", f"{local}@{domain}", *extra, stdin=password + "\n")
        return f"{local}@{domain}"
