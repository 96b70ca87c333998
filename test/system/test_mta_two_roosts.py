# SPDX-License-Identifier: MIT
"""Two Roosts send each other mail: every way that they can talk, and what they tell each other's users."""

import email
import email.policy
import hashlib
import smtplib
import socket
import ssl

import pytest
from mail_helpers import instance_imap, make_message, subjects, wait_for_subject  # noqa: F401
from roost_instance import PASSWORD, Roost, free_ports, wait_until
from sink import Sink, make_certificate

ALICE, CAROL = "alice@example.test", "carol@far.test"


class Pair:
    """near has alice@example.test, far has carol@far.test; far takes at most 100,000 bytes and relays for known
    certificates to a port of this test."""

    def __init__(self, directory):
        self.cert = make_certificate(directory, "mail.example.test")
        self.onward = free_ports(1)[0]
        quick = {"mynetworks": [], "minimal_backoff_time": "1s", "maximal_backoff_time": "2s"}
        self.far = Roost(domain="far.test", users=(), settings={
            **quick, "hostname": "mail.far.test", "max_message_size": 100000, "tls_ask_client_cert": "yes",
            "relay_clientcerts": ["inline:{" + fingerprint(self.cert[0]) + "=near}"],
            "smtpd_relay_restrictions": ["permit_tls_clientcerts", "permit_sasl_authenticated",
                                         "reject_unauth_destination"]})
        self.far.add_user("carol", domain="far.test")
        self.near = Roost(settings={**quick, "mynetworks": ["127.0.0.0/8"]}, users=("alice",))
        self.before = dict(self.near.settings)
        self.far.settings["transport_maps"] = [
            f"inline:{{ {{ example.test = smtp:[127.0.0.1]:{self.near.ports['smtp']} }}, "
            f"{{ onward.test = smtp:[127.0.0.1]:{self.onward} }} }}"]
        self.far.write_conf()
        self.far.reload()

    def near_sends_to(self, port="smtp", **settings):
        wanted = {**self.before, "relayhost": f"[127.0.0.1]:{self.far.ports[port]}", **settings}
        if wanted != self.near.settings:
            self.near.stop()
            self.near.settings = wanted
            self.near.write_conf()
            self.near.start()

    def near_logs_in(self, port, **settings):
        hop = f"[127.0.0.1]:{self.far.ports[port]}"
        self.near_sends_to(port, smtp_sasl_auth_enable="yes", smtp_tls_security_level="encrypt",
                           smtp_sasl_password_maps=[f"inline:{{ {{ {hop} = {CAROL}:{PASSWORD} }} }}"], **settings)

    def send(self, to, sender=ALICE, **options):
        message = make_message(sender, to)
        with smtplib.SMTP("127.0.0.1", self.near.ports["smtp"]) as client:
            client.sendmail(sender, [to], message.as_bytes(policy=email.policy.SMTP), **options)
        return message

    def close(self):
        self.near.close()
        self.far.close()


def fingerprint(cert):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).digest().hex(":").upper()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = Pair(tmp_path_factory.mktemp("certificates"))
    yield made
    made.close()


def arrived(session, subject):
    wait_for_subject(session, subject)
    number = subjects(session).index(subject) + 1
    return session.fetch(str(number), "(BODY.PEEK[])")[1][0][1]


def parsed(data):
    return email.message_from_bytes(data.replace(b"\r\n", b"\n"), policy=email.policy.default)


def report(session, action):
    """The next delivery report: (message, fields of the message, fields of the recipient)."""
    def look():
        for number in range(1, len(subjects(session)) + 1):
            message = parsed(session.fetch(str(number), "(BODY.PEEK[])")[1][0][1])
            if message.get_content_type() == "multipart/report":
                session.store(str(number), "+FLAGS", "\\Deleted")
                session.expunge()
                return message
        return None

    message = wait_until(look, what="a report arrives")
    fields = list(list(message.iter_parts())[1].iter_parts())
    assert fields[1]["Action"] == action, str(fields[1])
    return message, fields[0], fields[1]


# ---- the ways ----


def in_the_open(pair):
    pair.near_sends_to(smtp_tls_security_level="none")


def with_starttls(pair):
    pair.near_sends_to(smtp_tls_security_level="encrypt")


def with_implicit_tls(pair):
    pair.near_logs_in("submissions", smtp_tls_wrappermode="yes")


def with_a_log_in(pair):
    pair.near_logs_in("submission")


@pytest.mark.parametrize("way,sender,protocol", [
    (in_the_open, ALICE, "ESMTP"), (with_starttls, ALICE, "ESMTPS"),
    # Who logs in may use his own address only.
    (with_implicit_tls, CAROL, "ESMTPSA"), (with_a_log_in, CAROL, "ESMTPSA")],
    ids=["in the open", "STARTTLS", "implicit TLS", "log-in"])
def test_from_one_to_the_other(pair, instance_imap, way, sender, protocol):  # noqa: F811
    way(pair)
    sent = pair.send(CAROL, sender)
    data = arrived(instance_imap(CAROL, pair.far), sent["Subject"])
    # Whatever each adds goes above; the message stays as it was.
    assert data.endswith(sent.as_bytes(policy=email.policy.SMTP))
    # The one above it is of the hand-over to the mailbox.
    assert f" with {protocol} " in " ".join(parsed(data).get_all("Received")[1].split())


