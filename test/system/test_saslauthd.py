# SPDX-License-Identifier: MIT
"""Passwords that saslauthd checks by PAM: Debian's own saslauthd, in a mount namespace with a pam.d of the test's."""

import contextlib
import imaplib
import os
import poplib
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from conftest import tls_context
from programs import SECOND_TRY
from roost_instance import PASSWORD, Roost, wait_until
from test_auth_database import log_in

CHECK = """#!/bin/sh
# pam_exec gives the password on standard input.
password=$(tr -d '\\0')
echo "$PAM_USER $PAM_SERVICE" >>{dir}/asked
while [ -e {dir}/wait.$PAM_USER ]; do sleep 0.1; done
grep -qx "$PAM_USER:$password" {dir}/users
"""


NAMESPACE = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]


def can_mount():
    """A container may forbid it."""
    return subprocess.run([*NAMESPACE, "mount", "--bind", "/tmp", "/mnt"], capture_output=True, check=False).returncode == 0


pytestmark = [SECOND_TRY, pytest.mark.skipif(not can_mount(), reason="needs a mount namespace for its own /etc/pam.d")]


class Saslauthd:
    """Its users are in the file "users"; who has a file wait.NAME is not answered."""

    def __init__(self, *options):
        self.dir = Path(tempfile.mkdtemp(prefix="saslauthd-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.options = options
        (self.dir / "mux").mkdir()
        (self.dir / "pam.d").mkdir()
        check = self.dir / "check"
        check.write_text(CHECK.format(dir=self.dir))
        check.chmod(0o755)
        for service in ("imap", "pop3", "smtp", "other", "roost"):
            (self.dir / "pam.d" / service).write_text(
                f"auth required pam_exec.so expose_authtok quiet {check}\naccount required pam_permit.so\n")
        self.process = None
        self.start()

    def start(self):
        script = (f"mount --bind {self.dir}/pam.d /etc/pam.d && "
                  f"exec /usr/sbin/saslauthd -d -a pam -m {self.dir}/mux -n 4 \"$@\"")
        with (self.dir / "log").open("ab") as log:
            # A session of its own: stop() ends the whole process group.
            self.process = subprocess.Popen([*NAMESPACE, "sh", "-c", script, "sh", *self.options], stdout=log, stderr=log,
                                            start_new_session=True)
        wait_until(self.is_listening, what="saslauthd listens")

    def is_listening(self):
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.dir / "mux" / "mux")) == 0

    def stop(self):
        # All of its processes; at a SIGTERM it logs from the signal's handler, and may hang there.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        # What it leaves would be taken for a listener.
        (self.dir / "mux" / "mux").unlink(missing_ok=True)

    def close(self):
        for path in self.dir.glob("wait.*"):
            path.unlink()
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.dir)

    def users(self, **passwords):
        (self.dir / "users").write_text("".join(f"{name}:{password}\n" for name, password in passwords.items()))

    def asked(self):
        path = self.dir / "asked"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def saslauthd():
    made = []

    def make(*options):
        made.append(Saslauthd(*options))
        made[-1].users(anna=PASSWORD)
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def start(saslauthd):
    """start(settings, *options of saslauthd): the two, with the users anna, bert (anna there), and alice of the database."""
    made = []

    def make(settings=None, options=()):
        daemon = saslauthd(*options)
        roost = Roost(users=("alice", "anna"), settings={
            "saslauthd_socket": daemon.dir / "mux" / "mux", "login_delay_max": "0s",
            "auth_mechanisms": ["PLAIN", "LOGIN", "SCRAM-SHA-256"], **(settings or {})})
        made.append(roost)
        roost.ctl("user", "password", "anna@example.test", "--scheme", "SASLAUTHD")
        roost.ctl("user", "add", "bert@example.test", "--scheme", "saslauthd", "--password", "anna")
        return roost, daemon

    yield make
    for roost in made:
        roost.close()


