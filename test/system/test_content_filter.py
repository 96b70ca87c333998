# SPDX-License-Identifier: MIT
"""Content filters behind the queue: what they see, what they give back, and what becomes of mail when they fail."""

import re
import shutil
import smtplib
import subprocess

import pytest
from conftest import tls_context
from content_filters import FAULTS, Filter, FilterSetup, fetch_one
from mail_helpers import instance_imap, make_message, subjects  # noqa: F401
from peers import Postfix
from roost_instance import BUILD, PASSWORD, wait_until
from sink import Sink

ALICE, BOB = "alice@example.test", "bob@example.test"


class Setup(FilterSetup):
    def start(self, **more):
        return self.start_with({"content_filter": f"smtp:[127.0.0.1]:{self.port}", "dns_resolvers": ["127.0.0.1@1"],
                                "relayhost": f"[127.0.0.1]:{self.elsewhere}", **more})


@pytest.fixture
def setup(make_instance):
    return Setup(make_instance)


def send(instance, subject, to=(ALICE,), sender="sender@example.org", headers=(), body="Hello.\n", expect=None):
    message = make_message(sender, "someone@example.test", subject, body)
    for name, value in headers:
        message[name] = value
    with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], timeout=60) as client:
        client.ehlo("client.example.org")
        if expect is None:
            assert client.send_message(message, from_addr=sender, to_addrs=list(to)) == {}
        else:
            with pytest.raises(smtplib.SMTPDataError) as error:
                client.send_message(message, from_addr=sender, to_addrs=list(to))
            assert error.value.smtp_code == expect, error.value
            return error.value.smtp_error.decode()


def submit(instance, subject, to, headers=()):
    message = make_message(ALICE, to, subject)
    for name, value in headers:
        message[name] = value
    with smtplib.SMTP_SSL("localhost", instance.ports["submissions"], context=tls_context(instance)) as client:
        client.ehlo("laptop.home")
        client.login(ALICE, PASSWORD)
        client.send_message(message, from_addr=ALICE, to_addrs=[to])


def wait_for_empty_queue(instance):
    wait_until(lambda: instance.ctl("queue", "list") == [], what="the queue is empty")


def test_all_mail_goes_through_the_filter_once(setup, instance_imap):
    with setup.filter() as content_filter, Sink(setup.elsewhere) as elsewhere:
        roost = setup.start(always_bcc=BOB)
        roost.ctl("alias", "add", "team@example.test", ALICE, BOB)
        send(roost, "from outside", to=["team@example.test"])
        inside = fetch_one(instance_imap(ALICE, roost), "from outside")
        assert inside["X-Filtered"] == "yes"
        submit(roost, "to others", "friend@elsewhere.test")
        wait_until(lambda: elsewhere.messages, what="it goes on to the other server")
        subprocess.run([BUILD / "sendmail", "-C", roost.conf, "-f", ALICE, ALICE], check=True,
                       input=b"Subject: by sendmail\n\nHello.\n")
        assert fetch_one(instance_imap(ALICE, roost), "by sendmail")["X-Filtered"] == "yes"
        wait_for_empty_queue(roost)
        bob = instance_imap(BOB, roost)
        for subject in ("from outside", "to others", "by sendmail"):
            # His copies are made once: before the filter, and not again behind it.
            assert fetch_one(bob, subject)["X-Filtered"] == "yes"
        assert len(elsewhere.messages) == 1 and b"X-Filtered: yes" in elsewhere.messages[0].data
        assert len(content_filter.messages) == 3


def test_the_filter_hears_whose_mail_it_is(setup, instance_imap):
    with setup.filter() as content_filter:
        roost = setup.start()
        send(roost, "told")
        fetch_one(instance_imap(ALICE, roost), "told")
        wait_for_empty_queue(roost)
        said = content_filter.messages[0].client
        assert said["ADDR"] == "127.0.0.1" and said["HELO"] == "client.example.org" and said["NAME"] == "localhost"
        assert said["PROTO"] == "ESMTP" and said["SOURCE"] == "REMOTE" and int(said["PORT"]) > 0
        assert f"smtpd.accept queue_id={said['IDENT']}" in roost.log()
        wait_until(lambda: f"origin={said['IDENT']}" in roost.log(), what="the log knows of both")


