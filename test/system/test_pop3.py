# SPDX-License-Identifier: MIT
"""POP3 beyond the basics: capabilities in both states, languages, log-in delay, locking, big maildrops."""

import base64
import email
import email.policy
import os
import poplib
import re
import signal
import smtplib
import time

import pytest
from mail_helpers import deliver
from roost_instance import PASSWORD, wait_until


def log_in(roost, user):
    client = poplib.POP3("127.0.0.1", roost.ports["pop3"], timeout=60)
    client.user(user)
    client.pass_(PASSWORD)
    return client


def test_capabilities_and_language(roost, user):
    client = poplib.POP3("127.0.0.1", roost.ports["pop3"], timeout=60)
    before = client.capa()
    assert client._shortcmd("LANG *").startswith(b"+OK en ")
    client.user(user)
    client.pass_(PASSWORD)
    after = client.capa()
    both = {"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE", "UTF8", "LANG", "IMPLEMENTATION"}
    assert both <= set(before) and both == set(after)
    assert {"USER", "SASL", "STLS"} <= set(before)
    assert after["EXPIRE"] == ["NEVER"]
    client._putcmd("LANG")
    assert client._getlongresp()[1] == [b"i-default English", b"en English"]
    with pytest.raises(poplib.error_proto):
        client._shortcmd("LANG tlh")
    client.quit()


INTERNATIONAL = (
    "From: Jörg <jörg@example.test>\r\nTo: Änne <someone@example.test>\r\nSubject: Grüße\r\n"
    "Message-ID: <1@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8; name=\"ü.txt\"\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\nSchöne Grüße\r\n.\r\nzwei\r\n").encode()


def parsed(lines):
    message = email.message_from_bytes(b"\r\n".join(lines) + b"\r\n", policy=email.policy.default)
    assert not message.defects and not any(header.defects for header in message.values())
    return message


def test_utf8(roost, user):
    """Who has not said UTF8 gets headers in ASCII that say the same (RFC 6856); who has gets the stored bytes."""
    with smtplib.LMTP("127.0.0.1", roost.ports["lmtp"], timeout=60) as lmtp:
        lmtp.ehlo()
        lmtp.sendmail("sender@example.org", [user], INTERNATIONAL, ["BODY=8BITMIME", "SMTPUTF8"])
    client = log_in(roost, user)
    lines = client.retr(1)[1]
    header, body = lines[:lines.index(b"")], lines[lines.index(b""):]
    assert all(line.isascii() for line in header)
    assert body == INTERNATIONAL[INTERNATIONAL.index(b"\r\n\r\n") + 2:-2].split(b"\r\n")
    message = parsed(lines)
    assert message["Subject"] == "Grüße"
    assert message["From"].addresses[0].addr_spec == "invalid@internationalized-address.invalid"
    assert message["From"].addresses[0].display_name == "Jörg <jörg@example.test>"
    assert str(message["To"]) == "Änne <someone@example.test>"
    assert message["Content-Type"].params["name"] == "ü.txt" and message.get_content().startswith("Schöne")
    assert client.top(1, 1)[1] == [*header, b"", body[1]]
    with pytest.raises(poplib.error_proto):
        client.utf8()
    client.quit()

    client = poplib.POP3("127.0.0.1", roost.ports["pop3"], timeout=60)
    client.utf8()
    with pytest.raises(poplib.error_proto, match="STLS"):
        client._shortcmd("STLS")
    client.user(user)
    client.pass_(PASSWORD)
    text = b"\r\n".join(client.retr(1)[1]) + b"\r\n"
    assert text.endswith(INTERNATIONAL) and int(client.list(1).split()[2]) == len(text)
    client.quit()


