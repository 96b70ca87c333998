# SPDX-License-Identifier: MIT
"""Senders of forwarded mail are rewritten (SRS): to a real Postfix and back, and what is refused."""

import base64
import email.policy
import hashlib
import hmac
import os
import shutil
import smtplib
import time

import pytest
from content_filters import Filter
from mail_helpers import instance_imap, make_message, wait_for_subject  # noqa: F401
from peers import Nsd, Postfix
from roost_instance import Roost, free_ports, wait_until

pytestmark = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("postfix") or not shutil.which("nsd"),
                                reason="Postfix starts as root only, and NSD must be installed")

RECORDS = """
peer IN MX 10 mx1.peer
peer IN TXT "v=spf1 ip4:192.0.2.1 -all"
third IN MX 10 mx1.peer
partner IN MX 10 mx1.peer
mx1.peer IN A 127.0.0.1
srs IN TXT "v=spf1 ip4:127.0.0.1 -all"
"""
DAVE, ERIN, ALICE = "dave@peer.test", "erin@peer.test", "alice@example.test"
NEW, OLD = "the new secret", "the old one"


class World:
    """Roost rewrites to srs.test; Postfix serves peer.test, and relays third.test to Roost, which refuses it."""

    def __init__(self, directory):
        self.port, self.dns_port = free_ports(2)
        self.secrets = directory / "secrets"
        self.secrets.write_text(f"# srs\n{NEW}\n\n{OLD}\n")
        self.dns = Nsd(self.dns_port, RECORDS)
        self.postfix = Postfix(self.port)
        self.roost = self.start()
        target = f"smtp:[127.0.0.1]:{self.roost.ports['smtp']}"
        self.postfix.configure(relay_domains="third.test",
                               transport_maps=f"inline:{{ {{ third.test = {target} }}, {{ srs.test = {target} }} }}")

    def start(self, **settings):
        roost = Roost(users=("alice",), settings={
            "dns_resolvers": [f"127.0.0.1@{self.dns_port}"], "smtp_port": self.port, "mynetworks": [],
            "smtpd_spf": "off", "log_level": "info", "minimal_backoff_time": "1h", "maximal_backoff_time": "2h",
            "srs_domain": "SRS.test", "srs_secrets": self.secrets, "srs_exclude_domains": ["partner.test"],
            "local_domains": ["host.test"], "alias_maps": [f"inline:{{ {{ machine = {ERIN} }} }}"],
            "virtual_alias_maps": [f"inline:{{ {{ virtual@example.test = {ERIN} }} }}"], **settings})
        roost.ctl("alias", "add", "fwd@example.test", ERIN)
        roost.ctl("alias", "add", "lost@example.test", "someone@third.test")
        return roost

    def close(self):
        self.roost.close()
        self.postfix.close()
        self.dns.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("srs")
    for path in (directory, *directory.parents[:2]):  # the daemons read it as another user
        path.chmod(0o755)
    made = World(directory)
    yield made
    made.close()


@pytest.fixture
def another(world):
    made = []

    def start(**settings):
        made.append(world.start(**settings))
        return made[-1]

    yield start
    for roost in made:
        roost.close()


def send(roost, sender, *recipients, port="smtp"):
    message = make_message(sender or "nobody@example.org", recipients[0])
    with smtplib.SMTP("127.0.0.1", roost.ports[port]) as client:
        client.ehlo("client.example.org")
        assert client.sendmail(sender, recipients, message.as_bytes(policy=email.policy.SMTP)) == {}
    return message["Subject"]


def return_path(world, user, subject):
    return world.postfix.wait_for_message(user, subject)["Return-Path"]


