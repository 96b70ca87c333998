# SPDX-License-Identifier: MIT
"""LMTP as the MTAs beside it use it: TLS, addresses beyond ASCII, XCLIENT, limits, duplicates, trace fields."""

import concurrent.futures
import fcntl
import os
import shutil
import signal
import smtplib
import socket
import ssl
import struct

import pytest
from mail_helpers import make_message, subjects
from peers import Postfix
from programs import run
from roost_instance import free_ports, wait_until


class Client:
    """LMTP by hand."""

    def __init__(self, port=None, path=None):
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.socket.settimeout(30)
        self.socket.connect(str(path) if path else ("127.0.0.1", port))
        self.file = self.socket.makefile("rb")
        self.reply()

    def reply(self):
        lines = [self.file.readline().decode()]
        while lines[-1][3:4] == "-":
            lines.append(self.file.readline().decode())
        return "".join(lines)

    def say(self, line):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def start_tls(self, roost):
        assert self.say("STARTTLS").startswith("220 ")
        context = ssl.create_default_context(cafile=roost.tls_cert)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")

    def send(self, sender, rcpts, text, parameters=""):
        """The replies to the end of the message."""
        assert self.say(f"MAIL FROM:<{sender}>{parameters}").startswith("250 ")
        for rcpt in rcpts:
            assert self.say(f"RCPT TO:<{rcpt}>").startswith("250 ")
        assert self.say("DATA").startswith("354 ")
        self.socket.sendall(text.replace("\n", "\r\n").encode() + b".\r\n")
        return [self.reply() for _ in rcpts]


def text_of(roost, imap, user, number=b"1"):
    client = imap(user)
    client.select("INBOX")
    return client.fetch(number, "(BODY.PEEK[])")[1][0][1].decode()


def test_tls(roost, user, imap):
    client = Client(roost.ports["lmtp"])
    assert "STARTTLS" in client.say("LHLO client.example")
    client.start_tls(roost)
    # What was said before is forgotten.
    assert client.say("MAIL FROM:<>").startswith("503 ")
    assert "STARTTLS" not in client.say("LHLO client.example")
    assert client.send("a@example.org", [user], "Subject: secret\n\nx\n")[0].startswith("250 2.0.0")
    assert "with LMTPS (Roost)" in text_of(roost, imap, user)


