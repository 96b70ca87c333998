# SPDX-License-Identifier: MIT
"""What Roost makes of other servers: what they offer, what they must prove, and how they fail."""

import base64
import email.policy
import hashlib
import os
import shutil
import smtplib
import ssl
import subprocess
import time

import pytest
from conftest import tls_context
from mail_helpers import instance_imap, make_message, subjects  # noqa: F401
from peers import Nsd
from roost_instance import PASSWORD, Roost, free_ports, wait_until
from sink import DEFAULT_EHLO, Sink, make_certificate

pytestmark = pytest.mark.skipif(not shutil.which("nsd") or not shutil.which("ldns-signzone"),
                                reason="NSD and ldnsutils must be installed")

HOSTS = {"good": "127.0.0.11", "bad": "127.0.0.12", "none": "127.0.0.13", "unusable": "127.0.0.14",
         "bogus": "127.0.0.15", "plain": "127.0.0.16", "second": "127.0.0.17", "odd": "127.0.0.18"}


def key_digest(cert):
    """Of a TLSA record 3 1 1."""
    pem = subprocess.run(["openssl", "x509", "-in", cert, "-pubkey", "-noout"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, check=True,
                         capture_output=True).stdout
    return hashlib.sha256(der).hexdigest()


class World:
    """A signed zone, a certificate authority and one Roost, to which tests give settings."""

    def __init__(self, directory):
        self.port, self.dns_port = free_ports(2)
        self.ca = make_certificate(directory, "authority.test")
        self.cert = make_certificate(directory, "mx.good.test", self.ca)
        self.client_cert = make_certificate(directory, "mail.example.test", self.ca)
        tlsa = f"_{self.port}._tcp.mx."
        records = "".join(f"{name} IN MX 10 mx.{name}\nmx.{name} IN A {ip}\n" for name, ip in HOSTS.items())
        digest = key_digest(self.cert[0])
        records += f"{tlsa}good IN TLSA 3 1 1 {digest}\n{tlsa}bad IN TLSA 3 1 1 {'ab' * 32}\n"
        records += f"{tlsa}unusable IN TLSA 1 1 1 {digest}\n{tlsa}bogus IN TLSA 3 1 1 {digest}\n"
        records += f"{tlsa}odd IN TLSA 3 1 1 {digest}00\n{tlsa}odd IN TLSA 3 1 2 abcd\n"
        # An alias that is signed all the way, and one that leads nowhere but to itself.
        records += "alias IN MX 10 www.alias\nwww.alias IN CNAME mx.good\n"
        records += "loop IN MX 10 a.loop\na.loop IN CNAME b.loop\nb.loop IN CNAME a.loop\n"
        records += "pair IN MX 10 mx.none\npair IN MX 20 mx.second\n"
        self.dns = Nsd(self.dns_port, records, signed=True,
                       spoil=lambda text: text.replace(f"mx.bogus.test.\t60\tIN\tA\t{HOSTS['bogus']}",
                                                       "mx.bogus.test.\t60\tIN\tA\t127.0.0.99"))
        self.roost = Roost(settings={"dns_resolvers": [f"127.0.0.1@{self.dns_port}"], "smtp_port": self.port,
                                     "dns_trust_anchor": self.dns.anchor, "smtp_tls_CAfile": self.ca[0],
                                     "minimal_backoff_time": "1h", "maximal_backoff_time": "2h"})
        self.before = dict(self.roost.settings)

    def configure(self, **settings):
        """Restarts Roost with these beside its usual settings."""
        wanted = {**self.before, **settings}
        if wanted != self.roost.settings:
            self.roost.stop()
            self.roost.settings = wanted
            self.roost.write_conf()
            self.roost.start()

    def sink(self, name, **options):
        options.setdefault("certificate", self.cert)
        return Sink(self.port, HOSTS[name], f"mx.{name}.test", **options)

    def send(self, to, text=None, sender="alice@example.test", mail_options=(), rcpt_options=()):
        to = [to] if isinstance(to, str) else to
        message = make_message(sender, to[0])
        with smtplib.SMTP("127.0.0.1", self.roost.ports["smtp"]) as client:
            client.sendmail(sender, to, text or message.as_bytes(policy=email.policy.SMTP), mail_options, rcpt_options)
        return message

    def queue(self):
        return self.roost.ctl("queue", "list")

    def deferred(self):
        rows = wait_until(lambda: [m for m in self.queue() if m["queue"] == "deferred"], what="it is deferred")
        self.roost.ctl("queue", "delete", "--all")
        return rows[0]["reason"]

    def empty(self):
        wait_until(lambda: self.queue() == [], what="the queue is empty")

    def close(self):
        self.roost.close()
        self.dns.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("certificates"))
    yield made
    made.close()