@pytest.mark.parametrize("known", [True, False])
def test_a_certificate_lets_it_relay(pair, instance_imap, tmp_path, known):  # noqa: F811
    cert = pair.cert if known else make_certificate(tmp_path, "mail.example.test")
    pair.near_sends_to(smtp_tls_security_level="encrypt", smtp_tls_cert_file=cert[0], smtp_tls_key_file=cert[1])
    with Sink(pair.onward) as sink:
        pair.send("someone@onward.test")
        if known:
            wait_until(lambda: sink.messages, what="it is relayed")
        else:
            _, _, recipient = report(instance_imap(ALICE, pair.near), "failed")
            assert recipient["Status"] == "5.7.1" and not sink.messages


def test_the_second_when_the_first_is_down(pair, instance_imap):  # noqa: F811
    dead = free_ports(1)[0]
    pair.near_sends_to(relayhost=f"[127.0.0.1]:{dead}, [127.0.0.1]:{pair.far.ports['smtp']}",
                       smtp_tls_security_level="may")
    sent = pair.send(CAROL)
    wait_for_subject(instance_imap(CAROL, pair.far), sent["Subject"])


# ---- content ----


def test_binary_in_chunks(pair, instance_imap):  # noqa: F811
    """RFC 3030: what came as BINARYMIME goes on so, byte for byte, and is a message for IMAP."""
    pair.near_sends_to(smtp_tls_security_level="may")
    body = bytes(range(256)) * 20 + b"\n.\nbare\r"
    head = (b"From: <alice@example.test>\r\nTo: <carol@far.test>\r\nSubject: binary\r\nMIME-Version: 1.0\r\n"
            b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <binary@example.test>\r\n"
            b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n")
    with socket.create_connection(("127.0.0.1", pair.near.ports["smtp"]), timeout=60) as sock:
        lines = sock.makefile("rb")

        def say(text, data=b""):
            sock.sendall(text.encode() + b"\r\n" + data)
            while (line := lines.readline())[3:4] == b"-":
                pass
            return line

        lines.readline()
        say("EHLO client.test")
        assert say("MAIL FROM:<alice@example.test> BODY=BINARYMIME").startswith(b"250")
        assert say("RCPT TO:<carol@far.test>").startswith(b"250")
        assert say(f"BDAT {len(head)}", head).startswith(b"250")
        assert say(f"BDAT {len(body)} LAST", body).startswith(b"250")
    session = instance_imap(CAROL, pair.far)
    wait_for_subject(session, "binary")
    number = str(subjects(session).index("binary") + 1)
    status, data = session.fetch(number, "(BINARY.PEEK[1])")
    assert status == "OK" and data[0][1] == body


def test_too_large_is_known_before_it_is_sent(pair, instance_imap):  # noqa: F811
    pair.near_sends_to(smtp_tls_security_level="may")
    message = make_message(ALICE, CAROL, body=("y" * 70 + "\n") * 2000)
    with smtplib.SMTP("127.0.0.1", pair.near.ports["smtp"]) as client:
        client.sendmail(ALICE, [CAROL], message.as_bytes(policy=email.policy.SMTP))
    _, _, recipient = report(instance_imap(ALICE, pair.near), "failed")
    assert recipient["Status"] == "5.3.4"
    assert message["Subject"] not in subjects(instance_imap(CAROL, pair.far))


# ---- reports ----


def test_success_is_told_by_who_delivered(pair, instance_imap):  # noqa: F811
    pair.near_sends_to(smtp_tls_security_level="may")
    pair.send(CAROL, mail_options=["RET=HDRS", "ENVID=id+2B7"],
              rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first+2Bthought@far.test"])
    message, whole, recipient = report(instance_imap(ALICE, pair.near), "delivered")
    assert whole["Reporting-MTA"].replace(" ", "") == "dns;mail.far.test"
    assert whole["Original-Envelope-Id"] == "id+7"
    assert recipient["Original-Recipient"].replace(" ", "") == "rfc822;first+thought@far.test"
    assert recipient["Final-Recipient"].replace(" ", "") == f"rfc822;{CAROL}"
    assert list(message.iter_parts())[2].get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize("notify,told", [("NOTIFY=FAILURE", True), (None, True), ("NOTIFY=NEVER", False),
                                         ("NOTIFY=SUCCESS", False)])
def test_failure_is_told_to_who_asked(pair, instance_imap, notify, told):  # noqa: F811
    pair.near_sends_to(smtp_tls_security_level="may")
    session = instance_imap(ALICE, pair.near)
    pair.send("nobody@far.test", rcpt_options=[notify] if notify else ())
    wait_until(lambda: pair.near.ctl("queue", "list") == [], what="the queue is empty")
    if told:
        _, whole, recipient = report(session, "failed")
        assert whole["Reporting-MTA"].replace(" ", "") == "dns;mail.example.test"
        assert recipient["Status"] == "5.1.1" and recipient["Diagnostic-Code"].startswith("smtp")
    else:
        assert subjects(session) == []
