# SPDX-License-Identifier: MIT
"""A content filter before the queue: its answer is the client's, and what it does not take is nowhere."""

import email.policy
import re
import shutil
import smtplib
import subprocess

import pytest
from content_filters import FAULTS, Filter, FilterSetup, fetch_one
from mail_helpers import instance_imap, make_message, subjects  # noqa: F401
from peers import Postfix
from roost_instance import BUILD, free_ports, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


class Setup(FilterSetup):
    def start(self, **more):
        return self.start_with({"smtpd_proxy_filter": f"127.0.0.1:{self.port}", **more})


@pytest.fixture
def setup(make_instance):
    return Setup(make_instance)


def send(instance, subject, to=(ALICE,), sender="sender@example.org", options=()):
    """Code and text of the answer to the message."""
    with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], timeout=60) as client:
        client.ehlo("client.example.org")
        assert client.mail(sender)[0] == 250
        for address in to:
            assert client.rcpt(address, options)[0] == 250
        code, text = client.data(make_message(sender, "someone@example.test", subject).as_bytes(policy=email.policy.SMTP))
        # The session goes on, whatever became of the message.
        assert client.noop()[0] == 250
    return code, text.decode()


def test_the_answer_is_the_filters(setup, instance_imap):
    with setup.filter() as content_filter:
        roost = setup.start(smtpd_proxy_ehlo="front.example.test", always_bcc=BOB)
        roost.ctl("alias", "add", "team@example.test", ALICE, BOB)
        assert send(roost, "taken", to=["team@example.test"]) == (250, "2.0.0 taken by the filter")
        for user in (ALICE, BOB):
            assert fetch_one(instance_imap(user, roost), "taken")["X-Filtered"] == "yes"
        assert "EHLO front.example.test" in content_filter.lines
        message = content_filter.messages[0]
        assert len(message.rcpts) == 2 and message.client["HELO"] == "client.example.org"
        assert f"origin={message.client['IDENT']}" in roost.log()
        assert roost.ctl("queue", "list") == []


STEPS = ["greeting", "ehlo", "mail", "rcpt", "data", "content", "end"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_filter_that_fails(setup, instance_imap, fault):
    roost = setup.start()
    for step in STEPS:
        if (step, fault) == ("content", "garbage"):
            continue  # not heard before the end of the content; does no harm
        faults = {step: FAULTS[fault], **({"helo": FAULTS[fault]} if step == "ehlo" else {})}
        with setup.filter(faults=faults) as content_filter:
            code, text = send(roost, f"fails at {step}")
            # What it says of the message is passed on; what it says of itself is not.
            own = fault in ("4xx", "5xx") and step not in ("greeting", "ehlo")
            assert code == (int(FAULTS[fault][:3]) if own else 451), (step, text)
            assert text.startswith(FAULTS[fault][4:] if own else "4.3.0 "), (step, text)
            assert content_filter.messages == []
    assert roost.ctl("queue", "list") == []
    with setup.filter():
        assert send(roost, "well again")[0] == 250
        alice = instance_imap(ALICE, roost)
        fetch_one(alice, "well again")
        assert subjects(alice) == ["well again"]


def test_a_filter_that_hangs_or_is_not_there(setup):
    roost = setup.start(smtpd_proxy_timeout="1s")
    assert send(roost, "nobody there")[0] == 451
    for step in ("greeting", "mail", "end"):
        with setup.filter(faults={step: "hang"}):
            code, text = send(roost, f"hangs at {step}")
            assert (code, text[:5]) == (451, "4.3.0")
    assert roost.ctl("queue", "list") == []


def test_all_recipients_or_none(setup):
    def refuse_bob(session):
        return "550 5.1.1 not him" if BOB in session.line else None

    with setup.filter(faults={"rcpt": refuse_bob}) as content_filter:
        roost = setup.start()
        assert send(roost, "for both", to=[ALICE, BOB]) == (550, "5.1.1 not him")
        assert not any(line.startswith("DATA") for line in content_filter.lines)
        assert send(roost, "for one") == (250, "2.0.0 taken by the filter")


def test_success_is_reported(setup, instance_imap):
    with setup.filter():
        roost = setup.start()
        assert send(roost, "wanted to know", to=[BOB], sender=ALICE, options=["NOTIFY=SUCCESS"])[0] == 250
        fetch_one(instance_imap(BOB, roost), "wanted to know")
        alice = instance_imap(ALICE, roost)
        wait_until(lambda: subjects(alice), what="the report arrives")
        assert BOB in alice.fetch("1", "(BODY.PEEK[])")[1][0][1].decode()
        assert len(subjects(alice)) == 1


def test_what_waits_in_the_queue_is_filtered_when_it_goes_on(setup, instance_imap):
    roost = setup.start(smtpd_recipient_restrictions=["check_recipient_access", f"inline:{{ {{ {ALICE} = HOLD }} }}"])
    assert send(roost, "held")[0] == 250
    row = wait_until(lambda: [m for m in roost.ctl("queue", "list") if m["queue"] == "hold"], what="it is held")[0]
    with setup.filter():
        roost.ctl("queue", "release", row["id"])
        assert fetch_one(instance_imap(ALICE, roost), "held")["X-Filtered"] == "yes"


def test_mail_of_local_programs_is_for_the_other_filter(setup, instance_imap):
    other = free_ports(1)[0]
    with setup.filter() as before, Filter(other, setup.back) as behind:
        roost = setup.start(content_filter=f"smtp:[127.0.0.1]:{other}")
        subprocess.run([BUILD / "sendmail", "-C", roost.conf, "-f", ALICE, ALICE], check=True,
                       input=b"Subject: by sendmail\n\nHello.\n")
        fetch_one(instance_imap(ALICE, roost), "by sendmail")
        assert send(roost, "by smtp")[0] == 250
        fetch_one(instance_imap(ALICE, roost), "by smtp")
        wait_until(lambda: (len(before.messages), len(behind.messages)) == (1, 1), what="each has had one")


@pytest.mark.skipif(not shutil.which("postfix"), reason="Postfix is not installed")
def test_postfix_in_between(setup, instance_imap):
    """Postfix's own before-queue filter is in the place of ours, and Roost behind it."""
    postfix = Postfix(setup.port)
    try:
        postfix.configure(smtpd_proxy_filter=f"127.0.0.1:{setup.back}", smtpd_authorized_xforward_hosts="127.0.0.0/8",
                          local_header_rewrite_clients="", relay_domains="example.test")
        roost = setup.start()
        code, text = send(roost, "through Postfix", to=[ALICE, BOB])
        assert code == 250, text
        for user in (ALICE, BOB):
            fetch_one(instance_imap(user, roost), "through Postfix")
        assert "proxy-accept: END-OF-MESSAGE: 250" in postfix.log()
        ident = re.search("smtpd.accept queue_id=([0-9A-F]+) .*relay=127", roost.log())[1]
        assert f"origin={ident}" in roost.log()
        assert postfix.queue_is_empty()
    finally:
        postfix.close()
