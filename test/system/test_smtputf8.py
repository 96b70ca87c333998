# SPDX-License-Identifier: MIT
"""SMTPUTF8 (RFC 6531): addresses and headers in other letters, from and to Postfix, and what is told of their failure."""

import base64
import email
import email.policy
import imaplib
import os
import shutil
import smtplib
import ssl
import subprocess

import pytest
from mail_helpers import instance_imap, subjects  # noqa: F401
from peers import Postfix
from roost_instance import BUILD, PASSWORD, wait_until
from sink import DEFAULT_EHLO, Sink
from waiting_mta import dns, ports  # noqa: F401
from waiting_mta import make as make_waiting  # noqa: F401

pytestmark = pytest.mark.skipif(not shutil.which("nsd"), reason="NSD must be installed")

ALICE, GREEK = "alice@example.test", "δοκιμή@example.test"
ADDRESS = "127.0.0.33"
RECORDS = f"""
xn--bcher-kva IN MX 10 mx.sink
plain IN MX 10 mx.sink
mx.sink IN A {ADDRESS}
peer IN A 127.0.0.1
"""


@pytest.fixture
def make(make_waiting):
    def start(**more):
        roost = make_waiting(**more)
        roost.add_user("δοκιμή")
        return roost

    return start


def client_of(roost, user=None):
    if user is None:
        client = smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60)
    else:
        context = ssl.create_default_context(cafile=str(roost.tls_cert))
        client = smtplib.SMTP_SSL("localhost", roost.ports["submissions"], context=context, timeout=60)
        client.ehlo()
        token = base64.b64encode(f"\0{user}\0{PASSWORD}".encode()).decode()
        assert client.docmd("AUTH PLAIN", token)[0] == 235
    client.ehlo()
    client.command_encoding = "utf-8"
    return client


def text_of(sender, to, subject):
    return f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\nGrüße\r\n".encode()


def send(client, sender, to, subject, mail=" SMTPUTF8", rcpt=""):
    """The replies to MAIL, RCPT, and the content."""
    replies = [client.docmd(f"MAIL FROM:<{sender}>{mail}")]
    if replies[-1][0] == 250:
        replies.append(client.docmd(f"RCPT TO:<{to}>{rcpt}"))
    if replies[-1][0] == 250 and len(replies) == 2:
        replies.append(client.data(text_of(sender, to, subject)))
    if replies[-1][0] >= 400:
        client.docmd("RSET")  # rset() would go back to ASCII
    return replies


def login(roost, user):
    """An IMAP session of a user whose name imaplib cannot write."""
    context = ssl.create_default_context(cafile=str(roost.tls_cert))
    client = imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=context, timeout=60)
    client.authenticate("PLAIN", lambda _: f"\0{user}\0{PASSWORD}".encode())
    return client


def only_message(session):
    wait_until(lambda: len(subjects(session)) == 1, what="a message arrives")
    _, data = session.fetch("1", "(BODY.PEEK[])")
    return data[0][1]