# ---- TLS ----


@pytest.mark.parametrize("domain,level,arrives", [
    ("good", "dane-only", True), ("alias", "dane-only", True), ("good", "dane", True),
    ("bad", "dane", False), ("none", "dane", True), ("none", "dane-only", False),
    ("unusable", "dane", True), ("unusable", "dane-only", False), ("bogus", "dane", False),
    # Records of a wrong length are none to authenticate with.
    ("odd", "dane", True), ("odd", "dane-only", False),
    ("loop", "may", False),
    ("good", "verify", True), ("good", "secure", True), ("none", "verify", False), ("none", "secure", False),
    ("none", "encrypt", True),
])
def test_what_a_server_must_prove(world, domain, level, arrives):
    world.configure(smtp_tls_security_level=level)
    host = {"alias": "good", "loop": "good"}.get(domain, domain)
    with world.sink(host) as sink:
        world.send(f"someone@{domain}.test")
        if arrives:
            world.empty()
            assert [m.tls for m in sink.messages] == [True]
        else:
            reason = world.deferred()
            assert sink.messages == [], reason


def test_dane_asks_for_tls_where_the_server_has_none(world):
    world.configure(smtp_tls_security_level="dane")
    with world.sink("good", certificate=None) as sink:
        world.send("someone@good.test")
        assert "TLS is required" in world.deferred() and sink.messages == []


def test_a_policy_of_its_own_for_a_destination(world):
    world.configure(smtp_tls_policy_maps=["inline:{ { good.test = secure match=mx.good.test }, "
                                          "{ .test = encrypt }, { plain.test = none } }"])
    with world.sink("good") as good, world.sink("plain") as plain, world.sink("none", certificate=None) as none:
        world.send(["a@good.test", "a@plain.test", "a@none.test"])
        assert "TLS is required" in world.deferred()
        assert [m.tls for m in good.messages] == [True] and [m.tls for m in plain.messages] == [False]
        assert none.messages == []


def test_a_client_certificate_and_implicit_tls(world):
    port = free_ports(1)[0]
    world.configure(relayhost=f"[mx.good.test]:{port}", smtp_tls_wrappermode="yes", smtp_tls_security_level="verify",
                    smtp_tls_cert_file=world.client_cert[0], smtp_tls_key_file=world.client_cert[1])
    with Sink(port, HOSTS["good"], certificate=world.cert, client_ca=world.ca[0], implicit_tls=True) as sink:
        world.send("someone@elsewhere.test")
        world.empty()
        assert sink.messages[0].tls
        assert (("commonName", "mail.example.test"),) in sink.messages[0].client_cert["subject"]


@pytest.mark.parametrize("offered,arrives,dsn", [(("REQUIRETLS",), True, None), ((), False, "5.7.30")])
def test_requiretls(world, offered, arrives, dsn, instance_imap):  # noqa: F811
    world.configure(smtp_tls_security_level="may", relayhost=f"[mx.good.test]:{world.port}")
    session = instance_imap("alice@example.test", world.roost)
    before = len(subjects(session))
    with world.sink("good", ehlo_tls=offered) as sink:
        # It can be asked for over TLS only (RFC 8689 section 4).
        with smtplib.SMTP_SSL("localhost", world.roost.ports["submissions"],
                              context=tls_context(world.roost)) as client:
            client.login("alice@example.test", PASSWORD)
            client.sendmail("alice@example.test", ["someone@good.test"], b"Subject: over TLS only\r\n\r\n", ["REQUIRETLS"])
        world.empty()
        assert [("REQUIRETLS" in m.mail, m.tls) for m in sink.messages] == [(True, True)] * arrives
    if dsn:
        wait_until(lambda: len(subjects(session)) > before, what="it comes back")
        report = session.fetch(str(before + 1), "(BODY.PEEK[])")[1][0][1].decode()
        assert f"Status: {dsn}" in report


# ---- SASL, relays ----


