# SPDX-License-Identifier: MIT
"""Roost beside a real Postfix: mail in both directions, MX records, what fails and how it is told."""

import email
import email.policy
import os
import shutil
import smtplib

import pytest
from conftest import make_roost, tls_context
from mail_helpers import make_message, subjects, wait_for_subject
from peers import Nsd, Postfix
from programs import SECOND_TRY
from roost_instance import PASSWORD, free_ports, wait_until

pytestmark = [SECOND_TRY, pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("postfix") or not shutil.which("nsd"),
    reason="Postfix starts as root only, and NSD must be installed")]

# Postfix listens on 127.0.0.1 and 127.0.0.2, nobody on 127.0.0.3.
RECORDS = """
peer IN MX 20 mx2.peer
peer IN MX 10 mx1.peer
mx1.peer IN A 127.0.0.1
mx2.peer IN A 127.0.0.2
dead.peer IN A 127.0.0.3
down IN MX 20 mx2.peer
down IN MX 10 dead.peer
down IN MX 5 nothere.peer
late IN MX 10 mx1.peer
closed IN MX 10 dead.peer
plain IN A 127.0.0.1
null IN MX 0 .
empty IN TXT "no mail, no address"
self IN MX 10 mail.example
self IN MX 20 mx1.peer
mail.example IN A 127.0.0.3
example IN MX 10 mail.example
"""


class Peers:
    def __init__(self, port, dns, postfix):
        self.port = port
        self.dns = dns
        self.postfix = postfix


@pytest.fixture(scope="module")
def peers():
    port, dns_port = free_ports(2)
    dns = Nsd(dns_port, RECORDS)
    postfix = Postfix(port)
    yield Peers(port, dns, postfix)
    postfix.close()
    dns.close()


@pytest.fixture
def postfix(peers):
    return peers.postfix


def settings(peers, **more):
    # What is deferred stays so until it is flushed; Postfix has to be told from a client that may relay.
    return {"dns_resolvers": [f"127.0.0.1@{peers.dns.port}"], "smtp_port": peers.port, "mynetworks": [],
            "minimal_backoff_time": "1h", "maximal_backoff_time": "2h", **more}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_roost(request, peers):
    """Takes the place of the instance that other tests share, with its user, imap, ... fixtures."""
    instance = make_roost(request.param, request, settings=settings(peers))
    yield instance
    instance.close()


def queue(roost):
    return roost.ctl("queue", "list")


def wait_for_empty_queue(roost):
    wait_until(lambda: queue(roost) == [], what="the queue is empty")


def send(submission, user, to, subject, **options):
    message = make_message(user, to, subject)
    client = submission(user)
    refused = client.send_message(message, from_addr=user, to_addrs=[to] if isinstance(to, str) else to, **options)
    client.quit()
    assert refused == {}
    return message


def wait_for_report(session):
    """The delivery report that arrives: (message, its delivery-status as list of headers)."""
    wait_until(lambda: len(subjects(session)) > 0, what="a report arrives")
    _, data = session.fetch("1", "(BODY.PEEK[])")
    message = email.message_from_bytes(data[0][1].replace(b"\r\n", b"\n"), policy=email.policy.default)
    assert message.get_content_type() == "multipart/report", message.as_string()
    assert message.get_param("report-type") == "delivery-status"
    assert message["Return-Path"] == "<>" and message["Auto-Submitted"].startswith("auto-")
    parts = list(message.iter_parts())
    assert parts[1].get_content_type() == "message/delivery-status"
    return message, list(parts[1].iter_parts())


def check_bounce(session, original, recipient, dsn):
    message, fields = wait_for_report(session)
    assert fields[1]["Final-Recipient"].replace(" ", "") == f"rfc822;{recipient}"
    assert fields[1]["Action"] == "failed" and fields[1]["Status"] == dsn, str(fields[1])
    text, _, returned = message.iter_parts()
    assert recipient in text.get_content()
    if returned.get_content_type() == "message/rfc822":
        header = returned.get_content()
    else:
        assert returned.get_content_type() == "text/rfc822-headers"
        header = email.message_from_string(returned.get_content(), policy=email.policy.default)
    for name in ("Subject", "Message-ID", "From", "To", "Date"):
        assert header[name] == original[name]
    return message, fields


@pytest.fixture
def make_relaying(request, roost, peers):
    """make_relaying(relayhost=...) starts an instance on the same kind of database."""
    made = []

    def make(**more):
        made.append(make_roost(roost.settings["db"], request, settings=settings(peers, **more)))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