def test_dialogue(make):
    roost = make(disable_vrfy_command="no")
    with client_of(roost) as client:
        assert client.has_extn("smtputf8")
        # Without the parameter only ASCII.
        replies = send(client, "ü@peer.test", ALICE, "x", mail="")
        assert replies[-1][0] == 550 and replies[-1][1].startswith(b"5.6.7"), replies
        replies = send(client, "a@peer.test", GREEK, "x", mail="")
        assert replies[-1][0] == 553 and replies[-1][1].startswith(b"5.6.7"), replies
        assert send(client, "a@peer.test", ALICE, "x", mail=" SMTPUTF8=1")[-1][0] == 501
        client.putcmd("MAIL FROM:<a@peer.test>")
        assert client.getreply()[0] == 250
        client.send(b"RCPT TO:<\xff\xfe@example.test>\r\n")
        assert client.getreply()[0] == 553
        client.docmd("RSET")
        # A name that nobody has. The reply names it, in ASCII.
        code, text = send(client, "a@peer.test", "üli@example.test", "x")[-1]
        assert code == 550 and b"<\\x{FC}li@example.test>" in text, text
        client.sendmail("jürgen@peer.test", GREEK, text_of("jürgen@peer.test", GREEK, "Γειά"), ["SMTPUTF8", "BODY=8BITMIME"])
        client.command_encoding = "utf-8"
        # Other letters of the same name.
        code, text = client.docmd("VRFY", "<ΔΟΚΙΜΉ@example.test> SMTPUTF8")
        assert code == 250 and "ΔΟΚΙΜΉ@example.test" in text.decode()
        code, text = client.docmd("VRFY", "<δοκιμή@example.test>")
        assert code == 550 and text.startswith(b"5.6.8"), text
        roost.ctl("alias", "add", "both@example.test", GREEK, ALICE)
        code, text = client.docmd("EXPN", "both@example.test")
        assert code == 550 and text.startswith(b"5.6.8"), text
        code, text = client.docmd("EXPN", "both@example.test SMTPUTF8")
        assert code == 250 and GREEK in text.decode()
    raw = only_message(login(roost, GREEK))
    assert "Subject: Γειά".encode() in raw and b"with UTF8SMTP id" in raw and "Return-Path: <jürgen@peer.test>".encode() in raw
    # HELO has no parameters.
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
        client.helo()
        assert client.docmd("MAIL FROM:<a@peer.test> SMTPUTF8")[0] == 555


def test_domains_have_one_name(make):
    """U-labels and A-labels are the same domain: here, and elsewhere."""
    roost = make()
    roost.ctl("domain", "add", "grüße.test")
    roost.add_user("carol", domain="xn--gre-6ka8l.test")
    for domain in ("grüße.test", "GRÜßE.test", "xn--gre-6ka8l.test"):
        with client_of(roost) as client:
            assert send(client, "a@peer.test", f"carol@{domain}", domain)[-1][0] == 250
    session = login(roost, "carol@grüße.test")
    wait_until(lambda: len(subjects(session)) == 3, what="all arrive")


def test_a_domain_of_this_machine(make, tmp_path, instance_imap):  # noqa: F811
    """local_domains may be written in letters; the address comes in either form."""
    table = tmp_path / "aliases"
    table.write_text(f"root: {ALICE}\n")
    roost = make(local_domains=["grüße.lokal"], alias_maps=[f"file:{table}"])
    tmp_path.chmod(0o755)
    session = instance_imap(ALICE, roost)
    with client_of(roost) as client:
        assert send(client, "a@peer.test", "root@grüße.lokal", "eins")[-1][0] == 250
        assert send(client, "a@peer.test", "root@xn--gre-6ka8l.lokal", "zwei", mail="")[-1][0] == 250
    wait_until(lambda: sorted(subjects(session)) == ["eins", "zwei"], what="both arrive")


def test_next_server(make, ports):
    """What needs it goes to servers that have it only; the rest to all."""
    roost = make()
    with Sink(ports[0], ADDRESS, ehlo=(*DEFAULT_EHLO, "SMTPUTF8")) as sink, client_of(roost, ALICE) as client:
        assert send(client, ALICE, "ü@bücher.test", "eins", rcpt=" ORCPT=utf-8;\\x{FC}@b\\x{FC}cher.test NOTIFY=FAILURE")[-1][0] == 250
        assert send(client, ALICE, "a@plain.test", "zwei ä")[-1][0] == 250
        client.docmd(f"MAIL FROM:<{ALICE}> SMTPUTF8")
        client.docmd("RCPT TO:<a@plain.test>")
        assert client.data(b"Subject: nothing special\r\n\r\nHello.\r\n")[0] == 250
        wait_until(lambda: len(sink.messages) == 3, what="all arrive")
        by_subject = {email.message_from_bytes(m.data, policy=email.policy.default)["Subject"]: m for m in sink.messages}
        assert " SMTPUTF8" in by_subject["eins"].mail and " SMTPUTF8" in by_subject["zwei ä"].mail
        assert " SMTPUTF8" not in by_subject["nothing special"].mail
        rcpts = [line for line in sink.lines if line.startswith("RCPT TO:<ü")]
        assert rcpts == ["RCPT TO:<ü@xn--bcher-kva.test> NOTIFY=FAILURE ORCPT=utf-8;ü@bücher.test"]
        assert b"with UTF8SMTPSA id" in by_subject["eins"].data