@pytest.mark.parametrize("mechanisms,tls,password,arrives", [
    ("PLAIN LOGIN", True, "right", True), ("LOGIN", True, "right", True), ("PLAIN", True, "wrong", False),
    # Nobody hears the password in plaintext.
    ("PLAIN LOGIN", False, "right", False),
])
def test_a_log_in_at_the_relay(world, mechanisms, tls, password, arrives):
    hop = f"[mx.good.test]:{world.port}"
    # A file of its own: one that changes counts a second later.
    accounts = world.roost.dir / f"accounts-{password}"
    accounts.write_text(f"{hop} relay-user:{password}\n")
    world.configure(relayhost=hop, smtp_sasl_auth_enable="yes", smtp_sasl_password_maps=[f"file:{accounts}"])
    with world.sink("good", certificate=world.cert if tls else None, accounts={"relay-user": "right"},
                    mechanisms=mechanisms) as sink:
        world.send("someone@elsewhere.test")
        if arrives:
            world.empty()
            assert [m.user for m in sink.messages] == ["relay-user"]
        else:
            reason = world.deferred()
            assert sink.messages == [] and "log-in" in reason, reason
            assert not any("AUTH" in line for line in sink.lines if not tls)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_transcript_of_a_log_in_has_no_password(world, mechanism, instance_imap):  # noqa: F811
    hop = f"[mx.good.test]:{world.port}"
    accounts = world.roost.dir / f"accounts-transcript-{mechanism}"
    accounts.write_text(f"{hop} relay-user:right\n")
    world.configure(relayhost=hop, smtp_sasl_auth_enable="yes", smtp_sasl_password_maps=[f"file:{accounts}"],
                    notify_classes=["protocol"], error_notice_recipient="bob@example.test")
    inbox = instance_imap("bob@example.test", world.roost)
    before = len(subjects(inbox))
    with world.sink("good", accounts={"relay-user": "right"}, mechanisms=mechanism,
                    faults={"rcpt": "503 5.5.1 not now"}):
        world.send("someone@elsewhere.test")
        wait_until(lambda: len(subjects(inbox)) > before, what="the postmaster hears of it")
    inbox.select("INBOX")
    _, data = inbox.fetch(str(before + 1), "(BODY.PEEK[])")
    text = data[0][1].decode()
    assert " Out: AUTH ...\r\n" in text and " In:  235 2.7.0 welcome\r\n" in text and " In:  503 5.5.1 not now" in text
    lines = [base64.b64encode(secret).decode().rstrip("=") for secret in (b"right", b"\0relay-user\0right", b"relay-user")]
    assert not any(line in text for line in [*lines, "right"])
    world.empty()


def test_the_second_relay_when_the_first_is_down(world):
    world.configure(relayhost=f"[mx.none.test]:{world.port}, [mx.second.test]:{world.port}")
    with world.sink("second") as second:
        world.send("someone@elsewhere.test")
        world.empty()
        assert len(second.messages) == 1


@pytest.mark.parametrize("fault", [{"greeting": "421 4.3.2 not now"}, {"greeting": "554 5.3.2 no service"},
                                   {"ehlo": "close"}, {"mail": "close"}, {"rcpt": "451 4.7.1 later"},
                                   {"data": "close"}])
def test_the_next_exchanger_when_the_first_is_unwell(world, fault):
    world.configure()
    with world.sink("none", faults=fault) as first, world.sink("second") as second:
        world.send("someone@pair.test")
        world.empty()
        assert (len(first.messages), len(second.messages)) == (0, 1)


def test_transports_and_relays_of_senders(world, instance_imap):  # noqa: F811
    world.configure(transport_maps=[f"inline:{{ {{ moved.test = smtp:[mx.good.test]:{world.port} }}, "
                                    "{ closed.test = error:5.1.2 nobody there }, { void.test = discard: } }"],
                    # What a client names itself is refused in RCPT already.
                    virtual_alias_maps=["inline:{ { left@example.test = a@closed.test } }"],
                    sender_dependent_relayhost_maps=[f"inline:{{ {{ bob@example.test = [mx.second.test]:{world.port} }} }}"])
    reports = "Mail could not be delivered"
    session = instance_imap("alice@example.test", world.roost)
    before = subjects(session).count(reports)
    with world.sink("good") as good, world.sink("second") as second:
        world.send(["a@moved.test", "left@example.test", "a@void.test"])
        world.send("a@none.test", sender="bob@example.test")
        world.empty()
        assert [m.rcpts for m in good.messages] == [["TO:<a@moved.test>"]]
        assert [m.rcpts for m in second.messages] == [["TO:<a@none.test>"]]
        # The reports are there by the time the queue is empty.
        wait_until(lambda: subjects(session).count(reports) > before, what="the report arrives")


