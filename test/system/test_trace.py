# SPDX-License-Identifier: MIT
"""roostctl trace: what an administrator sees of a session, and what not."""

import imaplib
import signal
import smtplib
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