def send_as_alice(instance, to, subject, text=None):
    message = make_message("alice@example.test", to, subject)
    with smtplib.SMTP_SSL("localhost", instance.ports["submissions"], context=tls_context(instance)) as client:
        client.login("alice@example.test", PASSWORD)
        client.sendmail("alice@example.test", [to], text or message.as_bytes(policy=email.policy.SMTP))
    return message


# ---- Postfix hands over to Roost ----


def inject(postfix, to, subject, sender="dave@peer.test", options=()):
    message = make_message(sender, "someone@example.test", subject, attachments=[("x", b"\0\xff" * 5000)])
    with smtplib.SMTP("127.0.0.1", postfix.port) as client:
        refused = client.send_message(message, from_addr=sender, to_addrs=to, rcpt_options=options)
    assert refused == {}
    return message


@pytest.mark.parametrize("protocol", ["lmtp", "smtp"])
def test_postfix_delivers_to_roost(roost, postfix, user, other_user, imap, protocol):
    hop = {"lmtp": f"lmtp:inet:127.0.0.1:{roost.ports['lmtp']}", "smtp": f"smtp:[127.0.0.1]:{roost.ports['smtp']}"}
    postfix.transport("example.test", hop[protocol])
    missing = f"not-{protocol}-{roost.dir.name}-{user}"
    inject(postfix, [user, missing, other_user], f"by {protocol}")
    for address in (user, other_user):
        session = imap(address)
        wait_for_subject(session, f"by {protocol}")
        _, data = session.fetch("1", "(BODY.PEEK[])")
        received = email.message_from_bytes(data[0][1], policy=email.policy.default)
        assert next(received.iter_attachments()).get_content() == b"\0\xff" * 5000
        assert received["Return-Path"] == "<dave@peer.test>"
        # By SMTP it comes to smtpd, which hands it over to the local LMTP.
        hops = [hop.split(" with ")[1].split()[0] for hop in received.get_all("Received")]
        assert hops == (["LMTP", "ESMTP"] if protocol == "lmtp" else ["LMTP", "ESMTPS", "ESMTP"])
    # Postfix tells the sender about the one that does not exist, with Roost's words.
    bounce = wait_until(lambda: [text for text in map(str, postfix.messages("dave"))
                                 if f"<{missing}>" in text], what="the bounce of Postfix")[-1]
    assert "5.1.1" in bounce and f"<{user}>" not in bounce


def test_postfix_delivers_by_smtp_with_tls(roost, postfix, user, imap):
    postfix.transport("example.test", f"smtp:[127.0.0.1]:{roost.ports['smtp']}")
    inject(postfix, [user], "encrypted")
    session = imap(user)
    wait_for_subject(session, "encrypted")
    _, data = session.fetch("1", "(BODY.PEEK[HEADER])")
    header = email.message_from_bytes(data[0][1], policy=email.policy.default)
    hop = header.get_all("Received")[1]
    assert "with ESMTPS" in hop and "from mx1.peer.test" in hop and "TLSv1.3" in hop, hop


def test_postfix_delivers_many(roost, postfix, user, imap):
    postfix.transport("example.test", f"lmtp:inet:127.0.0.1:{roost.ports['lmtp']}")
    with smtplib.SMTP("127.0.0.1", postfix.port) as client:
        for n in range(100):
            client.send_message(make_message("dave@peer.test", user, f"one of many {n}"), to_addrs=[user])
    session = imap(user)
    wait_until(lambda: len(subjects(session)) >= 100, timeout=60, what="all arrive")
    assert sorted(subjects(session)) == sorted(f"one of many {n}" for n in range(100))
    wait_until(postfix.queue_is_empty, what="Postfix's queue is empty")


def test_postfix_keeps_what_a_stopped_roost_cannot_take(make_relaying, postfix, imap):
    instance = make_relaying()
    postfix.transport("example.test", f"lmtp:inet:127.0.0.1:{instance.ports['lmtp']}")
    instance.stop()
    before = postfix.log().count("status=deferred")
    inject(postfix, ["alice@example.test"], "kept at Postfix")
    wait_until(lambda: postfix.log().count("status=deferred") > before, what="Postfix defers")
    instance.start()
    client = imap("alice@example.test", instance=instance)

    def arrives():
        # A message that its queue manager looks at in the moment of its delivery it puts off for minutes.
        postfix.flush()
        return "kept at Postfix" in subjects(client)

    wait_until(arrives, what="it arrives")


# ---- Roost hands over to Postfix ----