def test_what_comes_with_starttls_is_thrown_away(roost):
    client = Client(roost.ports["lmtp"])
    client.say("LHLO client.example")
    client.socket.sendall(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
    assert client.reply().startswith("220 ")
    context = ssl.create_default_context(cafile=roost.tls_cert)
    client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
    client.file = client.socket.makefile("rb")
    assert client.say("NOOP").startswith("250 ")


def test_addresses_beyond_ascii(roost, imap, user):
    client = Client(roost.ports["lmtp"])
    assert "SMTPUTF8" in client.say("LHLO client.example")
    assert client.say("MAIL FROM:<jörg@example.org>").startswith("553 5.6.7")
    replies = client.send("jörg@bücher.example", [user], "From: jörg@bücher.example\nSubject: Grüße\n\nx\n",
                          " SMTPUTF8 BODY=8BITMIME")
    assert replies[0].startswith("250 2.0.0")
    text = text_of(roost, imap, user)
    assert text.startswith("Return-Path: <jörg@bücher.example>\r\n")
    assert "with UTF8LMTP (Roost)" in text
    # A mailbox that does not exist is refused as any other.
    client.say("MAIL FROM:<> SMTPUTF8")
    assert client.say("RCPT TO:<niemand-ö@example.test>").startswith("550 5.1.")


def test_swaks_with_tls(roost, user, imap, tmp_path):
    result = run(tmp_path, "swaks", "--protocol", "LMTP", "--server", "localhost", "--port", roost.ports["lmtp"],
                 "--from", "a@example.org", "--to", user, "--h-Subject", "by swaks", "--tls", "--tls-verify",
                 "--tls-ca-path", roost.tls_cert)
    assert b"TLS started" in result.stdout
    assert subjects(imap(user)) == ["by swaks"]


def test_several_recipients_share_a_file(roost, imap):
    users = [roost.add_user(f"share{n}") for n in range(3)]
    client = Client(roost.ports["lmtp"])
    client.say("LHLO client.example")
    replies = client.send("a@example.org", [users[0], users[1], users[2], users[1]], "Subject: one\n\nx\n")
    assert all(r.startswith("250 2.0.0") for r in replies)
    files = [list((roost.home(u.split("@")[0]) / "Maildir").glob("*/*.mail.example.test*")) for u in users]
    assert [len(f) for f in files] == [1, 1, 1]
    assert {f[0].stat().st_ino for f in files} == {files[0][0].stat().st_ino}
    assert files[0][0].stat().st_nlink == 3
    assert "Delivered-To" not in text_of(roost, imap, users[0])


@pytest.fixture
def special(make_instance):
    return make_instance(settings={"lmtp_delivered_to": "recipient", "lmtp_duplicate_window": "1h",
                                   "lmtp_xclient_networks": ["127.0.0.0/8"], "lmtp_user_concurrency_limit": "2"})


def maildir_texts(roost, user):
    maildir = roost.home(user) / "Maildir"
    return [path.read_text() for where in ("new", "cur") for path in sorted((maildir / where).iterdir())]


def test_later_recipients_wait_for_the_message(roost, imap):
    """Whose mail cannot refuse a message is not opened for RCPT, but for the first; whose can, is asked."""
    users = [roost.add_user(f"later{n}") for n in range(3)]
    full = roost.add_user("later-full", quota="1K")
    with smtplib.LMTP("127.0.0.1", roost.ports["lmtp"], timeout=60) as lmtp:
        lmtp.ehlo()
        assert lmtp.mail("a@example.org", ["SIZE=5000"])[0] == 250
        replies = [lmtp.rcpt(user)[0] for user in [*users, full, "nobody@example.test"]]
        assert replies == [250, 250, 250, 552, 550]
        assert [(roost.home(user.split("@")[0]) / "Maildir").exists() for user in users] == [True, False, False]
    client = Client(roost.ports["lmtp"])
    client.say("LHLO client.example")
    assert all(r.startswith("250 2.0.0") for r in client.send("a@example.org", users, "Subject: for all\n\nx\n"))
    for user in users:
        assert subjects(imap(user)) == ["for all"]


def test_delivered_to_and_xclient(special):
    client = Client(special.ports["lmtp"])
    assert "XCLIENT NAME ADDR" in client.say("LHLO proxy.example")
    assert client.say("XCLIENT NAME=mx.example.org ADDR=IPV6:2001:db8::7 HELO=mx.example.org").startswith("220 ")
    assert client.say("MAIL FROM:<>").startswith("503 ")
    client.say("LHLO proxy.example")
    assert client.send("a@example.org", ["alice+Lists@example.test"], "Subject: x\n\nx\n")[0].startswith("250 ")
    text = (next((special.home("alice") / "Maildir" / ".Lists").glob("*/*.mail.example.test*"))).read_text()
    assert "Delivered-To: alice+Lists@example.test\n" in text
    assert "Received: from mx.example.org (mx.example.org [IPv6:2001:db8::7])\n" in text
    assert "lmtp.xclient ok ip=2001:db8::7" in special.log()


def test_the_right_to_post(make_instance):
    """RFC 4314 section 4, "p": of anyone, since nobody knows who sends. INBOX takes what may not go elsewhere."""
    roost = make_instance()
    alice = "alice@example.test"
    for folder in ("Open", "Given", "Taken", "Wrong"):
        roost.ctl("mailbox", "create", alice, folder)

    def acl(folder, identifier, rights):
        roost.ctl("mailbox", "acl", "set", alice, folder, identifier, rights)

    def arrived():
        """Where each of these mails is now: in its folder, or in INBOX."""
        maildir, found = roost.home("alice") / "Maildir", {}
        client = Client(roost.ports["lmtp"])
        client.say("LHLO client.example")
        for folder in ("Open", "Given", "Taken", "Wrong", "Taken/New", "Fresh"):
            subject = f"{folder.replace('/', '-')}-{len(list(maildir.glob('**/*.mail.example.test*')))}"
            assert client.send("a@example.org", [f"alice+{folder}@example.test"],
                               f"Subject: {subject}\n\nx\n")[0].startswith("250 "), folder
            places = [path.relative_to(maildir).parts[0] for path in maildir.glob("**/*.mail.example.test*")
                      if f"Subject: {subject}\n" in path.read_text()]
            assert len(places) == 1, (folder, places)
            found[folder] = places[0] if places[0].startswith(".") else "INBOX"
        return found

    acl("Given", "anyone", "lp")
    acl("Taken", "anyone", "lp")
    acl("Taken", "-anyone", "p")
    acl("Wrong", "bob@example.test", "lrswipkxtea")
    acl("Wrong", "-bob@example.test", "p")
    assert arrived() == {"Open": ".Open", "Given": ".Given", "Taken": "INBOX", "Wrong": ".Wrong", "Taken/New": "INBOX",
                         "Fresh": ".Fresh"}
    assert "lmtp.detail refused mailbox=Taken" in roost.log()
    roost.stop()
    shutil.rmtree(roost.home("alice") / "Maildir" / ".Fresh")
    roost.settings["lmtp_detail_needs_post"] = "yes"
    roost.write_conf()
    roost.start()
    assert arrived() == {"Open": "INBOX", "Given": ".Given", "Taken": "INBOX", "Wrong": "INBOX", "Taken/New": "INBOX",
                         "Fresh": "INBOX"}


def test_xclient_is_refused_to_strangers(roost):
    client = Client(roost.ports["lmtp"])
    assert "XCLIENT" not in client.say("LHLO proxy.example")
    assert client.say("XCLIENT NAME=mx.example.org").startswith("550 5.7.0")


def test_duplicates(special):
    client = Client(special.ports["lmtp"])
    client.say("LHLO client.example")
    text = "Message-ID: <1@example.org>\nSubject: once\n\nx\n"
    for rcpts in (["alice@example.test"], ["alice@example.test", "bob@example.test"], ["bob@example.test"]):
        assert all(r.startswith("250 2.0.0") for r in client.send("a@example.org", rcpts, text))
    assert len(maildir_texts(special, "alice")) == len(maildir_texts(special, "bob")) == 1
    assert special.log().count("lmtp.deliver duplicate") == 2
    # Another sender, another folder, no Message-ID: other messages.
    client.send("b@example.org", ["alice@example.test"], text)
    client.send("a@example.org", ["alice+Lists@example.test"], text)
    for _ in range(2):
        client.send("a@example.org", ["alice@example.test"], "Subject: without\n\nx\n")
    assert len(maildir_texts(special, "alice")) == 4


def test_a_mailbox_that_hangs_holds_nobody_else(special):
    """Deliveries to one user wait for an index that stands still; mail for others, and later ones, go on."""
    def deliver(user, subject):
        client = Client(path=special.state / "run" / "lmtp")
        client.say("LHLO client.example")
        return client.send("a@example.org", [f"{user}@example.test"], f"Subject: {subject}\n\nx\n")[0]

    assert deliver("alice", "before").startswith("250 ")
    locks = [open(special.home("alice") / "index" / "lmtp.lock", "r+b") for _ in range(2)]
    for place, lock in enumerate(locks):
        fcntl.fcntl(lock, 37, struct.pack("hhlli4x", fcntl.F_WRLCK, 0, place, 1, 0))  # F_OFD_SETLK
    with concurrent.futures.ThreadPoolExecutor() as pool:
        stuck = [pool.submit(deliver, "alice", f"stuck {n}") for n in range(2)]
        assert deliver("bob", "meanwhile").startswith("250 ")
        assert not any(s.done() for s in stuck)
        locks[0].close()
        assert stuck[0].result(30).startswith("250 ") and stuck[1].result(30).startswith("250 ")
        locks[1].close()


def test_unix_socket(roost, user, imap):
    client = Client(path=roost.state / "run" / "lmtp")
    assert "STARTTLS" not in client.say("LHLO client.example")
    assert client.send("", [user], "Subject: local\n\nx\n")[0].startswith("250 ")
    assert subjects(imap(user)) == ["local"]
    assert "Return-Path: <>\r\n" in text_of(roost, imap, user)


def test_postfix_hands_over_by_lmtp(roost, user, other_user, imap):
    """Postfix as the MTA in front: TLS by STARTTLS, several recipients in one transaction."""
    postfix = Postfix(free_ports(1)[0])
    try:
        postfix.configure(lmtp_tls_security_level="encrypt", lmtp_tls_CAfile=roost.tls_cert)
        postfix.transport("example.test", f"lmtp:inet:127.0.0.1:{roost.ports['lmtp']}")
        with smtplib.SMTP("127.0.0.1", postfix.port) as client:
            client.send_message(make_message(to=user, subject="by Postfix"), "a@example.org", [user, other_user])
        for address in (user, other_user):
            wait_until(lambda address=address: subjects(imap(address)) == ["by Postfix"], what="the message")
        assert "with LMTPS (Roost)" in text_of(roost, imap, user)
    finally:
        postfix.close()


def test_lmtp_daemon_is_killed_between_two_messages(own_roost):
    client = Client(own_roost.ports["lmtp"])
    client.say("LHLO client.example")
    assert client.send("a@example.org", ["alice@example.test"], "Subject: 1\n\nx\n")[0].startswith("250 ")
    os.kill(own_roost.pids("roost-lmtp")[0], signal.SIGKILL)
    wait_until(lambda: own_roost.pids("roost-lmtp"), what="roost-lmtp is back")

    def again():
        try:
            other = Client(own_roost.ports["lmtp"])
            other.say("LHLO client.example")
            return other.send("a@example.org", ["alice@example.test"], "Subject: 2\n\nx\n")[0].startswith("250 ")
        except (OSError, AssertionError):
            return False

    wait_until(again, what="mail goes in again")
