# SPDX-License-Identifier: MIT
"""Names of mailboxes, what becomes of them on disk, and renaming whole trees."""

import imaplib
import os
import re
import time

import pytest
from mail_helpers import instance_imap

ADDRESS = "alice@example.test"
imap = instance_imap  # not the shared instances'
DEFAULTS = {"Drafts": "\\Drafts", "Sent": "\\Sent", "Junk": "\\Junk", "Trash": "\\Trash", "Archive": "\\Archive"}


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def message(n):
    return f"From: a@example.org\r\nSubject: number {n}\r\nMessage-ID: <{n}@example.org>\r\n\r\nx\r\n".encode()


def command(client, verb, *names):
    """A command with names as they are in quotes; (status, text)."""
    words = ['"%s"' % name.replace("\\", "\\\\").replace('"', '\\"') for name in names]
    try:
        status, data = client._simple_command(verb, *words)
    except imaplib.IMAP4.error as error:
        return "BAD", str(error)
    return status, (data[-1] or b"").decode()


def listed(client):
    """Name -> attributes, names as they come."""
    found = {}
    for line in ok(client.list('""', '"*"')):
        match = re.match(rb'\(([^)]*)\) "/" (.*)$', line)
        name = match[2].decode()
        if name.startswith('"'):
            name = name[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        found[name] = match[1].decode().split()
    client.response("LIST")
    return found


@pytest.fixture
def server(make_instance):
    return make_instance()


@pytest.fixture
def client(server, imap):
    return imap(ADDRESS, instance=server)


# What is asked for; the mailbox that comes of it, or the response code of the refusal; the folder on disk.
NAMES = [
    ("Plain", "Plain", ".Plain"),
    ("A/B/C", "A/B/C", ".A.B.C"),
    ("Trailing/", "Trailing", ".Trailing"),
    ("Gr&APwA3w-e/&ZeVnLIqe-", "Gr&APwA3w-e/&ZeVnLIqe-", ".Gr&APwA3w-e.&ZeVnLIqe-"),
    ("A &- B", "A &- B", ".A &- B"),
    ("with \"quotes\" and \\", "with \"quotes\" and \\", ".with \"quotes\" and \\"),
    ("~home", "~home", ".~home"),
    ("inbox/sub", "INBOX/sub", ".INBOX.sub"),
    ("iNbOx/other/deep", "INBOX/other/deep", ".INBOX.other.deep"),
    ("Inboxes", "Inboxes", ".Inboxes"),
    ("cur", "cur", ".cur"),
    ("/".join("a" * 60), "/".join("a" * 60), "." + ".".join("a" * 60)),
    ("b" * 200, "b" * 200, "." + "b" * 200),
    ("INBOX", "ALREADYEXISTS", None),
    ("inbox", "ALREADYEXISTS", None),
    ("INBOX/SUB/", "INBOX/SUB", ".INBOX.SUB"),
    ("INBOX/sub", "ALREADYEXISTS", None),
    ("Plain", "ALREADYEXISTS", None),
    ("", "CANNOT", None),
    ("/", "CANNOT", None),
    ("/leading", "CANNOT", None),
    ("two//slashes", "CANNOT", None),
    ("two//", "CANNOT", None),
    (".", "CANNOT", None),
    ("..", "CANNOT", None),
    ("a.b", "CANNOT", None),
    ("A/../B", "CANNOT", None),
    ("..roost-expunged", "CANNOT", None),
    ("tab\tin", "BAD", None),
    ("bell\x07", "BAD", None),
    ("&AAA-", "BAD", None),
    ("&AC4-", "BAD", None),
    ("bad & name", "BAD", None),
    ("&Jjo", "BAD", None),
    ("c" * 260, "CANNOT", None),
    ("/".join("d" * 200), "CANNOT", None),
    # 100 characters that are three times as long on disk.
    ("&" + "ZeVnLIqe" * 40 + "-", "CANNOT", None),
]


def test_names(server, client):
    maildir = server.home("alice") / "Maildir"
    expected = {"INBOX", *DEFAULTS}
    wrong = []
    for asked, result, folder in NAMES:
        before = {path.name for path in maildir.iterdir()}
        status, text = command(client, "CREATE", asked)
        if folder is None:
            refused = status == "BAD" if result == "BAD" else status == "NO" and f"[{result}]" in text
            if not refused:
                wrong.append((asked, status, text))
            if {path.name for path in maildir.iterdir()} != before:
                wrong.append((asked, "left something"))
            continue
        if status != "OK" or not (maildir / folder / "cur").is_dir():
            wrong.append((asked, status, text))
        levels = result.split("/")
        expected |= {"/".join(levels[:n + 1]) for n in range(len(levels))}
    assert not wrong
    assert set(listed(client)) == expected


def test_names_survive_the_index(server, client, imap):
    for asked, _, folder in NAMES:
        if folder:
            command(client, "CREATE", asked)
            ok(client.append('"%s"' % asked.rstrip("/").replace("\\", "\\\\").replace('"', '\\"'), None, None,
                             message(1)))
    before = listed(client)
    client.logout()
    server.stop()
    server.remove_index("alice")
    server.start()
    client = imap(ADDRESS, instance=server)
    assert listed(client) == before
    for name in ("iNBoX/sub", "A/B/C", "Gr&APwA3w-e/&ZeVnLIqe-"):
        assert ok(client.select(f'"{name}"')) == [b"1"]


def test_new_users_have_the_special_folders(client):
    found = listed(client)
    for name, use in DEFAULTS.items():
        assert use in found[name], found
    subscribed = {line.split()[-1].decode().strip('"') for line in ok(client.lsub())}
    assert set(DEFAULTS) <= subscribed


def test_renaming_inbox(server, client):
    """RFC 9051 section 6.3.6: its messages move, it and what is below it stays."""
    ok(client.create("INBOX/child"))
    for n in range(3):
        ok(client.append("INBOX", "(\\Flagged)", None, message(n)))
    status, text = command(client, "RENAME", "inbox", "Old/Mail")
    assert status == "OK", text
    assert ok(client.select("INBOX")) == [b"0"]
    assert ok(client.select("Old/Mail")) == [b"3"]
    assert all(b"\\Flagged" in line for line in ok(client.fetch("1:*", "(FLAGS)")))
    found = listed(client)
    assert "INBOX/child" in found and "Old/Mail/child" not in found
    assert ok(client.append("INBOX", None, None, message(9)))
    assert command(client, "RENAME", "INBOX", "Old/Mail")[1].startswith("[ALREADYEXISTS]")
    assert ok(client.select("INBOX")) == [b"1"]
    for source, target, code in (("Sent", "inbox", "ALREADYEXISTS"), ("Sent", "INBOX", "ALREADYEXISTS"),
                                 ("Sent", "Sent/below", "CANNOT"), ("Nowhere", "Else", "NONEXISTENT"),
                                 ("Sent", "Se.nt", "CANNOT"), ("Sent", "Trash", "ALREADYEXISTS")):
        status, text = command(client, "RENAME", source, target)
        assert status == "NO" and f"[{code}]" in text, (source, target, text)
    assert "\\Sent" in listed(client)["Sent"]


def test_a_whole_tree(server, client):
    """FOLDERS=1000 for a large one."""
    count = int(os.environ.get("FOLDERS", "150"))
    maildir = server.home("alice") / "Maildir"
    ok(client.create("Tree"))
    for n in range(count):
        ok(client.create(f"Tree/{n // 10}/{n}"))
    ok(client.append("Tree/3/33", "(\\Flagged)", None, message(1)))
    names = [name for name in listed(client) if name.startswith("Tree")]
    assert len(names) > count + 1
    uids = {name: ok(client.status(name, "(UIDVALIDITY MAILBOXID)"))[0].split(b" ", 1)[1] for name in names[::40]}
    begin = time.monotonic()
    assert command(client, "RENAME", "Tree", "Wald/B&AOQ-ume")[0] == "OK"
    print(f"{len(names)} folders renamed in {time.monotonic() - begin:.3f} s")
    after = set(listed(client))
    assert not [name for name in after if name.startswith("Tree")]
    assert {name.replace("Tree", "Wald/B&AOQ-ume", 1) for name in names} <= after
    for name, values in uids.items():
        moved = name.replace("Tree", "Wald/B&AOQ-ume", 1)
        assert ok(client.status(f'"{moved}"', "(UIDVALIDITY MAILBOXID)"))[0].endswith(values)
    assert ok(client.select('"Wald/B&AOQ-ume/3/33"')) == [b"1"]
    # One name of them would be too long, and nothing moves.
    before = {path.name for path in maildir.iterdir()}
    status, text = command(client, "RENAME", "Wald", "/".join("x" * 118))
    assert status == "NO" and "[CANNOT]" in text, text
    assert {path.name for path in maildir.iterdir()} == before
    assert set(listed(client)) == after
    assert server.ctl("fsck", ADDRESS) == []