def test_many_messages_over_few_connections(world):
    world.configure(smtp_tls_security_level="none", default_destination_concurrency_limit="2")
    with world.sink("good") as sink:
        with smtplib.SMTP("127.0.0.1", world.roost.ports["smtp"]) as client:
            for _ in range(60):
                client.send_message(make_message("alice@example.test", "a@good.test"))
        wait_until(lambda: len(sink.messages) == 60, what="all arrive")
        world.empty()
        assert sink.sessions <= 10, sink.sessions


def test_a_thousand_recipients(world):
    world.configure(smtp_tls_security_level="none", smtpd_recipient_limit="2000")
    with world.sink("good") as sink:
        world.send([f"user{n}@good.test" for n in range(1000)])
        world.empty()
        got = [rcpt for m in sink.messages for rcpt in m.rcpts]
        assert len(got) == 1000 and len(set(got)) == 1000


def test_a_server_that_limits_recipients(world):
    world.configure(smtp_tls_security_level="none")
    with world.sink("good", ehlo=(*DEFAULT_EHLO, "LIMITS RCPTMAX=3 MAILMAX=100")) as sink:
        world.send([f"user{n}@good.test" for n in range(10)])
        world.empty()
        assert sorted(len(m.rcpts) for m in sink.messages) == [1, 3, 3, 3]


def nobody(session):
    return "550 5.1.1 nobody" if "nobody@" in session.line else None


def test_a_priority_goes_on_and_back(world):
    """To the next server, into the trace, and with the report of a failure (RFC 6710)."""
    world.configure(smtp_tls_security_level="none")
    with world.sink("good", ehlo=(*DEFAULT_EHLO, "MT-PRIORITY"), faults={"rcpt": nobody}) as sink:
        world.send(["a@good.test", "nobody@good.test"], sender="sender@good.test", mail_options=["MT-PRIORITY=4"])
        world.send("b@good.test", sender="sender@good.test")
        world.empty()
        by_rcpt = {m.rcpts[0].split()[0]: m for m in sink.messages}
        message, report, plain = (by_rcpt[f"TO:<{name}@good.test>"] for name in ("a", "sender", "b"))
        assert " MT-PRIORITY=4" in message.mail and b"\r\n\tPRIORITY 4;\r\n" in message.data
        assert report.mail.startswith("FROM:<>") and " MT-PRIORITY=4" in report.mail
        assert "MT-PRIORITY" not in plain.mail and b"PRIORITY" not in plain.data
    assert any("priority=4" in line for line in world.roost.log().splitlines() if "to=a@good.test" in line)


def test_a_report_tells_of_a_future_release(world, instance_imap):  # noqa: F811
    """RFC 4865 section 5.1.2: as it was asked for."""
    world.configure(smtp_tls_security_level="none")
    context = ssl.create_default_context(cafile=str(world.roost.tls_cert))
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    session = instance_imap("alice@example.test", world.roost)
    before = len(subjects(session))
    with world.sink("good", faults={"rcpt": nobody}):
        with smtplib.SMTP_SSL("localhost", world.roost.ports["submissions"], context=context, timeout=60) as client:
            client.login("alice@example.test", PASSWORD)
            for option in ("HOLDFOR=1", f"HOLDUNTIL={until}"):
                client.sendmail("alice@example.test", ["nobody@good.test"],
                                make_message("alice@example.test", "nobody@good.test").as_string(), mail_options=[option])
        world.empty()
        wait_until(lambda: len(subjects(session)) == before + 2, what="the reports arrive")
    _, data = session.fetch(f"{before + 1}:{before + 2}", "(BODY.PEEK[])")
    text = b"".join(part[1] for part in data if isinstance(part, tuple))
    for value in ("for;1", f"until;{until}"):
        assert f"\r\nFuture-Release-Request: {value}\r\n".encode() in text


