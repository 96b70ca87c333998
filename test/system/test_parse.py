# SPDX-License-Identifier: MIT
"""When messages are parsed: at delivery, or once in the background, so that no client has to wait for it."""

import gzip
import imaplib
import os
import re
import smtplib

from conftest import tls_context
from mail_helpers import deliver, make_message
from roost_instance import PASSWORD, wait_until
from test_compress import bomb

ALICE = "alice@example.test"
ITEMS = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"


def index_status(roost):
    return next(s for s in roost.ctl("status") if s["service"] == "index")


def log_in(roost, address=ALICE):
    client = imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost))
    client.login(address, PASSWORD)
    return client


def fetch_all(roost, mailbox="INBOX"):
    client = log_in(roost)
    assert client.select(mailbox)[0] == "OK"
    status, data = client.fetch("1:*", ITEMS)
    assert status == "OK"
    client.logout()
    return data


def put(roost, messages, user="alice", folder="", name="{}.foreign.host"):
    """As another program delivers: tmp/, then new/."""
    maildir = roost.home(user) / "Maildir" / folder
    for sub in ("tmp", "new", "cur"):
        (maildir / sub).mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        owner = os.stat(roost.state / "mail")
        for path in (maildir.parent, maildir, *maildir.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)
    for n, message in enumerate(messages):
        file = name.format(1700000000 + n)
        (maildir / "tmp" / file).write_bytes(message)
        if os.getuid() == 0:
            os.chown(maildir / "tmp" / file, owner.st_uid, owner.st_gid)
        (maildir / "tmp" / file).rename(maildir / "new" / file)


def test_no_session_parses_what_was_delivered(make_instance):
    roost = make_instance(settings={"index_parse_threads": "0"})
    client = log_in(roost)
    deliver(lambda: smtplib.LMTP("127.0.0.1", roost.ports["lmtp"]), ALICE,
            attachments=[("a.bin", b"x" * 3000)])
    for n in range(3):
        assert client.append("INBOX", None, None, make_message(subject=f"m{n}").as_bytes())[0] == "OK"
    assert client.select()[1] == [b"4"]
    assert client.copy("1:4", "Archive")[0] == "OK"
    assert client.uid("MOVE", "1:2", "Sent")[0] == "OK"
    client.logout()
    for mailbox, count in (("INBOX", 2), ("Archive", 4), ("Sent", 2)):
        assert len(fetch_all(roost, mailbox)) >= count
    assert index_status(roost)["parsed_by_sessions"] == 0
    # The counter does count.
    put(roost, [b"Subject: foreign\n\nx\n"])
    assert b"foreign" in b"".join(d if isinstance(d, bytes) else b"".join(d) for d in fetch_all(roost))
    wait_until(lambda: index_status(roost)["parsed_by_sessions"] == 1, what="one is counted")


def test_foreign_mail_is_parsed_in_the_background(make_instance):
    roost = make_instance(settings={"max_message_size": "1M"})
    messages = [make_message(subject=f"m{n}", body="text\n" * n).as_bytes() for n in range(300)]
    put(roost, [gzip.compress(m) if n % 10 == 0 else m for n, m in enumerate(messages)])
    put(roost, [bomb(1 << 28)], name="{}.bomb.host,S=5,W=6")
    put(roost, messages[:50], folder=".Lists")
    roost.ctl("mailbox", "list", ALICE)
    wait_until(lambda: index_status(roost)["parsed_in_background"] == 351, what="all are parsed")
    client = log_in(roost)
    for mailbox, count in (("INBOX", 300), ("Lists", 50)):
        assert client.select(mailbox)[0] == "OK"
        uids = client.uid("SEARCH", "SUBJECT", "m")[1][0].decode().replace(" ", ",")
        data = client.uid("FETCH", uids, ITEMS)[1]
        sizes = sorted(int(re.search(rb"RFC822.SIZE (\d+)", d)[1]) for d in data)
        assert sizes == sorted(len(m) + m.count(b"\n") for m in messages[:count])
        assert all(b'INTERNALDATE " 1-Jan-1970' not in d for d in data)
    client.logout()
    assert index_status(roost)["parsed_by_sessions"] == 0
    # What comes later is parsed too, with nobody logged in or with somebody.
    client = log_in(roost)
    client.select()
    put(roost, [make_message(subject="late").as_bytes()], name="{}.late.host")
    client.noop()
    wait_until(lambda: index_status(roost)["parsed_in_background"] == 352, what="the late one is parsed")


def test_it_goes_on_after_a_stop(make_instance):
    roost = make_instance()
    put(roost, [make_message(subject=f"m{n}").as_bytes() for n in range(2500)])
    roost.ctl("mailbox", "list", ALICE)
    wait_until(lambda: index_status(roost)["parsed_in_background"] > 0, what="it has begun")
    done = index_status(roost)["parsed_in_background"]
    roost.stop()
    roost.start()
    roost.ctl("mailbox", "list", ALICE)
    wait_until(lambda: "index.parse ok" in roost.log(), what="it is done")
    assert 0 <= index_status(roost)["parsed_in_background"] <= 2500 - done
    fetch_all(roost)
    assert index_status(roost)["parsed_by_sessions"] == 0


def test_the_index_is_removed_meanwhile(make_instance):
    roost = make_instance()
    put(roost, [make_message(subject=f"m{n}").as_bytes() for n in range(2500)])
    client = log_in(roost)
    assert client.select()[1] == [b"2500"]
    wait_until(lambda: index_status(roost)["parsed_in_background"] > 0, what="it has begun")
    roost.remove_index("alice")
    client.append("Sent", None, None, make_message().as_bytes())
    client.noop()
    wait_until(lambda: "index.parse ok" in roost.log().partition("index.rebuild begin")[2],
               what="all are parsed again")
    assert roost.log().rpartition("index.parse ok")[2].split()[1] == "left=0"
    client.logout()
    fetch_all(roost)
    assert index_status(roost)["parsed_by_sessions"] == 0