def report_of(session, roost):
    message = email.message_from_bytes(only_message(session), policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    return message


def test_bounces(make, ports, instance_imap):  # noqa: F811
    roost = make()
    with Sink(ports[0], ADDRESS) as sink:
        # A domain alone is no obstacle: it has a name in ASCII.
        with client_of(roost, ALICE) as client:
            client.docmd(f"MAIL FROM:<{ALICE}> SMTPUTF8")
            assert client.docmd("RCPT TO:<a@bücher.test>")[0] == 250
            assert client.data(b"Subject: plain\r\n\r\nHello.\r\n")[0] == 250
            wait_until(lambda: len(sink.messages) == 1, what="it arrives")
            assert send(client, ALICE, "ü@bücher.test", "Ärger", rcpt=" ORCPT=utf-8;\\x{FC}@b\\x{FC}cher.test")[-1][0] == 250
        message = report_of(instance_imap(ALICE, roost), roost)
        text, status, original = message.iter_parts()
        assert status.get_content_type() == "message/global-delivery-status"
        fields = status.as_bytes().decode()
        for field in ("Final-Recipient: utf-8; ü@xn--bcher-kva.test", "Original-Recipient: utf-8; ü@bücher.test", "Status: 5.6.7",
                      "Action: failed"):
            assert field in fields, fields
        assert original.get_content_type() == "message/global"
        assert "Subject: Ärger".encode() in message.as_bytes()
        assert len(sink.messages) == 1
        # And to somebody with other letters in his name.
        with client_of(roost, GREEK) as client:
            client.docmd(f"MAIL FROM:<{GREEK}> SMTPUTF8")
            assert client.docmd("RCPT TO:<a@plain.test>")[0] == 250
            assert client.data(b"Subject: to one in ASCII\r\n\r\nHello.\r\n")[0] == 250
        report_of(login(roost, GREEK), roost)


def test_a_report_reaches_who_has_no_smtputf8(make, ports):
    roost = make()
    with Sink(ports[0], ADDRESS) as sink, client_of(roost) as client:
        assert send(client, "a@plain.test", "ü@bücher.test", "Ärger")[-1][0] == 250
        wait_until(lambda: len(sink.messages) == 1, what="the report arrives")
        report, = sink.messages
        assert report.rcpts == ["TO:<a@plain.test> NOTIFY=NEVER"] and "SMTPUTF8" not in report.mail, (report.mail, report.rcpts)
        assert b"message/global\r\nContent-Transfer-Encoding: quoted-printable" in report.data
        assert b"Subject: =C3=84rger" in report.data
        assert b"Status: 5.6.7" in report.data


def test_sendmail_and_aliases(make, ports):
    """What names other letters says so by itself, also where the name came out of a table."""
    roost = make()
    with Sink(ports[0], ADDRESS, ehlo=(*DEFAULT_EHLO, "SMTPUTF8")) as sink:
        subprocess.run([BUILD / "sendmail", "-f", ALICE, "-i", GREEK, "ü@bücher.test"], input="Subject: by sendmail\n\nHello.\n".encode(),
                       env={**os.environ, "ROOST_CONF": str(roost.conf)}, check=True, timeout=60)
        assert b"Subject: by sendmail" in only_message(login(roost, GREEK))
        wait_until(lambda: len(sink.messages) == 1, what="it arrives elsewhere")
        assert " SMTPUTF8" in sink.messages[0].mail
        roost.ctl("alias", "add", "list@example.test", "ü@bücher.test")
        with client_of(roost) as client:
            assert send(client, "a@peer.test", "list@example.test", "plain", mail="")[-1][0] == 250
        wait_until(lambda: len(sink.messages) == 2, what="the alias's arrives")
        assert " SMTPUTF8" in sink.messages[1].mail and sink.messages[1].rcpts[0].startswith("TO:<ü@xn--bcher-kva.test>")


def test_not_enabled(make):
    roost = make(smtputf8_enable="no")
    with client_of(roost) as client:
        assert not client.has_extn("smtputf8")
        assert send(client, "a@peer.test", ALICE, "x")[-1][0] == 555
        assert send(client, "ü@peer.test", ALICE, "x", mail="")[-1][0] == 550
        assert send(client, "a@peer.test", GREEK, "x", mail="")[-1][0] == 553
        assert send(client, "a@peer.test", ALICE, "x", mail="", rcpt=" ORCPT=utf-8;ü@peer.test")[-1][0] == 555


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("postfix"), reason="Postfix starts as root only")
def test_with_postfix(make, ports, instance_imap):  # noqa: F811
    roost = make()
    postfix = Postfix(ports[0])
    try:
        postfix.configure(smtputf8_enable="yes", relay_domains="example.test",
                          virtual_mailbox_maps="inline:{ {dave@peer.test = dave/}, {jürgen@peer.test = erin/} }",
                          transport_maps=f"inline:{{ {{ example.test = smtp:[127.0.0.1]:{roost.ports['smtp']} }} }}")

        def through_postfix():
            with smtplib.SMTP("127.0.0.1", ports[0], timeout=60) as client:
                client.ehlo()
                client.command_encoding = "utf-8"
                return client.has_extn("smtputf8") and send(client, "jürgen@peer.test", GREEK, "από Postfix")[-1][0] == 250

        wait_until(through_postfix, what="Postfix takes it")
        raw = only_message(login(roost, GREEK))
        assert "Subject: από Postfix".encode() in raw and raw.count(b"with UTF8SMTP id") >= 1
        with client_of(roost, GREEK) as client:
            assert send(client, GREEK, "jürgen@peer.test", "προς Postfix")[-1][0] == 250
        wait_until(lambda: postfix.messages("erin"), what="it arrives at Postfix's")
        assert "Subject: προς Postfix".encode() in bytes(postfix.messages("erin")[0])
        # What Postfix refuses comes back, by its right name.
        with client_of(roost, ALICE) as client:
            assert send(client, ALICE, "άγνωστος@peer.test", "x")[-1][0] == 250
        fields = report_of(instance_imap(ALICE, roost), roost).as_bytes().decode()
        assert "Final-Recipient: utf-8; άγνωστος@peer.test" in fields and "Status: 5.1.1" in fields
        # And back: Postfix reports to a sender of other letters.
        with smtplib.SMTP("127.0.0.1", ports[0], timeout=60) as client:
            client.ehlo()
            client.command_encoding = "utf-8"
            assert send(client, GREEK, "κανείς@example.test", "y")[-1][0] == 250
        session = login(roost, GREEK)
        wait_until(lambda: len(subjects(session)) == 2, what="Postfix's report arrives")
        _, data = session.fetch("2", "(BODY.PEEK[])")
        assert b"message/global-delivery-status" in data[0][1]
        # Switched off there.
        postfix.configure(smtputf8_enable="no")

        def is_off():
            with smtplib.SMTP("127.0.0.1", ports[0], timeout=60) as client:
                client.ehlo()
                return not client.has_extn("smtputf8")

        wait_until(is_off, what="Postfix takes it back")
        with client_of(roost, GREEK) as client:
            assert send(client, GREEK, "dave@peer.test", "πίσω")[-1][0] == 250
        wait_until(lambda: len(subjects(session)) == 3, what="it comes back")
        _, data = session.fetch("3", "(BODY.PEEK[])")
        assert b"Status: 5.6.7" in data[0][1] and "Subject: πίσω".encode() in data[0][1]
    finally:
        postfix.close()