def test_mail_for_a_domain_that_is_backed_up(make_relaying, postfix):
    """For strangers, and only for who has an address there."""
    instance = make_relaying(relay_domains=["peer.test"], relay_recipient_maps=["inline:{dave@peer.test=x}"])
    subject = f"backed up {instance.dir}"
    message = make_message("x@elsewhere.example", "dave@peer.test", subject)
    with smtplib.SMTP("127.0.0.1", instance.ports["smtp"]) as client:
        refused = client.send_message(message, from_addr="x@elsewhere.example",
                                      to_addrs=["dave@peer.test", "erin@peer.test", "x@other.example"])
    assert {a: (code, text.split(b" ")[0]) for a, (code, text) in refused.items()} == {
        "erin@peer.test": (550, b"5.1.1"), "x@other.example": (554, b"5.7.1")}
    assert "from mail.example.test" in postfix.wait_for_message("dave", subject).get_all("Received")[0]


def test_the_preferred_mail_exchanger_gets_it(roost, postfix, user, submission, imap):
    subject = f"preferred {user} {roost.dir}"
    original = send(submission, user, "dave@peer.test", subject)
    got = postfix.wait_for_message("dave", subject)
    assert got["Message-ID"] == original["Message-ID"]
    hop = got.get_all("Received")[0]
    assert "by mx1.peer.test" in hop and "from mail.example.test" in hop and "TLSv1.3" in hop, hop
    assert got["Return-Path"] == f"<{user}>"
    wait_for_empty_queue(roost)
    assert subjects(imap(user)) == []


def test_the_next_one_when_the_first_is_down(roost, postfix, user, submission):
    subject = f"second {user} {roost.dir}"
    send(submission, user, "dave@down.test", subject)
    assert "by mx2.peer.test" in postfix.wait_for_message("dave", subject).get_all("Received")[0]


def test_a_domain_without_mx(roost, postfix, user, submission):
    subject = f"without MX {user} {roost.dir}"
    send(submission, user, "erin@plain.test", subject)
    assert "by mx1.peer.test" in postfix.wait_for_message("erin", subject).get_all("Received")[0]


def test_several_recipients_at_one_domain_and_one_here(roost, postfix, user, other_user, submission, imap):
    subject = f"for all {user} {roost.dir}"
    send(submission, user, ["dave@peer.test", other_user, "erin@peer.test"], subject)
    first, second = (postfix.wait_for_message(name, subject) for name in ("dave", "erin"))
    assert first.get_all("Received")[-1] == second.get_all("Received")[-1]
    wait_for_subject(imap(other_user), subject)


@pytest.mark.parametrize("recipient,dsn", [
    ("someone@null.test", "5.1.10"),
    ("someone@nosuchdomain.test", "5.1.2"),
    ("someone@empty.test", "5.4.4"),
    ("someone@self.test", "5.4.6"),
    ("nobody@peer.test", "5.1.1"),
])
def test_what_cannot_be_delivered_comes_back(roost, postfix, user, submission, imap, recipient, dsn):
    original = send(submission, user, recipient, "cannot arrive")
    _, fields = check_bounce(imap(user), original, recipient, dsn)
    assert fields[0]["Reporting-MTA"] == "dns; mail.example.test"
    if recipient == "nobody@peer.test":
        assert fields[1]["Remote-MTA"] == "dns; mx1.peer.test"
        assert "550" in fields[1]["Diagnostic-Code"]
    wait_for_empty_queue(roost)


def test_one_of_two_comes_back(roost, postfix, user, submission, imap):
    subject = f"half {user} {roost.dir}"
    original = send(submission, user, ["nobody@peer.test", "dave@peer.test"], subject)
    postfix.wait_for_message("dave", subject)
    _, fields = check_bounce(imap(user), original, "nobody@peer.test", "5.1.1")
    assert len(fields) == 2


def test_no_report_where_none_is_wanted(roost, postfix, user, submission, imap):
    send(submission, user, "someone@null.test", "nobody cares", rcpt_options=["NOTIFY=NEVER"])
    send(submission, user, "someone@nosuchdomain.test", "nor here", rcpt_options=["NOTIFY=SUCCESS"])
    wait_for_empty_queue(roost)
    assert subjects(imap(user)) == []


def test_only_the_header_comes_back_when_asked(roost, postfix, user, submission, imap):
    original = send(submission, user, "someone@null.test", "header only", mail_options=["RET=HDRS", "ENVID=id+2B7"])
    message, fields = check_bounce(imap(user), original, "someone@null.test", "5.1.10")
    assert list(message.iter_parts())[2].get_content_type() == "text/rfc822-headers"
    assert fields[0]["Original-Envelope-Id"] == "id+7"