@pytest.mark.parametrize("kind", ["header", "access"])
def test_tables_send_single_messages_to_a_filter(setup, instance_imap, readable, kind):
    to = f"FILTER smtp:[127.0.0.1]:{setup.port}"
    if kind == "header":
        (readable / "table").write_text(f"/^Subject: special/ {to}\n")
        more = {"header_checks": [f"pcre:{readable}/table"]}
    else:
        more = {"smtpd_recipient_restrictions":
                ["check_sender_access", f"inline:{{ {{ special@example.org = {to} }} }}"]}
    with setup.filter() as content_filter:
        roost = setup.start(content_filter="", reinject_override_options="no_unknown_recipient_checks, no_milters", **more)
        send(roost, "ordinary")
        send(roost, "special", sender="special@example.org")
        assert fetch_one(instance_imap(ALICE, roost), "ordinary")["X-Filtered"] is None
        # The checks are not switched off behind the filter here, and yet it gets nothing twice.
        assert fetch_one(instance_imap(ALICE, roost), "special")["X-Filtered"] == "yes"
        wait_for_empty_queue(roost)
        assert len(content_filter.messages) == 1


STEPS = ["greeting", "ehlo", "xforward", "mail", "rcpt", "data", "content", "end"]


@pytest.mark.parametrize("fault", ["close", "4xx", "garbage"])
def test_a_filter_that_fails_keeps_mail_waiting(setup, instance_imap, fault):
    roost = setup.start(smtp_fallback_relay=f"[127.0.0.1]:{setup.elsewhere}")
    alice = instance_imap(ALICE, roost)
    with Sink(setup.elsewhere) as elsewhere:
        for step in STEPS:
            if (step, fault) in {("content", "garbage"), ("xforward", "4xx")}:
                continue  # not heard before the end of the content; does no harm
            with setup.filter(faults={step: FAULTS[fault]}):
                send(roost, f"waits for {step}")
                row = wait_until(lambda: [m for m in roost.ctl("queue", "list") if m["queue"] == "deferred"],
                                 what=f"it is put off at {step}")[0]
                assert row["recipients"] == [ALICE]
            with setup.filter():
                roost.ctl("queue", "flush")
                assert fetch_one(alice, f"waits for {step}")["X-Filtered"] == "yes"
                wait_for_empty_queue(roost)
        # Nothing goes past the filter, neither to a mailbox nor to another server.
        assert elsewhere.messages == []
        assert len(subjects(alice)) == len([s for s in STEPS if (s, fault) not in
                                            {("content", "garbage"), ("xforward", "4xx")}])


def test_a_filter_that_refuses_xforward_gets_the_mail(setup, instance_imap):
    with setup.filter(faults={"xforward": "501 5.5.4 what?"}) as content_filter:
        roost = setup.start()
        send(roost, "taken all the same")
        fetch_one(instance_imap(ALICE, roost), "taken all the same")
        wait_for_empty_queue(roost)
        assert content_filter.messages[0].client == {}


def test_a_filter_that_is_not_there(setup, instance_imap):
    roost = setup.start()
    send(roost, "comes later", to=[ALICE, BOB])
    wait_until(lambda: [m for m in roost.ctl("queue", "list") if m["queue"] == "deferred"], what="it is put off")
    roost.stop()
    roost.start()
    with setup.filter():
        roost.ctl("queue", "flush")
        for user in (ALICE, BOB):
            assert fetch_one(instance_imap(user, roost), "comes later")["X-Filtered"] == "yes"


@pytest.mark.parametrize("step", ["greeting", "mail", "end"])
def test_a_filter_that_hangs(setup, instance_imap, step):
    roost = setup.start()
    with setup.filter(faults={step: "hang"}) as hanging:
        send(roost, "in good hands")
        wait_until(lambda: hanging.open, what="the filter has a connection")
        assert [m["recipients"] for m in roost.ctl("queue", "list")] == [[ALICE]]
    wait_until(lambda: [m for m in roost.ctl("queue", "list") if m["queue"] == "deferred"], what="it is put off")
    with setup.filter():
        roost.ctl("queue", "flush")
        assert fetch_one(instance_imap(ALICE, roost), "in good hands")["X-Filtered"] == "yes"


