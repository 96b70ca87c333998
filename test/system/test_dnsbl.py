# SPDX-License-Identifier: MIT
"""DNS lists with weights (postscreen_dnsbl_sites): real zones on NSD, clients from everywhere by XCLIENT."""

import email.policy
import shutil
import smtplib
import socket
import threading

import pytest
from mail_helpers import make_message
from peers import Nsd
from roost_instance import free_ports

pytestmark = pytest.mark.skipif(not shutil.which("nsd"), reason="NSD is not installed")

ALICE = "alice@example.test"


def listed(zone, *entries):
    return "".join(f"{'.'.join(reversed(ip.split('.')))}.{zone} IN A {answer}\n" for ip, answer in entries)


RECORDS = (listed("bad", ("192.0.2.1", "127.0.0.2"), ("192.0.2.2", "127.0.0.2"), ("192.0.2.4", "127.0.0.9"),
                  ("127.0.0.1", "127.0.0.2"))
           + listed("worse", ("192.0.2.1", "127.0.0.3"), ("192.0.2.3", "127.0.0.3"), ("192.0.2.6", "127.0.0.3"))
           + listed("good", ("192.0.2.2", "127.0.5.1"), ("192.0.2.6", "127.0.5.3"), ("192.0.2.7", "127.0.5.3"))
           + listed("parked", ("192.0.2.9", "203.0.113.7")))
SITES = ["bad.test=127.0.0.[2..4]*2", "bad.test=127.0.0.9*1", "worse.test*3", "parked.test*9",
         "good.test=127.0.5.[0;1]*-1", "good.test=127.0.5.[2..3]*-5"]


class Forwarder:
    """Between Roost and NSD: keeps back what it gets until `together` questions about lists are there; never passes on
    what is about "silent"."""

    def __init__(self, port, nsd_port, together=1):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.nsd_port, self.together, self.waiting, self.names = nsd_port, together, {}, set()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            data, client = self.socket.recvfrom(4096)
            if not data:
                return
            name = bytes(data[12:data.index(b"\0", 12)]).lower()
            self.names.add(name)
            if b"silent" in name:
                continue
            self.waiting[name] = (data, client)
            if len(self.names) < self.together:
                continue
            for held, back in self.waiting.values():
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                    out.settimeout(30)
                    out.sendto(held, ("127.0.0.1", self.nsd_port))
                    self.socket.sendto(out.recv(4096), back)
            self.waiting.clear()

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(b"", self.socket.getsockname())
        self.thread.join(30)
        self.socket.close()


@pytest.fixture(scope="module")
def dns():
    server = Nsd(free_ports(1)[0], RECORDS)
    yield server
    server.close()


@pytest.fixture
def make(dns, make_instance):
    def start(**more):
        return make_instance(users=("alice",), settings={
            "dns_resolvers": [f"127.0.0.1@{dns.port}"], "mynetworks": ["192.0.2.200"], "smtpd_spf": "off",
            "smtpd_authorized_xclient_hosts": ["127.0.0.0/8"], "log_level": "info", "postscreen_dnsbl_sites": SITES,
            "postscreen_dnsbl_threshold": 2, "postscreen_dnsbl_action": "enforce", **more})

    return start


def rcpt(roost, ip, sender="someone@example.org"):
    """The reply to RCPT of a client from there."""
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.ehlo("client.example.org")
        if ip:
            assert client.docmd("XCLIENT", f"ADDR={ip} NAME=[UNAVAILABLE]")[0] == 220
            client.ehlo("client.example.org")
        assert client.mail(sender)[0] == 250
        return client.rcpt(ALICE)


def test_scores(make):
    roost = make()
    for ip, blocked in [
            ("192.0.2.1", "worse.test"),  # 2 + 3
            (None, "bad.test"),  # 127.0.0.1: 2
            ("192.0.2.3", "worse.test"),  # 3
            ("192.0.2.2", None),  # 2 - 1
            ("192.0.2.4", None),  # 1, by the other filter
            ("192.0.2.6", None),  # 3 - 5
            ("192.0.2.8", None),  # nowhere
            ("192.0.2.9", None),  # what answers from outside of 127/8 is no list
            ("192.0.2.200", None)]:  # in mynetworks
        code, text = rcpt(roost, ip)
        if blocked:
            assert code == 550 and text == (f"5.7.1 Service unavailable; client [{ip or '127.0.0.1'}] "
                                            f"blocked using {blocked}").encode(), (ip, text)
        else:
            assert code == 250, (ip, text)
    lines = [line for line in roost.log().splitlines() if " smtpd.dnsbl " in line]
    assert len([line for line in lines if "ip=192.0.2.1 score=5 zone=worse.test" in line]) == 1
    assert not any("192.0.2.8" in line or "192.0.2.200" in line for line in lines)


def test_only_logged(make):
    roost = make(postscreen_dnsbl_action="ignore")
    assert rcpt(roost, "192.0.2.1")[0] == 250
    assert "ip=192.0.2.1 score=5" in roost.log()


def test_dropped(make):
    roost = make(postscreen_dnsbl_action="drop")
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.ehlo("client.example.org")
        client.mail("someone@example.org")
        assert client.rcpt(ALICE)[0] == 521
        assert client.sock is None or client.sock.recv(1) == b""
        client.close()


def test_the_good_do_not_wait_on_the_greylist(make):
    roost = make(smtpd_recipient_restrictions=["reject_unauth_destination", "greylist"],
                 postscreen_dnsbl_allowlist_threshold=-5)
    assert rcpt(roost, "192.0.2.7")[0] == 250
    assert rcpt(roost, "192.0.2.8")[0] == 450
    assert rcpt(roost, "192.0.2.6")[0] == 450  # -2 is not enough


def test_all_are_asked_at_once(make, dns):
    port = free_ports(1)[0]
    forwarder = Forwarder(port, dns.port, together=4)
    try:
        roost = make(dns_resolvers=[f"127.0.0.1@{port}"], postscreen_dnsbl_timeout="60s")
        # One list after the other would never be answered.
        assert rcpt(roost, "192.0.2.1")[0] == 550
        assert len([name for name in forwarder.names if b"192" in name]) >= 4
    finally:
        forwarder.close()


def test_a_list_that_does_not_answer(make, dns):
    port = free_ports(1)[0]
    forwarder = Forwarder(port, dns.port)
    try:
        roost = make(dns_resolvers=[f"127.0.0.1@{port}"], postscreen_dnsbl_timeout="2s",
                     postscreen_dnsbl_sites=["silent.test*-9", *SITES])
        assert rcpt(roost, "192.0.2.1")[0] == 550
        assert "score=5 zone=worse.test unanswered=1" in roost.log()
        message = make_message(to=ALICE)
        with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
            client.ehlo("client.example.org")
            client.docmd("XCLIENT", "ADDR=192.0.2.8 NAME=[UNAVAILABLE]")
            client.ehlo("client.example.org")
            client.sendmail("a@example.org", [ALICE], message.as_bytes(policy=email.policy.SMTP))
            # The session goes on after late answers, with one score for all of it.
            client.sendmail("a@example.org", [ALICE], message.as_bytes(policy=email.policy.SMTP))
        assert roost.log().count("ip=192.0.2.8 score=0") == 1
    finally:
        forwarder.close()
