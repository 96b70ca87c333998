# SPDX-License-Identifier: MIT
"""What mail tells of users and of names of one's own when it leaves for another server."""

import email
import smtplib

import pytest
from conftest import tls_context
from mail_helpers import instance_imap, make_message, wait_for_subject  # noqa: F401
from roost_instance import PASSWORD, free_ports, wait_until
from sink import Sink

ALICE, BOB = "alice@example.test", "bob@example.test"
FRIEND = "friend@elsewhere.test"


@pytest.fixture
def start(make_instance):
    """start(...) gives an instance whose mail for others goes to the sink that it gives, too."""
    sinks = []

    def begin(**more):
        sinks.append(Sink(free_ports(1)[0]))
        return make_instance(settings={"relayhost": f"[127.0.0.1]:{sinks[-1].port}", "minimal_backoff_time": "1h",
                                       "maximal_backoff_time": "2h", "smtp_tls_security_level": "none",
                                       **more}), sinks[-1]

    yield begin
    for sink in sinks:
        sink.close()


def submit(instance, to, headers=(), sender=ALICE):
    message = make_message(sender, ", ".join(to))
    for name, value in headers:
        message[name] = value
    with smtplib.SMTP_SSL("localhost", instance.ports["submissions"], context=tls_context(instance)) as client:
        client.ehlo("laptop.home")
        client.login(ALICE, PASSWORD)
        client.send_message(message, from_addr=sender, to_addrs=to)
    return message["Subject"]


def arrived(sink, count=1):
    """The last message that the other server has, and its transaction."""
    wait_until(lambda: len(sink.messages) == count, what="the other server has it")
    return email.message_from_bytes(sink.messages[-1].data), sink.messages[-1]


@pytest.mark.parametrize("fields", [["User-Agent", "X-Mailer"], "User-Agent, X-Mailer"])
def test_the_client_is_hidden(start, fields):
    roost, sink = start(submission_hide_client="yes", submission_remove_headers=fields)
    submit(roost, [FRIEND], [("User-Agent", "Mailer 1.2"), ("x-mailer", "Mailer"), ("X-Other", "stays")])
    message, _ = arrived(sink)
    received = message.get_all("Received")
    assert len(received) == 1 and received[0].startswith("by mail.example.test (Roost) with ESMTPSA id ")
    for secret in ("127.0.0.1", "laptop.home", "localhost", "TLS"):
        assert secret not in received[0]
    assert message["User-Agent"] is None and message["X-Mailer"] is None and message["X-Other"] == "stays"
    # The log has it all the same.
    assert "ip=127.0.0.1 user=alice@example.test" in roost.log()
    # What other servers send is not a user's.
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.ehlo("laptop.home")
        other = make_message("x@example.org", FRIEND)
        other["User-Agent"] = "Mailer 1.2"
        client.send_message(other, from_addr="x@example.org", to_addrs=[FRIEND])
    message, _ = arrived(sink, 2)
    assert "laptop.home" in message["Received"] and message["User-Agent"] == "Mailer 1.2"


def test_the_client_is_shown_when_nobody_asks(start):
    roost, sink = start()
    submit(roost, [FRIEND], [("User-Agent", "Mailer 1.2")])
    message, _ = arrived(sink)
    assert message["Received"].startswith("from laptop.home (localhost [") and message["User-Agent"] == "Mailer 1.2"


def test_header_checks_on_the_way_out(start, readable, instance_imap):
    (readable / "checks").write_text("/^X-Secret:/ IGNORE\n/^X-Mailer: (.*)/ REPLACE X-Mailer: hidden $1\n"
                                     "/^X-Mark:/ PREPEND X-Before: yes\n/^Subject:/ REJECT\n")
    roost, sink = start(smtp_header_checks=[f"pcre:{readable}/checks"])
    subject = submit(roost, [FRIEND, BOB], [("X-Secret", "s"), ("X-Mailer", "m"), ("X-Mark", "x")])
    message, transaction = arrived(sink)
    assert message["X-Secret"] is None and message["X-Mailer"] == "hidden m" and message["X-Before"] == "yes"
    # Other actions than those that change a field mean nothing here, and the rest of the message is as it was.
    assert message["Subject"] == subject and message.get_payload() == "Hello.\n".replace("\n", "\r\n")
    # Mail for users here is as it was.
    bob = instance_imap(BOB, roost)
    wait_for_subject(bob, subject)
    assert b"X-Secret: s" in bob.fetch("1", "(BODY.PEEK[])")[1][0][1]


GENERIC = [
    ("alice@example.test", "public@example.net"),
    ("@inner.test", "@outer.test"),
    ("carol", "carol.smith@example.net"),
]


def test_generic_maps(start, readable, instance_imap):
    (readable / "generic").write_text("".join(f"{key} {value}\n" for key, value in GENERIC)
                                      + "public@example.net not-again@example.net\n")
    roost, sink = start(smtp_generic_maps=[f"file:{readable}/generic"], recipient_delimiter="+")
    subject = submit(roost, ["x@inner.test", "y@other.test", BOB],
                     [("Reply-To", "Alice <alice+list@example.test>, carol@mail.example.test"),
                      ("X-Other", "alice@example.test")])
    message, transaction = arrived(sink)
    assert transaction.mail.startswith("FROM:<public@example.net> ")
    assert sorted(r.split()[0] for r in transaction.rcpts) == ["TO:<x@outer.test>", "TO:<y@other.test>"]
    assert message["From"] == "public@example.net"
    assert message["To"] == f"x@outer.test, y@other.test, {BOB}"
    assert message["Reply-To"] == "Alice <public+list@example.net>, carol.smith@example.net"
    assert message["X-Other"] == "alice@example.test"
    bob = instance_imap(BOB, roost)
    wait_for_subject(bob, subject)
    content = bob.fetch("1", "(BODY.PEEK[])")[1][0][1]
    assert b"From: alice@example.test" in content and b"public@example.net" not in content
    # It is the message's own file that stays: after a refusal it goes out in the same way.
    sink.faults["end"] = "451 4.3.0 later"
    submit(roost, ["x@inner.test"])
    wait_until(lambda: [m for m in roost.ctl("queue", "list") if m["queue"] == "deferred"], what="it is put off")
    assert roost.ctl("queue", "list")[0]["recipients"] == ["x@inner.test"]
    sink.faults.clear()
    roost.ctl("queue", "flush")
    message, transaction = arrived(sink, 2)
    assert message["From"] == "public@example.net" and transaction.rcpts[0].startswith("TO:<x@outer.test>")


def test_a_table_that_does_not_answer_keeps_mail_waiting(start):
    roost, sink = start(smtp_generic_maps=[f"tcp:127.0.0.1:{free_ports(1)[0]}"])
    submit(roost, [FRIEND])
    row = wait_until(lambda: [m for m in roost.ctl("queue", "list") if m["queue"] == "deferred"], what="it is put off")[0]
    assert row["recipients"] == [FRIEND] and sink.messages == []