def test_a_wish_to_hear_of_success_goes_along(roost, postfix, user, submission, imap):
    postfix.transport("example.test", f"smtp:[127.0.0.1]:{roost.ports['smtp']}")
    subject = f"tell me {user} {roost.dir}"
    send(submission, user, "dave@peer.test", subject,
         rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;dave@peer.test"])
    _, fields = wait_for_report(imap(user))
    assert fields[1]["Action"] in ("delivered", "relayed")
    assert fields[0]["Reporting-MTA"].replace(" ", "") == "dns;mx1.peer.test"


def test_deferred_until_the_peer_is_well(roost, postfix, user, submission, imap):
    subject = f"later {user} {roost.dir}"
    postfix.configure(smtpd_recipient_restrictions="check_recipient_access inline:{ { later@late.test = "
                      "450 4.2.1 come back later } }, permit_mynetworks, reject")
    try:
        send(submission, user, "later@late.test", subject)
        row = wait_until(lambda: [m for m in queue(roost) if m["queue"] == "deferred"], what="it is deferred")[0]
        assert row["sender"] == user and "come back later" in row["reason"]
        shown = roost.ctl("queue", "show", row["id"])
        assert shown["recipients"][0]["dsn"] == "4.2.1", shown
    finally:
        postfix.configure(smtpd_recipient_restrictions=None)
    assert roost.ctl("queue", "list")
    roost.ctl("queue", "flush")
    postfix.wait_for_message("later", subject)
    wait_for_empty_queue(roost)
    assert subjects(imap(user)) == []


def test_deferred_while_the_peer_is_down_and_over_a_restart(make_relaying, postfix):
    instance = make_relaying()
    subject = f"over a restart {instance.dir}"
    postfix.stop()
    try:
        send_as_alice(instance, "erin@late.test", subject)
        wait_until(lambda: [m for m in queue(instance) if m["queue"] == "deferred"], what="it is deferred")
        instance.stop()
    finally:
        postfix.start()
    instance.start()
    assert [m["sender"] for m in queue(instance)] == ["alice@example.test"]
    instance.ctl("queue", "flush")
    postfix.wait_for_message("erin", subject)
    wait_for_empty_queue(instance)


def test_held_released_and_deleted(roost, user, submission, imap):
    send(submission, user, "someone@closed.test", "held")
    row = wait_until(lambda: [m for m in queue(roost) if m["queue"] == "deferred"], what="it is deferred")[0]
    roost.ctl("queue", "hold", row["id"])
    assert queue(roost)[0]["queue"] == "hold"
    roost.ctl("queue", "release", row["id"])
    wait_until(lambda: [m for m in queue(roost) if m["queue"] == "deferred"], what="it is deferred again")
    roost.ctl("queue", "delete", row["id"])
    wait_for_empty_queue(roost)
    assert subjects(imap(user)) == []


@pytest.fixture
def peer_tls(postfix):
    """peer_tls("none") sets what TLS the peer offers; at the end all is as it was."""
    yield lambda level, **more: postfix.configure(smtpd_tls_security_level=level, **more)
    postfix.configure(smtpd_tls_security_level="may", smtpd_tls_protocols=None, smtpd_discard_ehlo_keywords=None)


@pytest.mark.parametrize("level", ["none", "may", "encrypt"])
def test_a_relay_host(make_relaying, peers, postfix, level):
    # It gets all mail, whatever the DNS says about the domain.
    instance = make_relaying(smtp_port=25, relayhost=f"[127.0.0.1]:{peers.port}", smtp_tls_security_level=level)
    subject = f"by the relay {instance.dir} {level}"
    postfix.configure(virtual_alias_maps="inline:{ { someone@nosuchdomain.test = dave@peer.test } }")
    send_as_alice(instance, "someone@nosuchdomain.test", subject)
    hop = postfix.wait_for_message("dave", subject).get_all("Received")[0]
    assert ("TLSv1" in hop) == (level != "none"), hop


def test_a_relay_without_tls(make_relaying, peers, postfix, peer_tls):
    peer_tls("none")
    instance = make_relaying(relayhost=f"[127.0.0.1]:{peers.port}")
    send_as_alice(instance, "dave@peer.test", f"open {instance.dir}")
    assert "TLS" not in postfix.wait_for_message("dave", f"open {instance.dir}").get_all("Received")[0]


def test_a_relay_whose_tls_is_of_no_use(make_relaying, peers, postfix, peer_tls):
    # Opportunistic TLS that fails is no reason to keep mail back.
    peer_tls("may", smtpd_tls_protocols="TLSv1")
    instance = make_relaying(relayhost=f"[127.0.0.1]:{peers.port}")
    send_as_alice(instance, "dave@peer.test", f"old TLS {instance.dir}")
    assert "TLS" not in postfix.wait_for_message("dave", f"old TLS {instance.dir}").get_all("Received")[0]
    assert "smtp.tls failed" in instance.log()


def test_a_relay_without_tls_does_not_do_where_tls_is_required(make_relaying, peers, postfix, peer_tls):
    peer_tls("none")
    instance = make_relaying(relayhost=f"[127.0.0.1]:{peers.port}", smtp_tls_security_level="encrypt")
    send_as_alice(instance, "dave@peer.test", f"secret {instance.dir}")
    row = wait_until(lambda: [m for m in queue(instance) if m["queue"] == "deferred"], what="it is deferred")[0]
    assert "TLS" in row["reason"]
    peer_tls("may")
    instance.ctl("queue", "flush")
    assert "TLSv1" in postfix.wait_for_message("dave", f"secret {instance.dir}").get_all("Received")[0]


def test_odd_content_arrives_as_it_was(roost, peers, postfix, make_relaying):
    instance = make_relaying()
    lines = [b".", b"..", b".x", b"", b"From here", b"x" * 998, "Grüße ".encode() * 40, b"\t", b"-- ", b""]
    head = make_message("alice@example.test", "erin@peer.test", f"odd {instance.dir}")
    head.replace_header("Content-Transfer-Encoding", "8bit")
    head.set_payload("")
    text = head.as_bytes(policy=email.policy.SMTP) + b"\r\n".join(lines * 2000) + b"\r\n"
    send_as_alice(instance, "erin@peer.test", None, text)
    got = postfix.wait_for_message("erin", f"odd {instance.dir}")
    assert got.get_payload(decode=True).replace(b"\r\n", b"\n").split(b"\n") == lines * 2000 + [b""]


def test_a_server_without_8bitmime_gets_seven_bits(make_relaying, peers, postfix, peer_tls):
    peer_tls("may", smtpd_discard_ehlo_keywords="8bitmime")
    instance = make_relaying(relayhost=f"[127.0.0.1]:{peers.port}")
    text = "Grüße = äöü\n.\nEnde\n"
    head = make_message("alice@example.test", "erin@peer.test", f"seven {instance.dir}")
    head.set_content(text, cte="8bit")
    send_as_alice(instance, "erin@peer.test", None, head.as_bytes(policy=email.policy.SMTP))
    got = postfix.wait_for_message("erin", f"seven {instance.dir}")
    assert got["Content-Transfer-Encoding"] == "quoted-printable"
    assert got.as_bytes().isascii()
    assert got.get_payload(decode=True).decode().replace("\r\n", "\n") == text


def test_what_is_too_old_comes_back(make_relaying, imap):
    instance = make_relaying(minimal_backoff_time="1s", maximal_backoff_time="1s", maximal_queue_lifetime="3s")
    original = send_as_alice(instance, "someone@closed.test", "too old")
    session = imap("alice@example.test", instance=instance)
    message, _ = check_bounce(session, original, "someone@closed.test", "4.4.7")
    # The last reason is told too.
    assert "dead.peer.test" in next(message.iter_parts()).get_content()
    wait_for_empty_queue(instance)


def test_a_report_that_nobody_wants_is_dropped(roost, postfix, lmtp, user, imap):
    # The sender of a bounce is empty: what cannot be delivered of it goes to the postmaster, never back.
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.ehlo("client.example.org")
        assert client.mail("")[0] == 250
        assert client.rcpt("nobody@example.test")[0] == 550
        assert client.rcpt(user)[0] == 250
        assert client.data(b"Subject: a bounce\r\n\r\nx\r\n")[0] == 250
    session = imap(user)
    wait_for_subject(session, "a bounce")
    _, data = session.fetch("1", "(BODY.PEEK[HEADER])")
    assert b"Return-Path: <>" in data[0][1]


def test_mail_for_others_is_relayed_for_those_logged_in_only(roost, postfix, user):
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.ehlo("client.example.org")
        client.mail("sender@example.org")
        assert client.rcpt("dave@peer.test")[0] in (550, 554)