def test_names_and_passwords_in_utf8(roost):
    """UTF8 USER (RFC 6856 section 2.2): however an accent is typed, and nothing that SASLprep refuses."""
    typed = {"jörg": "Schlüssel IX", "jo\u0308rg": "Schlu\u0308ssel\u00a0\u2168", "\uff4aörg": "Schlüssel\u00ad IX"}
    roost.add_user("jörg", password=typed["jörg"])
    for name, password in typed.items():
        client = poplib.POP3("127.0.0.1", roost.ports["pop3"], timeout=60)
        assert client.capa()["UTF8"] == ["USER"]
        client.user(f"{name}@example.test")
        client.pass_(password)
        assert client.stat()[0] == 0
        client.quit()
        text = base64.b64encode(f"\0{name}@example.test\0{password}".encode()).decode()
        client = poplib.POP3("127.0.0.1", roost.ports["pop3"], timeout=60)
        client._shortcmd(f"AUTH PLAIN {text}")
        client.quit()
    # Another one typed, no UTF-8 at all, and a character for private use.
    for password in (b"Schlussel IX", "Schlüssel IX".encode("latin-1"), "Schlüssel IX\ue000".encode()):
        client = poplib.POP3("127.0.0.1", roost.ports["pop3"], timeout=60)
        client.user("jörg@example.test")
        client.sock.sendall(b"PASS " + password + b"\r\n")
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            client._getresp()
        client.close()
    assert re.search(r"auth.login fail user=\S*rg@example.test .*reason=saslprep", roost.log())


def test_log_in_delay(make_instance):
    roost = make_instance(settings={"pop3_login_delay": "1h", "pop3_expire": "60"})
    first = log_in(roost, "alice@example.test")
    capabilities = first.capa()
    assert capabilities["LOGIN-DELAY"] == ["3600"] and capabilities["EXPIRE"] == ["60"]
    first.quit()
    with pytest.raises(poplib.error_proto, match="LOGIN-DELAY"):
        log_in(roost, "alice@example.test")
    log_in(roost, "bob@example.test").quit()
    # The hour is over.
    lock = roost.home("alice") / "index" / "pop3.lock"
    os.utime(lock, (time.time() - 3601,) * 2)
    log_in(roost, "alice@example.test").quit()


def test_lock_goes_with_its_session(roost, user):
    """A second log-in is refused while the first lasts; a killed session leaves no lock."""
    first = log_in(roost, user)
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        log_in(roost, user)
    pid = next(row["pid"] for row in roost.ctl("who") if row["user"] == user)
    os.kill(pid, signal.SIGKILL)

    def again():
        try:
            return log_in(roost, user)
        except (poplib.error_proto, EOFError):
            return None

    wait_until(again, what="the maildrop is free").quit()
    first.close()


def test_only_quit_deletes(roost, user, lmtp):
    for n in range(3):
        deliver(lmtp, user, subject=f"m{n}")
    client = log_in(roost, user)
    client.dele(1)
    client.close()

    def back():
        try:
            return log_in(roost, user)
        except poplib.error_proto:  # the first session may not have noticed yet
            return None

    client = wait_until(back, what="the maildrop is free")
    assert client.stat()[0] == 3
    client.dele(1)
    client.quit()
    client = log_in(roost, user)
    assert client.stat()[0] == 2
    client.quit()


def test_a_maildrop_of_30000_messages(roost, user):
    """Mail that came by other programs: listed, and its parts read, in a few seconds even the first time."""
    new = roost.home(user.split("@")[0]) / "Maildir" / "new"
    log_in(roost, user).quit()
    owner = new.stat()
    text = b"Subject: one of many\n\nshort\n"
    for n in range(30000):
        path = new / f"{1700000000 + n}.M{n}P1.other"
        path.write_bytes(text)
        os.chown(path, owner.st_uid, owner.st_gid)
    client = log_in(roost, user)
    start = time.monotonic()
    assert client.stat()[0] == 30000
    assert len(client.list()[1]) == 30000
    uidls = client.uidl()[1]
    assert len(set(uidls)) == 30000
    assert client.retr(30000)[1][-1] == b"short"
    assert time.monotonic() - start < 40
    for first in range(1, 30001, 1000):
        for n in range(first, first + 1000):
            client._putcmd(f"DELE {n}")
        for _ in range(1000):
            client._getresp()
    client.quit()
    assert log_in(roost, user).stat() == (0, 0)
