# SPDX-License-Identifier: MIT
"""Tests of unknown clients before they get a session (postscreen): who talks first, who talks ahead, who is known."""

import socket

import pytest
from roost_instance import wait_until

ALICE = "alice@example.test"


@pytest.fixture
def make(make_instance):
    def start(**more):
        # So long that who does not wait cannot be slow by chance.
        return make_instance(users=("alice",), settings={
            "mynetworks": [], "smtpd_spf": "off", "log_level": "info", "postscreen": "yes",
            "postscreen_greet_wait": "8s", "postscreen_greet_action": "enforce", **more})

    return start


class Client:
    def __init__(self, roost, source=None, port="smtp"):
        self.socket = socket.create_connection(("127.0.0.1", roost.ports[port]), timeout=60,
                                               source_address=(source, 0) if source else None)
        self.file = self.socket.makefile("rb")

    def say(self, text):
        self.socket.sendall(text.encode())

    def line(self):
        return self.file.readline().decode().rstrip("\r\n")

    def reply(self):
        """The last line of a reply."""
        while (line := self.line())[3:4] == "-":
            pass
        return line

    def ask(self, text):
        self.say(text + "\r\n")
        return self.reply()

    def is_closed(self):
        return self.file.readline() == b""

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def deliver(client):
    assert client.ask("EHLO client.example.org").startswith("250")
    assert client.ask("MAIL FROM:<a@example.org>").startswith("250")
    return client.ask(f"RCPT TO:<{ALICE}>")


def log_has(roost, text):
    return wait_until(lambda: text in roost.log(), what=f"{text!r} in the log")


def is_teased(client):
    """Whether the greeting begins with a line that is not its last."""
    first = client.line()
    assert first.startswith("220")
    return first[3] == "-"


def test_who_waits_is_known_from_then_on(make):
    roost = make(postscreen_greet_wait="2s")
    with Client(roost) as client:
        assert is_teased(client)
        assert client.reply().startswith("220 mail.example.test ESMTP")
        assert deliver(client).startswith("250")
    log_has(roost, "proxy.screen passed")
    with Client(roost) as client:
        assert not is_teased(client)
        assert deliver(client).startswith("250")
    # Another address waits; so does this one not, even over a restart.
    with Client(roost, "127.0.0.2") as client:
        assert is_teased(client)
    roost.stop()
    roost.start()
    with Client(roost) as client:
        assert not is_teased(client)


def test_who_speaks_first_is_refused(make):
    roost = make()
    with Client(roost) as client:
        client.say("EHLO early.example.org\r\n")
        assert is_teased(client)
        assert client.reply().startswith("220 ")
        assert client.reply().startswith("250")
        assert client.ask("MAIL FROM:<a@example.org>") == "550 5.5.1 Protocol error"
        assert client.ask(f"RCPT TO:<{ALICE}>") == "550 5.5.1 Protocol error"
        assert client.ask("QUIT").startswith("221")
    log_has(roost, "test=pregreet action=enforce")
    assert "proxy.screen passed" not in roost.log()
    with Client(roost) as client:
        assert is_teased(client)


def test_or_dropped(make):
    roost = make(postscreen_greet_wait="60s", postscreen_greet_action="drop", postscreen_greet_banner="be patient")
    with Client(roost) as client:
        client.say("EHLO early.example.org\r\n")
        assert client.line() == "220-be patient"
        assert client.line() == "521 5.5.1 Protocol error"
        assert client.is_closed()


def test_or_only_noted(make):
    roost = make(postscreen_greet_action="ignore")
    with Client(roost) as client:
        client.say("EHLO early.example.org\r\n")
        assert client.reply().startswith("220") and client.reply().startswith("250")
        assert client.ask("MAIL FROM:<a@example.org>").startswith("250")
    log_has(roost, "test=pregreet action=ignore")
    with Client(roost) as client:
        assert is_teased(client)


@pytest.mark.parametrize("name,said", [("pipelining", "EHLO x.example.org\r\nMAIL FROM:<a@example.org>\r\n"),
                                       ("bare_newline", "EHLO x.example.org\n")])
def test_talking_ahead_and_bare_newlines(make, name, said):
    roost = make(postscreen_greet_wait="0s", **{f"postscreen_{name}_enable": "yes", f"postscreen_{name}_action": "drop"})
    with Client(roost) as client:
        assert client.reply().startswith("220")
        client.say(said)
        assert client.reply().startswith("521")
        assert client.is_closed()
    log_has(roost, "action=drop")
    with Client(roost) as client:
        assert client.reply().startswith("220")
        assert deliver(client).startswith("250")
    log_has(roost, "proxy.screen passed")
    with Client(roost) as client:  # it is known
        assert client.reply().startswith("220")
        client.say(said)
        assert client.reply().startswith("250")


@pytest.mark.parametrize("port,more", [("submission", {}), ("smtp", {"mynetworks": ["127.0.0.0/8"]}),
                                       ("smtp", {"postscreen": "no"})], ids=["submission", "mynetworks", "off"])
def test_who_is_not_tested(make, port, more):
    roost = make(**more)
    with Client(roost, port=port) as client:
        assert not is_teased(client)
        assert client.ask("EHLO client.example.org").startswith("250")
