# SPDX-License-Identifier: MIT
"""roostctl trace: what an administrator sees of a session, and what not."""

import base64
import collections
import contextlib
import imaplib
import os
import signal
import smtplib
import socket
import ssl
import subprocess

import pytest
from mail_helpers import make_message
from roost_instance import BUILD, PASSWORD, wait_until


class Trace:
    def __init__(self, roost, *arguments):
        self.path = roost.dir / "trace"
        self.path.unlink(missing_ok=True)
        self.process = subprocess.Popen([BUILD / "roostctl", "-c", roost.conf, "trace", *arguments,
                                         "--output", self.path], stderr=subprocess.PIPE, text=True)
        wait_until(self.path.exists, what="the trace begins")

    def text(self):
        return self.path.read_text()

    def wait_for(self, text):
        wait_until(lambda: text in self.text(), what=f"{text!r} in the trace")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0, self.process.stderr.read()


@pytest.fixture
def roost(make_instance):
    return make_instance()


def log_in(roost, user="alice@example.test"):
    client = imaplib.IMAP4("127.0.0.1", roost.ports["imap"])
    client.login(user, PASSWORD)
    return client


def test_user(roost):
    with smtplib.LMTP("127.0.0.1", roost.ports["lmtp"]) as lmtp:
        lmtp.send_message(make_message(to="alice@example.test", subject="the subject", body="the secret text\n"),
                          "a@example.org", ["alice@example.test"])
    before, other = log_in(roost), log_in(roost, "bob@example.test")
    trace = Trace(roost, "alice@example.test")

    def noop():
        before.noop()
        return "NOOP" in trace.text()

    wait_until(noop, what="the session that was there is traced")
    # And one that begins meanwhile, with what is no command's business.
    client = log_in(roost)
    client.select("INBOX")
    assert b"the secret text" in client.fetch("1", "(ENVELOPE BODY.PEEK[])")[1][0][1]
    client.append("INBOX", None, None, b"Subject: mine\r\n\r\nalso secret\r\n")
    other.select("INBOX")
    client.logout()
    trace.wait_for("LOGOUT")
    trace.stop()
    text = trace.text()
    assert " C " in text and " S * 1 EXISTS\n" in text and "FETCH 1 (ENVELOPE BODY.PEEK[])" in text
    assert "the subject" not in text and "secret" not in text and PASSWORD not in text
    assert " bytes]\n" in text
    assert "bob" not in text
    sessions = {line.split()[1] for line in text.splitlines()}
    assert len(sessions) == 2


def test_content_and_one_session(roost):
    client, unwanted = log_in(roost), log_in(roost)
    rows = {row["address"]: row["session"] for row in roost.ctl("who")}
    address = "{}:{}".format(*client.socket().getsockname())
    trace = Trace(roost, rows[address], "--content")

    def append():
        client.append("INBOX", None, None, b"Subject: mine\r\n\r\nthe text\r\n")
        return "the text" in trace.text()

    wait_until(append, what="the content is shown")
    unwanted.noop()
    client.noop()
    trace.wait_for("NOOP")
    trace.stop()
    assert {line.split()[1] for line in trace.text().splitlines()} == {rows[address]}


def test_mail_in(roost):
    """An LMTP session by its id: the envelope is shown, the message is not."""
    lmtp = smtplib.LMTP("127.0.0.1", roost.ports["lmtp"])
    lmtp.ehlo("client.example")
    assert lmtp.docmd("MAIL", "FROM:<a@example.org>")[0] == 250
    session = next(row["session"] for row in roost.ctl("who") if row["protocol"] == "lmtp")
    trace = Trace(roost, session)

    def noop():
        lmtp.noop()
        return "noop" in trace.text().lower()

    wait_until(noop, what="the session is traced")
    lmtp.docmd("RCPT", "TO:<alice@example.test>")
    assert lmtp.data("Subject: x\r\n\r\nhidden words\r\n")[0] == 250
    lmtp.quit()
    wait_until(lambda: "quit" in trace.text().lower(), what="the end of the session")
    trace.stop()
    assert "RCPT TO:<alice@example.test>" in trace.text() and "hidden" not in trace.text()


def test_for_a_while_and_wrong_use(roost):
    code, _, _ = roost.ctl("trace", "alice@example.test", "--for", "300ms", check=False)
    assert code == 0
    code, _, text = roost.ctl("trace", "alice@example.test", "--for", "long", check=False)
    assert code == 64 and "is no time" in text


# ---- before the log-in ----


