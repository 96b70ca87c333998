# SPDX-License-Identifier: MIT
"""ETRN (RFC 1985): a server that was away has the mail that waits for it sent at once."""

import os
import re
import shutil
import smtplib
import ssl
import subprocess

import pytest
from mail_helpers import make_message
from peers import Postfix
from roost_instance import PASSWORD, wait_until
from sink import Sink
from waiting_mta import dns, make, ports  # noqa: F401

pytestmark = pytest.mark.skipif(not shutil.which("nsd"), reason="NSD must be installed")

AWAY, OTHER = "127.0.0.31", "127.0.0.32"
RECORDS = f"""
away IN MX 10 mx.away
*.away IN MX 10 mx.away
mx.away IN A {AWAY}
faraway IN MX 10 mx.away
other IN A {OTHER}
peer IN A 127.0.0.1
"""


def send(roost, *to):
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
        for address in to:
            client.send_message(make_message("alice@example.test", address), "alice@example.test", [address])


def say(roost, *lines, port="smtp", hello="EHLO client.example"):
    """The replies to lines."""
    with smtplib.SMTP("127.0.0.1", roost.ports[port], timeout=60) as client:
        if hello:
            client.docmd(hello)
        replies = [client.docmd(line) for line in lines]
        return [f"{code} {text.decode()}" for code, text in replies]


def waiting(roost):
    return sorted(m["recipients"][0] for m in roost.ctl("queue", "list") if m["queue"] == "deferred")


def wait_for_waiting(roost, *addresses):
    wait_until(lambda: waiting(roost) == sorted(addresses), what=f"{addresses} wait")


def arrived(sink):
    return sorted(re.search("<(.*)>", rcpt)[1] for message in sink.messages for rcpt in message.rcpts)


def test_what_waits_is_sent(make, ports):
    roost = make()
    send(roost, "a@away.test", "b@away.test", "c@sub.away.test", "d@other.test", "e@faraway.test")
    wait_for_waiting(roost, "a@away.test", "b@away.test", "c@sub.away.test", "d@other.test", "e@faraway.test")
    # Held by the administrator, or kept back by its sender: not for others to let go.
    held = next(m["id"] for m in roost.ctl("queue", "list") if m["recipients"] == ["b@away.test"])
    roost.ctl("queue", "hold", held)
    context = ssl.create_default_context(cafile=str(roost.tls_cert))
    with smtplib.SMTP_SSL("localhost", roost.ports["submissions"], context=context, timeout=60) as client:
        client.login("alice@example.test", PASSWORD)
        client.sendmail("alice@example.test", ["later@away.test"], make_message("alice@example.test", "later@away.test").as_string(),
                        mail_options=["HOLDFOR=36000"])
    later = ["b@away.test", "later@away.test"]
    wait_until(lambda: "later@away.test" in waiting(roost), what="the later one waits")
    with Sink(ports[0], AWAY) as sink:
        # The server was found dead a moment ago, and the next try is an hour away.
        assert say(roost, "ETRN nothing.test", "ETRN away.test") == [
            "251 2.0.0 OK, no messages waiting for node nothing.test",
            "253 2.0.0 OK, 1 pending messages for node away.test started"]
        wait_until(lambda: arrived(sink) == ["a@away.test"], what="it arrives")
        wait_for_waiting(roost, "c@sub.away.test", "d@other.test", "e@faraway.test", "later@away.test")
        # With what is below it; "faraway" only ends alike.
        assert say(roost, "etrn @AWAY.test") == ["253 2.0.0 OK, 1 pending messages for node @AWAY.test started"]
        wait_until(lambda: arrived(sink) == ["a@away.test", "c@sub.away.test"], what="both have arrived")
        assert say(roost, "ETRN away.test", "ETRN @away.test") == [
            f"251 2.0.0 OK, no messages waiting for node {node}" for node in ("away.test", "@away.test")]
        wait_for_waiting(roost, "d@other.test", "e@faraway.test", "later@away.test")
        assert [m["id"] for m in roost.ctl("queue", "list", "--queue", "hold")] == [held]
        assert not set(arrived(sink)) & set(later)
    # What fails again waits again.
    assert say(roost, "ETRN other.test")[0].startswith("253 2.0.0 OK, 1 pending")
    wait_until(lambda: roost.log().count("qmgr.delivery deferred") == 6, what="it was tried again")
    wait_for_waiting(roost, "d@other.test", "e@faraway.test", "later@away.test")