def test_log_ins_by_all_protocols(start):
    roost, daemon = start()
    anna = "anna@example.test"
    assert log_in(roost, anna)[1] == ""
    assert "AUTHENTICATIONFAILED" in log_in(roost, anna, "wrong")[1]
    assert f"auth.login fail user={anna} ip=127.0.0.1 mech=PLAIN service=imap reason=password" in roost.log()
    assert log_in(roost, "bert@example.test")[1] == "", "he is another one there"
    assert log_in(roost, "alice@example.test")[1] == "", "whom saslauthd does not know"
    pop3 = poplib.POP3_SSL("localhost", roost.ports["pop3s"], context=tls_context(roost), timeout=60)
    pop3.user(anna)
    pop3.pass_(PASSWORD)
    pop3.quit()
    with smtplib.SMTP_SSL("localhost", roost.ports["submissions"], context=tls_context(roost), timeout=60) as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = anna, PASSWORD
        assert smtp.auth("LOGIN", smtp.auth_login)[0] == 235
    assert daemon.asked() == ["anna imap", "anna imap", "anna imap", "anna pop3", "anna smtp"]
    daemon.users(anna="another 7")
    assert log_in(roost, anna, "another 7")[1] == "" and log_in(roost, anna)[1] != "", "nothing is remembered"
    assert PASSWORD not in roost.log()


def test_who_one_is_and_who_one_wants_to_be(start):
    """The realm is the domain (-r puts it behind the name), the service is that of the setting."""
    roost, daemon = start({"saslauthd_service": "roost"}, ["-r"])
    daemon.users(**{"anna@example.test": PASSWORD})
    plain = {"anna@example.test": True, "": True, "alice@example.test": False}
    for authzid, good in plain.items():
        with imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost), timeout=60) as client:
            message = f"{authzid}\0anna@example.test\0{PASSWORD}".encode()
            with contextlib.nullcontext() if good else pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                client.authenticate("PLAIN", lambda _, message=message: message)
    assert set(daemon.asked()) == {"anna@example.test roost"}
    for password in ("x" * 300, "\N{LATIN SMALL LETTER A WITH DIAERESIS}" * 128):
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"), \
                imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost), timeout=60) as client:
            client.authenticate("PLAIN", lambda _, p=password: f"\0anna@example.test\0{p}".encode())


def test_one_that_hangs_holds_up_nobody_else(start):
    roost, daemon = start({"auth_workers": 2, "saslauthd_timeout": "60s", "auth_cache_ttl": "0s"})
    (daemon.dir / "wait.anna").touch()
    answers = []
    waiting = [threading.Thread(target=lambda: answers.append(log_in(roost, "anna@example.test")[1])) for _ in range(4)]
    for thread in waiting:
        thread.start()
    wait_until(daemon.asked, what="it was asked")
    wait_until(lambda: any(s.get("jobs_pending", 0) >= 4 for s in roost.ctl("status")), what="the others wait, too")
    assert [log_in(roost, "alice@example.test")[1] for _ in range(3)] == [""] * 3
    assert not answers, "alice was served while the others waited"
    (daemon.dir / "wait.anna").unlink()
    for thread in waiting:
        thread.join()
    assert answers == [""] * 4


def test_one_that_is_slow_or_gone_is_a_temporary_failure(start):
    roost, daemon = start({"saslauthd_timeout": "500ms"})
    (daemon.dir / "wait.anna").touch()
    assert "UNAVAILABLE" in log_in(roost, "anna@example.test")[1]
    assert "auth.saslauthd fail user=anna@example.test" in roost.log() and "reason=timeout" in roost.log()
    (daemon.dir / "wait.anna").unlink()
    daemon.stop()
    assert "UNAVAILABLE" in log_in(roost, "anna@example.test")[1]
    assert log_in(roost, "alice@example.test")[1] == ""
    roost.settings["saslauthd_timeout"] = "60s"
    roost.stop()
    roost.write_conf()
    roost.start()
    daemon.start()
    assert log_in(roost, "anna@example.test")[1] == ""
