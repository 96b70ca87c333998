# SPDX-License-Identifier: MIT
"""POP3 beyond the basics: capabilities in both states, languages, log-in delay, locking, big maildrops."""

import os
import poplib
import signal
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
    both = {"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE", "LANG", "IMPLEMENTATION"}
    assert both <= set(before) and both == set(after)
    assert {"USER", "SASL", "STLS"} <= set(before)
    assert after["EXPIRE"] == ["NEVER"]
    client._putcmd("LANG")
    assert client._getlongresp()[1] == [b"en English"]
    with pytest.raises(poplib.error_proto):
        client._shortcmd("LANG tlh")
    client.quit()


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