def test_who_may_ask_and_how(make):
    roost = make()
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
        client.ehlo()
        assert client.has_extn("etrn")
    assert say(roost, "ETRN", "ETRN localname", "ETRN a..test", "ETRN -a.test", "ETRN a.test b.test", "ETRN @", "ETRN a/b.test",
               "ETRN " + "x" * 64 + ".test", "ETRN [127.0.0.1]", "ETRN #uucp.queue", "ETRN #") == [
        "500 5.5.2 Syntax: ETRN domain", *["501 5.5.4 Syntax error in the domain"] * 8,
        "458 4.3.0 Unable to queue messages for node #uucp.queue", "501 5.5.4 Syntax error in the domain"]
    assert say(roost, "MAIL FROM:<a@b.test>", "ETRN a.test", "RSET", "ETRN a.test")[1::2] == [
        "503 5.5.1 Not within a mail transaction", "251 2.0.0 OK, no messages waiting for node a.test"]
    assert say(roost, "ETRN a.test", hello=None) == ["503 5.5.1 Say HELO or EHLO first"]
    # A service of port 25 alone.
    with smtplib.SMTP("127.0.0.1", roost.ports["submission"], timeout=60) as client:
        client.ehlo()
        assert not client.has_extn("etrn")
        assert client.docmd("ETRN a.test")[0] == 530
        client.starttls()
        client.login("alice@example.test", PASSWORD)
        assert client.docmd("ETRN a.test")[0] == 502
    # The default is for mynetworks alone; tables say who may ask for what.
    roost = make(mynetworks="192.0.2.0/24")
    assert say(roost, "ETRN a.test") == ["459 4.7.1 Node a.test not allowed: <a.test>: Etrn command rejected: Access denied"]
    roost = make(mynetworks="192.0.2.0/24", smtpd_etrn_restrictions=
                 "check_etrn_access inline:{ { a.test = OK } { b.test = 550 5.7.1 not b } } , reject")
    assert [r[:3] for r in say(roost, "ETRN a.test", "ETRN sub.b.test", "ETRN c.test")] == ["251", "459", "459"]
    assert say(roost, "ETRN b.test") == ["459 4.7.1 Node b.test not allowed: <b.test>: Etrn command rejected: not b"]
    # The lists for clients hold here, too.
    roost = make(smtpd_client_restrictions="reject")
    assert say(roost, "ETRN a.test")[0].startswith("459 4.7.1 Node a.test not allowed: <localhost[127.0.0.1]>: Client host rejected")


def test_without_the_queue_manager(make):
    roost = make()
    (roost.state / "run" / "qmgr").unlink()
    assert say(roost, "ETRN a.test") == ["458 4.3.0 Unable to queue messages for node a.test"]


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("postfix") or not shutil.which("fetchmail"),
                    reason="Postfix starts as root only; fetchmail must be installed")
def test_postfix_comes_back(make, ports):
    """A site that dials in: its Postfix is up now, and its fetchmail asks for the mail."""
    roost = make()
    send(roost, "dave@peer.test", "erin@peer.test", "d@other.test")
    wait_for_waiting(roost, "dave@peer.test", "erin@peer.test", "d@other.test")
    postfix = Postfix(ports[0])
    try:
        rc = roost.dir / "fetchmailrc"
        rc.write_text(f"poll 127.0.0.1 protocol ETRN port {roost.ports['smtp']}: fetchdomains peer.test none.test\n")
        rc.chmod(0o600)
        result = subprocess.run(["fetchmail", "-v", "--nosyslog", "-f", rc, "--pidfile", roost.dir / "fetchmail.pid"],
                                capture_output=True, text=True, timeout=120)
        assert re.search(r"ETRN< 253 2.0.0 OK, 2 pending messages for node peer.test started", result.stdout), result
        assert "251 2.0.0 OK, no messages waiting for node none.test" in result.stdout
        wait_until(lambda: len(postfix.messages("dave")) == 1 and len(postfix.messages("erin")) == 1, what="both arrive")
        wait_for_waiting(roost, "d@other.test")
    finally:
        postfix.close()