def test_a_filter_that_says_no(setup, instance_imap):
    with setup.filter(faults={"end": "550 5.7.1 this is spam"}):
        roost = setup.start()
        send(roost, "unwanted", to=[BOB], sender=ALICE)
        alice = instance_imap(ALICE, roost)
        wait_until(lambda: subjects(alice), what="the sender hears of it")
        wait_for_empty_queue(roost)
        assert "this is spam" in alice.fetch("1", "(BODY.PEEK[])")[1][0][1].decode()
        assert subjects(instance_imap(BOB, roost)) == []


def test_what_roost_refuses_behind_the_filter(setup):
    with setup.filter():
        roost = setup.start()
        with smtplib.SMTP("127.0.0.1", setup.back, timeout=60) as client:
            client.ehlo("filter.test")
            assert client.docmd("MAIL FROM:<a@example.org>")[0] == 250
            # The address was looked up before the filter; here the mailbox itself says no.
            assert client.docmd("RCPT TO:<nobody@example.test>")[0] == 250
            assert client.data(b"Subject: x\r\n\r\nx\r\n")[0] == 550
        assert roost.ctl("queue", "list") == []


def test_a_filter_that_sends_to_the_wrong_port(setup, instance_imap):
    roost = setup.start(smtpd_spf="off")
    with Filter(setup.port, roost.ports["smtp"]) as content_filter:
        send(roost, "round and round", to=[BOB], sender=ALICE)
        alice = instance_imap(ALICE, roost)
        wait_until(lambda: subjects(alice), what="it ends")
        assert "loop" in alice.fetch("1", "(BODY.PEEK[])")[1][0][1].decode()
        wait_for_empty_queue(roost)
        assert len(content_filter.messages) <= 51
        assert subjects(instance_imap(BOB, roost)) == []


def test_the_port_is_for_filters(setup):
    roost = setup.start(reinject_networks=["10.0.0.0/8"], smtpd_authorized_xforward_hosts=["10.0.0.0/8"])
    with smtplib.SMTP("127.0.0.1", setup.back, timeout=60) as client:
        client.ehlo("client.example.org")
        assert not client.has_extn("xforward") and not client.has_extn("xclient") and not client.has_extn("etrn")
        assert client.docmd("XFORWARD ADDR=192.0.2.1")[0] == 550
        assert client.docmd("MAIL FROM:<a@example.org>")[0] == 554
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
        client.ehlo("client.example.org")
        assert not client.has_extn("xforward")
        assert client.docmd("XFORWARD ADDR=192.0.2.1")[0] == 550


@pytest.mark.parametrize("argument, code", [
    ("NAME=a.example ADDR=192.0.2.7 HELO=h PROTO=ESMTP IDENT=1A SOURCE=REMOTE PORT=99", 250),
    ("NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 HELO=[UNAVAILABLE] PROTO=[UNAVAILABLE]", 250),
    ("", 501), ("NAME", 501), ("ADDR=nowhere", 501), ("LOGIN=alice", 501), ("HELO=a+0Ab", 501), ("IDENT=" + "x" * 100, 501),
])
def test_xforward(setup, argument, code):
    setup.start()
    with smtplib.SMTP("127.0.0.1", setup.back, timeout=60) as client:
        client.ehlo("filter.test")
        assert client.docmd(f"XFORWARD {argument}".strip())[0] == code
        assert client.docmd("MAIL FROM:<a@example.org>")[0] == 250
        assert client.docmd("XFORWARD NAME=b.example")[0] == 503


@pytest.mark.skipif(not shutil.which("postfix"), reason="Postfix is not installed")
def test_postfix_as_the_filter(setup, instance_imap):
    postfix = Postfix(setup.port)
    try:
        postfix.configure(relayhost=f"[127.0.0.1]:{setup.back}", smtpd_authorized_xforward_hosts="127.0.0.0/8",
                          smtp_send_xforward_command="yes", smtp_tls_security_level="none")
        roost = setup.start()
        roost.ctl("alias", "add", "team@example.test", ALICE, BOB)
        send(roost, "through Postfix", to=["team@example.test"])
        for user in (ALICE, BOB):
            message = fetch_one(instance_imap(user, roost), "through Postfix")
            assert any("by mx1.peer.test (Postfix)" in r for r in message.get_all("Received"))
        # Postfix took the client over, and gave it back.
        ident = re.search("orig_queue_id=([0-9A-F]+), orig_client=localhost", postfix.log())[1]
        assert f"smtpd.accept queue_id={ident}" in roost.log() and f"origin={ident}" in roost.log()
    finally:
        postfix.close()