def test_a_message_that_is_too_large_is_not_sent(world, instance_imap):  # noqa: F811
    world.configure(smtp_tls_security_level="none")
    with world.sink("good", ehlo=("SIZE 2000", "8BITMIME")) as sink:
        world.send("someone@good.test", make_message(body="x" * 60 + "\n" * 3000).as_bytes(policy=email.policy.SMTP))
        world.empty()
        assert not any(line.startswith("MAIL") for line in sink.lines)


def test_our_own_address(world):
    world.configure(smtp_tls_security_level="none", smtp_bind_address="127.0.0.77")
    seen = []
    with world.sink("good", faults={"ehlo": lambda s: seen.append(s.connection.getpeername()[0])}):
        world.send("someone@good.test")
        world.empty()
    assert seen == ["127.0.0.77"]


def test_a_server_that_calls_itself_by_our_name(world, instance_imap):  # noqa: F811
    world.configure(smtp_tls_security_level="none")
    with Sink(world.port, HOSTS["good"], "mail.example.test") as sink:
        world.send("someone@good.test")
        world.empty()
        assert sink.messages == []


# ---- faults at every step ----


STEPS = ("greeting", "ehlo", "mail", "rcpt", "data", "content", "end")


FAULTS = {"closes": "close", "refuses": "450 4.2.0 later", "babbles": b"\0\xff\xfe garbage\r\n",
          "miscounts": "999 what", "never ends": b"250-endless\r\n" * 300}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_server_that_fails_loses_no_mail(world, step, fault):
    world.configure(smtp_tls_security_level="none")
    with world.sink("good", faults={step: fault}) as sink:
        world.send("someone@good.test")
        wait_until(lambda: [m for m in world.queue() if m["queue"] == "deferred"], what="it is deferred")
        assert sink.messages == []
        sink.faults = {}
        world.roost.ctl("queue", "flush")
        world.empty()
        assert len(sink.messages) == 1


def test_a_server_that_hangs_does_not_hold_up_others(world):
    world.configure(smtp_tls_security_level="none")
    with world.sink("none", faults=dict.fromkeys(["greeting"], "hang")), world.sink("good") as good:
        for n in range(40):
            world.send(f"user{n}@none.test")
        world.send("someone@good.test")
        wait_until(lambda: good.messages, what="the other one arrives")
        world.roost.ctl("queue", "delete", "--all")


ENDS = {"lf": b"\n.\n", "lf-crlf": b"\n.\r\n", "crlf-lf": b"\r\n.\n", "cr": b"\r.\r", "crlf-cr": b"\r\n.\r",
        "cr-crlf": b"\r.\r\n", "crcrlf": b"\r\r\n.\r\r\n", "lfcr": b"\n\r.\n\r", "crlf": b"\r\n.\r\n", "lf-cr": b"\n.\r"}


def by_sendmail(world, content):
    command = [os.path.join(world.roost.settings["program_dir"], "sendmail"), "-C", world.roost.conf, "-i",
               "someone@good.test"]
    result = subprocess.run([str(c) for c in command], input=content, capture_output=True)
    assert result.returncode == 0, result.stderr
    return True


def by_chunks(world, content):
    """RFC 3030: no end of data in them, so every byte may come. False: it was refused."""
    with smtplib.SMTP("127.0.0.1", world.roost.ports["smtp"], timeout=60) as client:
        client.ehlo()
        client.mail("alice@example.test")
        client.rcpt("someone@good.test")
        client.putcmd(f"BDAT {len(content)} LAST")
        client.sock.sendall(content)
        code = client.getreply()[0]
        assert code in (250, 550), code
        return code == 250


@pytest.mark.parametrize("offered", [DEFAULT_EHLO, (*DEFAULT_EHLO, "CHUNKING")], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("way", [by_sendmail, by_chunks])
@pytest.mark.parametrize("end", ENDS)
def test_nothing_that_a_server_might_take_for_the_end_leaves(world, end, way, offered):
    """SMTP smuggling through us: whatever reaches the queue, one message leaves, with whole line ends, and in DATA
    each dot that begins a line is doubled."""
    world.configure(smtp_tls_security_level="none")
    smuggled = b"MAIL FROM:<evil@example.test>"
    with world.sink("good", ehlo=offered) as sink:
        taken = way(world, b"Subject: x\r\n\r\nfirst" + ENDS[end] + smuggled + b"\r\nlast\r\n")
        world.empty()
        assert len(sink.messages) == taken
        for message in sink.messages:
            data = message.data
            assert data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r")
            assert smuggled in data and data.endswith(b"last\r\n")
