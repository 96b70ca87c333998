# SPDX-License-Identifier: MIT
"""Expunged messages are kept for a while and can be put back."""

import os
import poplib
import re
import ssl
import time

import pytest
from mail_helpers import instance_imap
from roost_instance import PASSWORD

ADDRESS = "alice@example.test"
imap = instance_imap  # not the shared instances'


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def message(n):
    return f"From: a@example.org\r\nSubject: number {n}\r\nMessage-ID: <{n}@example.org>\r\n\r\ntext {n}\r\n".encode()


def contents(client, mailbox):
    """Subject -> (flags, internal date, text) of each message."""
    ok(client.select(mailbox, readonly=True))
    found = {}
    for part in ok(client.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")):
        if not isinstance(part, tuple):
            continue
        head, text = part
        flags = sorted(set(re.search(rb"FLAGS \(([^)]*)\)", head)[1].split()) - {b"\\Recent"})
        subject = re.search(rb"Subject: ([^\r]*)", text)[1].decode()
        assert subject not in found
        found[subject] = (flags, re.search(rb'INTERNALDATE ("[^"]*")', head)[1], text)
    ok(client.unselect())
    return found


@pytest.fixture
def server(make_instance):
    return make_instance(settings={"expunge_keep": "7d"})


@pytest.fixture
def client(server, imap):
    return imap(ADDRESS, instance=server)


def fill(client, mailbox, count):
    for n in range(count):
        ok(client.append(mailbox, "(\\Flagged)" if n % 2 else None, f'"0{n % 9 + 1}-Feb-2020 10:00:00 +0000"',
                         message(n)))
    ok(client.select(mailbox))
    ok(client.store("2", "+FLAGS.SILENT", "(%s)" % " ".join(f"word-{n}" for n in range(40))))
    ok(client.unselect())


def test_expunge_and_back(server, client):
    fill(client, "INBOX", 6)
    before = contents(client, "INBOX")
    ok(client.select())
    ok(client.uid("STORE", "2:4", "+FLAGS.SILENT", "(\\Deleted)"))
    ok(client.expunge())
    ok(client.select())
    left = contents(client, "INBOX")
    assert len(left) == 3
    listed = server.ctl("mailbox", "undelete", ADDRESS, "--list")
    assert [(row["mailbox"], row["uid"]) for row in listed] == [("INBOX", 2), ("INBOX", 3), ("INBOX", 4)]
    assert listed[0]["flags"] == "F"
    assert abs(listed[0]["expunged"] - time.time()) < 600
    assert listed[0]["expunged_text"] == time.strftime("%Y-%m-%d %H:%M", time.localtime(listed[0]["expunged"]))
    assert "new_uid" not in listed[0]
    assert contents(client, "INBOX") == left
    # One, then those of the last hour; each once.
    assert [row["uid"] for row in server.ctl("mailbox", "undelete", ADDRESS, "--mailbox", "inbox", "--uid", "3")] == [3]
    assert server.ctl("mailbox", "undelete", ADDRESS, "--mailbox", "Sent") == []
    done = server.ctl("mailbox", "undelete", ADDRESS, "--since", "1h")
    assert [row["uid"] for row in done] == [2, 4]
    assert [row["new_uid"] for row in done] == [8, 9]
    assert server.ctl("mailbox", "undelete", ADDRESS) == []
    assert contents(client, "INBOX") == before


def test_a_reload_changes_what_is_kept_of_open_users(make_instance, imap):
    server = make_instance()
    client = imap(ADDRESS, instance=server)
    fill(client, "INBOX", 9)

    def expunge():
        other = imap(ADDRESS, instance=server)
        ok(other.select())
        ok(other.store("1", "+FLAGS.SILENT", "(\\Deleted)"))
        ok(other.expunge())
        return server.ctl("mailbox", "undelete", ADDRESS, "--list")

    assert expunge() == []
    server.settings["expunge_keep"] = "7d"
    server.write_conf()
    server.reload()
    # The service may take the new settings a moment after the master said so.
    kept = expunge() or expunge() or expunge()
    assert kept[0]["mailbox"] == "INBOX"
    assert len(contents(client, "INBOX")) + kept[0]["uid"] == 9


def test_deleted_mailbox_comes_back(server, client):
    ok(client.create("Projects/Old"))
    fill(client, "Projects/Old", 4)
    before = contents(client, "Projects/Old")
    ok(client.delete("Projects/Old"))
    ok(client.delete("Projects"))
    assert client.select("Projects/Old")[0] == "NO"
    done = server.ctl("mailbox", "undelete", ADDRESS, "--mailbox", "Projects/Old")
    assert len(done) == 4
    assert contents(client, "Projects/Old") == before
    maildir = server.home("alice") / "Maildir"
    assert not [path for path in maildir.iterdir() if path.name.startswith("..roost-deleted")]


def test_pop3_deletions_too_but_no_moves(server, client):
    fill(client, "INBOX", 3)
    context = ssl.create_default_context(cafile=str(server.tls_cert))
    pop = poplib.POP3_SSL("localhost", server.ports["pop3s"], context=context, timeout=30)
    pop.user(ADDRESS)
    pop.pass_(PASSWORD)
    pop.dele(1)
    pop.quit()
    ok(client.select())
    ok(client.uid("MOVE", "2", "Trash"))
    listed = server.ctl("mailbox", "undelete", ADDRESS, "--list")
    assert [(row["mailbox"], row["uid"]) for row in listed] == [("INBOX", 1)]


def test_kept_messages_weigh_nothing_and_are_no_folder(server, client):
    fill(client, "INBOX", 3)
    ok(client.select())
    ok(client.store("1:*", "+FLAGS.SILENT", "(\\Deleted)"))
    ok(client.expunge())
    rows = server.ctl("mailbox", "list", ADDRESS)
    assert sum(row["size"] for row in rows) == 0
    names = [line.decode() for line in ok(client.list())]
    assert not [name for name in names if "expunged" in name], names
    # No more comes back than there is room for.
    server.ctl("user", "set", ADDRESS, "--quota", str(2 * len(message(1)) + 10))
    status, rows, err = server.ctl("mailbox", "undelete", ADDRESS, check=False)
    assert status != 0 and "quota" in err
    assert [row["uid"] for row in rows] == [1, 2]
    assert [row["uid"] for row in server.ctl("mailbox", "undelete", ADDRESS, "--list")] == [3]


def test_old_ones_are_purged(server, client):
    fill(client, "INBOX", 3)
    ok(client.select())
    ok(client.store("1:*", "+FLAGS.SILENT", "(\\Deleted)"))
    ok(client.expunge())
    kept = server.home("alice") / "Maildir" / "..roost-expunged" / "INBOX"
    files = sorted(path for path in kept.iterdir() if path.name != "keywords")
    assert len(files) == 3
    old = files[1]
    then, rest = old.name.split(",", 1)
    os.rename(old, kept / f"{int(then) - 8 * 86400},{rest}")
    assert server.ctl("mailbox", "purge", ADDRESS) == {"purged": 1}
    assert len(server.ctl("mailbox", "undelete", ADDRESS, "--list")) == 2
    os.rename(files[0], kept / f"{int(then) - 7200},{files[0].name.split(',', 1)[1]}")
    assert server.ctl("mailbox", "purge", ADDRESS, "--older", "1h") == {"purged": 1}
    status, _, err = server.ctl("mailbox", "undelete", ADDRESS, "--since", "soon", check=False)
    assert status != 0 and "duration" in err


def test_without_the_setting_they_are_gone(make_instance, imap):
    server = make_instance()
    client = imap(ADDRESS, instance=server)
    fill(client, "INBOX", 3)
    ok(client.select())
    ok(client.store("1:*", "+FLAGS.SILENT", "(\\Deleted)"))
    ok(client.expunge())
    assert server.ctl("mailbox", "undelete", ADDRESS) == []
    assert not (server.home("alice") / "Maildir" / "..roost-expunged").exists()
