# SPDX-License-Identifier: MIT
"""What belongs to mailboxes and messages beside their text: keywords, dates, ids. All of it survives the index."""

import re
import shutil

import pytest
from mail_helpers import instance_imap

ADDRESS = "alice@example.test"
imap = instance_imap  # not the shared instances'


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def message(n, extra=""):
    return (f"From: a@example.org\r\nSubject: number {n}\r\nMessage-ID: <{n}@example.org>\r\n{extra}\r\n"
            f"text {n}\r\n").encode()


def keywords(client, mailbox):
    """UID -> keywords, of all messages."""
    ok(client.select(mailbox, readonly=True))
    found = {}
    for line in ok(client.uid("FETCH", "1:*", "(FLAGS)")):
        if line is None:
            continue
        uid = int(re.search(rb"UID (\d+)", line)[1])
        flags = re.search(rb"FLAGS \(([^)]*)\)", line)[1].decode().split()
        found[uid] = sorted(flag for flag in flags if not flag.startswith("\\"))
    ok(client.unselect())
    return found


@pytest.fixture
def server(make_instance):
    return make_instance()


def without_index(server):
    """Restarts with every index thrown away."""
    server.stop()
    index = server.home("alice") / "index"
    assert (index / "data.mdb").exists()
    shutil.rmtree(index)
    server.start()


def test_two_hundred_keywords(server, imap):
    client = imap(ADDRESS, instance=server)
    words = {"One": [f"a-{n}" for n in range(100)], "Two": [f"b-{n}" for n in range(100)]}
    for name, some in words.items():
        ok(client.create(name))
        for n in range(4):
            ok(client.append(name, None, None, message(n)))
        ok(client.select(name))
        for n, word in enumerate(some):
            ok(client.store(str(n % 4 + 1), "+FLAGS.SILENT", f"({word})"))
    before = {name: keywords(client, name) for name in words}
    assert before["Two"][2] == sorted(f"b-{n}" for n in range(1, 100, 4))
    # One mailbox cannot hold all of them: a clear error, and nothing is lost or half done.
    ok(client.select("One"))
    status, text = client.uid("MOVE", "1:*", "Two")
    assert status == "NO" and b"[LIMIT]" in text[0], text
    status, text = client.uid("COPY", "1:*", "Two")
    assert status == "NO" and b"[LIMIT]" in text[0], text
    assert {name: keywords(client, name) for name in words} == before
    # What fits goes, with its keywords.
    ok(client.select("One"))
    ok(client.uid("COPY", "1", "Two"))
    assert keywords(client, "Two")[5] == before["One"][1]
    ok(client.rename("Two", "Deep/Inside"))
    after = keywords(client, "Deep/Inside")
    client.logout()
    without_index(server)
    client = imap(ADDRESS, instance=server)
    assert keywords(client, "Deep/Inside") == after
    assert keywords(client, "One") == before["One"]


def test_a_full_mailbox_forgets_unused_keywords(server, imap):
    client = imap(ADDRESS, instance=server)
    other = imap(ADDRESS, instance=server)
    for n in range(3):
        ok(client.append("INBOX", None, None, message(n)))
    ok(client.select())
    ok(client.store("1", "+FLAGS.SILENT", "(%s)" % " ".join(f"w-{n}" for n in range(64))))
    ok(client.store("2", "+FLAGS.SILENT", "(%s)" % " ".join(f"w-{n}" for n in range(64, 128))))
    ok(other.select())
    status, text = client.store("3", "+FLAGS", "(one-more)")
    assert status == "NO" and b"[LIMIT]" in text[0], text
    ok(client.store("2", "-FLAGS.SILENT", "(w-100)"))
    line = ok(client.store("3", "+FLAGS", "(one-more)"))[0]
    assert b"one-more" in line and b"w-100" not in line, line
    # The other session had the old names in memory.
    ok(other.noop())
    flags = ok(other.fetch("3", "(FLAGS)"))[-1]
    assert b"one-more" in flags and b"w-100" not in flags, flags
    assert ok(other.search(None, "KEYWORD", "one-more")) == [b"3"]
    assert ok(other.search(None, "KEYWORD", "w-100")) == [b""]
    before = keywords(other, "INBOX")
    assert sorted(before[1] + before[2]) == sorted(f"w-{n}" for n in range(128) if n != 100)
    without_index(server)
    assert keywords(imap(ADDRESS, instance=server), "INBOX") == before


def facts(client, mailbox):
    """UID -> everything that is no flag."""
    ok(client.select(mailbox, readonly=True))
    found = {}
    items = "(UID INTERNALDATE SAVEDATE EMAILID THREADID RFC822.SIZE)"
    for line in ok(client.uid("FETCH", "1:*", items)):
        uid = int(re.search(rb"UID (\d+)", line)[1])
        found[uid] = {
            "date": re.search(rb'INTERNALDATE ("[^"]*")', line)[1],
            "saved": re.search(rb'SAVEDATE ("[^"]*"|NIL)', line)[1],
            "email": re.search(rb"EMAILID \(([^)]*)\)", line)[1],
            "thread": re.search(rb"THREADID (NIL|\([^)]*\))", line)[1],
            "size": re.search(rb"RFC822.SIZE (\d+)", line)[1],
        }
    ok(client.unselect())
    return found


def test_dates_and_ids_come_from_the_files(server, imap):
    client = imap(ADDRESS, instance=server)
    maildir = server.home("alice") / "Maildir"
    root, reply = message(1), message(2, "References: <1@example.org>\r\n")
    ok(client.append("INBOX", None, '"01-Jan-2001 01:02:03 +0000"', root))
    ok(client.append("INBOX", None, None, reply))
    ok(client.append("INBOX", None, None, b"Subject: without an id\r\n\r\nx\r\n"))
    # Another program delivers: a name as Maildir wants it, one that is no time, one with a copy of a message.
    names = {"1000000000.M1P2.other.example": b"Message-ID: <3@example.org>\nIn-Reply-To: <1@example.org>\n\nx\n",
             "strange:2,S": b"Subject: strange\n\nx\n",
             "1100000000.M1P2.other.example": root.replace(b"\r\n", b"\n")}
    for name, text in names.items():
        path = maildir / ("cur" if ":" in name else "new") / name
        (maildir / "tmp" / "x").write_bytes(text)
        (maildir / "tmp" / "x").rename(path)
        shutil.chown(path, maildir.owner(), maildir.group())
    ok(client.select())
    ok(client.noop())
    ok(client.copy("1", "Archive"))
    before = {name: facts(client, name) for name in ("INBOX", "Archive")}
    inbox = before["INBOX"]
    assert len(inbox) == 6
    assert inbox[1]["date"] == b'"01-Jan-2001 01:02:03 +0000"'
    # Copies of a message are one email; what answers it is of its thread.
    same = [uid for uid in inbox if inbox[uid]["email"] == inbox[1]["email"]]
    assert len(same) == 2
    assert before["Archive"][1]["email"] == inbox[1]["email"]
    assert before["Archive"][1]["thread"] == inbox[1]["thread"]
    threads = [uid for uid in inbox if inbox[uid]["thread"] == inbox[1]["thread"]]
    assert len(threads) == 4, inbox
    assert len({fact["email"] for fact in inbox.values()}) == 5
    # A second look says the same, also one without any index, and one where nobody asked before.
    assert {name: facts(client, name) for name in before} == before
    without_index(server)
    client = imap(ADDRESS, instance=server)
    assert {name: facts(client, name) for name in before} == before