def attempt_imap(roost, user="alice@example.test", password="not the password"):
    """LOGIN with literals sent ahead, AUTHENTICATE, and what is no command; nothing succeeds."""
    with socket.create_connection(("127.0.0.1", roost.ports["imap"]), timeout=60) as client:
        stream = client.makefile("rb")
        response = base64.b64encode(b"\0%s\0%s" % (user.encode(), password.encode()))
        # The tag of LOGIN is that of a command before it, whose answer ends nothing.
        client.sendall(b"n1 NOOP\r\nn1 LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n" % (
            len(user), user.encode(), len(password), password.encode()))
        client.sendall(b"a2 AUTHENTICATE PLAIN\r\n%s\r\n" % response)
        client.sendall(b'a3 LOGIN"x" "%s"\r\na4 LOGON x %s\r\n%s\r\na5 LOGOUT\r\n' % (
            password.encode(), password.encode(), response))
        stream.read()
    return response.decode()


def attempt_pop3(roost, user="alice@example.test", password="not the password"):
    with socket.create_connection(("127.0.0.1", roost.ports["pop3"]), timeout=60) as client:
        stream = client.makefile("rb")
        response = base64.b64encode(b"\0%s\0%s" % (user.encode(), password.encode()))
        # All at once: the answer to the first command is not the end of the exchange.
        client.sendall(b"CAPA\r\nAUTH PLAIN\r\n%s\r\nUSER %s\r\nPASS %s\r\nQUIT\r\n" % (
            response, user.encode(), password.encode()))
        stream.read()
    return response.decode()


def whole_session(trace, attempt, first, last):
    """
    The lines of a session of attempt, from the first to the last. A proxy may take a client just before it hears of
    the trace: then the client tries again, as people do.
    """
    found = []

    def tried():
        attempt()
        sessions = collections.defaultdict(list)
        for line in trace.text().splitlines():
            _, session, words = line.split(" ", 2)
            sessions[session].append(words)
        found[:] = [lines for lines in sessions.values() if len(lines) > 1 and lines[1].startswith(first) and last in lines]
        return found

    wait_until(tried, what=f"a session from {first!r} to {last!r}")
    return found[0]


def test_failed_log_in_by_address(roost):
    trace = Trace(roost, "127.0.0.0/8")
    said = []
    imap = whole_session(trace, lambda: said.append(attempt_imap(roost)), "S * OK [CAPABILITY ", "C a5 LOGOUT")
    pop3 = whole_session(trace, lambda: said.append(attempt_pop3(roost)), "S +OK ", "C QUIT")
    trace.stop()
    assert not any(secret in trace.text() for secret in said + ["not the password"])
    assert imap[0].startswith("S (imap from 127.0.0.1:") and pop3[0].startswith("S (pop3 from 127.0.0.1:")
    assert "C n1 LOGIN (credentials)" in imap and "C a2 AUTHENTICATE PLAIN (credentials)" in imap
    assert any(line.startswith("S a2 NO [AUTHENTICATIONFAILED] ") for line in imap)
    # As it was understood: each command before its answer.
    assert imap.index("C n1 NOOP") < imap.index("S n1 OK Noop completed") < imap.index("C n1 LOGIN (credentials)")
    assert sum(line.endswith("bytes that are no command)") for line in imap) == 3
    assert "C USER alice@example.test" in pop3 and "C PASS (credentials)" in pop3 and "C (credentials)" in pop3


def test_failed_log_in_by_user(roost):
    trace = Trace(roost, "alice@example.test")
    failed = whole_session(trace, lambda: attempt_imap(roost), "S * OK [CAPABILITY ", "C a5 LOGOUT")
    assert any(line.startswith("S a2 NO [AUTHENTICATIONFAILED] ") for line in failed)

    def succeed():
        attempt_imap(roost, user="bob@example.test")
        client = log_in(roost)
        client.xatom("NOOP")
        client.logout()

    # From the greeting to the end under one id, though two processes spoke.
    session = whole_session(trace, succeed, "S * OK [CAPABILITY ", "S * BYE Logging out")
    assert sum(line.endswith("LOGIN (credentials)") for line in session) == 1
    assert any(line.endswith(" NOOP") for line in session)
    trace.stop()
    assert "bob" not in trace.text() and PASSWORD not in trace.text()


def test_a_new_proxy_and_tls(roost):
    """A proxy that starts later learns of the trace, too; and what is wrong with a handshake is told."""
    trace = Trace(roost, "127.0.0.1")
    context = ssl._create_unverified_context()

    def attempt():
        with contextlib.suppress(OSError, imaplib.IMAP4.error), imaplib.IMAP4_SSL(
                "127.0.0.1", roost.ports["imaps"], ssl_context=context) as client:
            client.login("nobody@example.test", "x")

    def no_tls():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", roost.ports["imaps"]), 60) as client:
            client.sendall(b"a NOOP\r\n" * 10)
            client.recv(100)

    session = whole_session(trace, attempt, "S (TLSv1.3)", "S * BYE Logging out")
    assert session[2].startswith("S * OK [CAPABILITY ")
    proxies = roost.pids("roost-proxy")
    assert proxies
    for pid in proxies:
        os.kill(pid, signal.SIGKILL)
    whole_session(trace, no_tls, "S (", "S (TLS handshake failed)")
    trace.stop()