def srs0(sender, secret=NEW, days_ago=0, domain="srs.test"):
    local, host = sender.rsplit("@", 1)
    day = (int(time.time()) // 86400 - days_ago) % 1024
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    date = digits[day >> 5] + digits[day & 31]
    digest = hmac.new(secret.encode(), (date + host + local).lower().encode(), hashlib.sha1).digest()
    return f"SRS0={base64.b64encode(digest)[:4].decode()}={date}={host}={local}@{domain}"


def rewritten(sender, got):
    """Whether it is what the first secret makes of a sender, on this day or (just before midnight) the last."""
    return got in [f"<{srs0(sender, days_ago=days)}>" for days in (0, 1)]


@pytest.mark.parametrize("alias", ["fwd@example.test", "virtual@example.test", "machine@host.test"])
def test_forwarded_mail_has_a_sender_of_ours(world, alias):
    got = return_path(world, "erin", send(world.roost, DAVE, alias))
    assert rewritten(DAVE, got), got


@pytest.mark.parametrize("sender", ["", ALICE, "someone@partner.test", "SRS0=AAAA=BB=x.test=y@srs.test"],
                         ids=["null", "local", "excluded", "at the SRS domain"])
@pytest.mark.parametrize("alias", ["fwd@example.test", "machine@host.test"])
def test_these_stay(world, alias, sender):
    assert return_path(world, "erin", send(world.roost, sender, alias)) == f"<{sender}>"


def test_one_message_with_both(world, another):
    roost = another(mynetworks=["127.0.0.0/8"])
    subject = send(roost, "x@third.test", DAVE, "fwd@example.test")
    assert return_path(world, "dave", subject) == "<x@third.test>"
    assert rewritten("x@third.test", return_path(world, "erin", subject))


def test_a_sender_of_another_srs(world):
    got = return_path(world, "erin", send(world.roost, "SRS0=abcd=EF=far.test=joe@third.test", "fwd@example.test"))
    assert got.startswith("<SRS1=") and got.endswith("=third.test==abcd=EF=far.test=joe@srs.test>"), got
    # It leads back to where it was made.
    send(world.roost, "", got[1:-1])
    wait_until(lambda: "to=<SRS0=abcd=EF=far.test=joe@third.test>" in world.postfix.log(),
               what="Postfix gets it for the first forwarder")


def test_a_bounce_finds_its_way_back(world):
    subject = send(world.roost, DAVE, "lost@example.test")
    bounce = wait_until(lambda: [text for text in map(str, world.postfix.messages("dave"))
                                 if "someone@third.test" in text and subject in text],
                        what="the bounce of Postfix arrives at the sender")[0]
    assert "Return-Path: <>" in bounce and "multipart/report" in bounce


@pytest.mark.parametrize("address,reply", [
    (srs0(DAVE, "guessed"), "hash"),
    (srs0(DAVE).replace("dave", "erin"), "hash"),
    (srs0(DAVE, days_ago=30), "expired"),
    (srs0(DAVE, days_ago=-30), "expired"),
    ("SRS0=abcd@srs.test", "malformed"),
    ("SRS1=abcd=x.test==y@srs.test", "hash"),
    ("someone@srs.test", "User unknown"),
], ids=["forged", "of another", "expired", "of the future", "malformed", "forged SRS1", "no SRS address"])
def test_what_is_refused(world, address, reply):
    with smtplib.SMTP("127.0.0.1", world.roost.ports["smtp"]) as client:
        client.ehlo("client.example.org")
        client.mail("")
        code, text = client.rcpt(address)
    assert code == 550 and (reply in text.decode() or b"5.1.1" in text), text


@pytest.mark.parametrize("sender", ["", "x@third.test"])
@pytest.mark.parametrize("change", [str.lower, str.upper, str], ids=["lower", "upper", "as it was"])
def test_the_old_secret_and_case(world, change, sender):
    subject = send(world.roost, sender, change(srs0(ERIN, OLD, days_ago=20)))
    got = return_path(world, "erin", subject)
    assert rewritten(sender, got) if sender else got == "<>"


def test_the_secrets_may_change(world, another, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.write_text(f"{OLD}\n")
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    roost = another(srs_secrets=secrets)
    send(roost, "", srs0(ERIN, OLD))
    secrets.write_text(f"{NEW}\n")
    got = return_path(world, "erin", send(roost, DAVE, "fwd@example.test"))
    assert rewritten(DAVE, got), got


@pytest.mark.parametrize("srs", [True, False])
def test_spf_lets_it_pass(world, another, instance_imap, srs):  # noqa: F811
    far = another(smtpd_spf="reject", srs_domain="")
    near = another(transport_maps=[f"inline:{{ {{ example.test = smtp:[127.0.0.1]:{far.ports['smtp']} }} }}"],
                   virtual_alias_maps=[f"inline:{{ {{ on@host.test = onward@far.test }} }}"],
                   **({} if srs else {"srs_domain": ""}))
    far.ctl("domain", "add", "far.test")
    far.ctl("alias", "add", "onward@far.test", ALICE)
    near.settings["transport_maps"] = [f"inline:{{ {{ far.test = smtp:[127.0.0.1]:{far.ports['smtp']} }} }}"]
    near.write_conf()
    near.reload()
    subject = send(near, DAVE, "on@host.test")
    if srs:
        session = instance_imap(ALICE, far)
        wait_for_subject(session, subject)
        text = session.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1].decode().replace("\r\n\t", " ")
        assert "spf=pass smtp.mailfrom=srs.test" in text
    else:
        wait_until(lambda: any(subject in text and "5.7.23" in text for text in map(str, world.postfix.messages("dave"))),
                   what="the refusal for want of SPF")


@pytest.mark.parametrize("way", ["content_filter", "smtpd_proxy_filter"])
def test_past_a_filter(world, another, way):
    port, back = free_ports(2)
    hop = {"content_filter": f"smtp:[127.0.0.1]:{port}", "smtpd_proxy_filter": f"127.0.0.1:{port}"}[way]
    roost = another(**{"listen_reinject": [f"127.0.0.1:{back}"], way: hop})
    content_filter = Filter(port, back)
    try:
        subject = send(roost, DAVE, "fwd@example.test")
        assert rewritten(DAVE, return_path(world, "erin", subject))
        assert "X-Filtered" in world.postfix.wait_for_message("erin", subject)
    finally:
        content_filter.close()


def test_our_own_report_finds_its_way_back(world, another):
    # Mail that we forwarded has come back to us with our address, and cannot be delivered any further.
    roost = another(transport_maps=["inline:{ { third.test = error:5.1.2 no such place } }"])
    subject = send(roost, srs0(DAVE), "lost@example.test")
    wait_until(lambda: any(subject in text and "no such place" in text for text in map(str, world.postfix.messages("dave"))),
               what="our report arrives at the sender")
