# SPDX-License-Identifier: MIT
"""roostctl backup and restore."""

import contextlib
import imaplib
import json
import mailbox
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from roost_instance import BUILD, PASSWORD, wait_until
from test_adopt import assert_same, fill, message, ok, snapshot

MAIL = "alice@example.test"


@pytest.fixture
def server(make_instance):
    return make_instance()


@pytest.fixture
def connect():
    clients = []

    def log_in(server, address=MAIL):
        client = imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=30)
        client.login(address, PASSWORD)
        clients.append(client)
        return client

    yield log_in
    for client in clients:
        with contextlib.suppress(Exception):
            client.logout()


def filled(client):
    for name in ("Sent", "Archive"):
        ok(client.delete(name))
    fill(client, "/")


def inbox_count(server):
    return next(b["messages"] for b in server.ctl("mailbox", "list", MAIL) if b["name"] == "INBOX")


def give(top):
    """To the owner of the directory it is in."""
    owner = top.parent.stat()
    for path in [top, *top.rglob("*")]:
        os.lchown(path, owner.st_uid, owner.st_gid)


def inodes(top):
    return {p.stat().st_ino for p in Path(top).rglob("cur/*")}


def test_backup_is_a_maildir(server, connect, tmp_path):
    client = connect(server)
    filled(client)
    (server.home("alice") / "sieve").mkdir()
    (server.home("alice") / "sieve/a.sieve").write_text("keep;")
    before = snapshot(client, "/")
    total = sum(len(box[2]) for box in before[0].values())
    done = server.ctl("backup", tmp_path, MAIL)
    assert (done["users"], done["messages"], done["linked"], done["failed"]) == (1, total, 0, 0)
    top = Path(done["backup"])
    copy = top / "mail/example.test/alice"
    assert (copy / "sieve/a.sieve").read_text() == "keep;"
    box = mailbox.Maildir(copy / "Maildir", create=False)
    assert len(box) == len(before[0][("INBOX",)][2])
    assert "Archive.2026.Q1" in box.list_folders()
    addresses = {u["address"] for u in json.loads((top / "directory.json").read_text())["user-list"]}
    assert addresses == {"alice@example.test", "bob@example.test"}

    # Roost opens it as another user's mail, with all numbers.
    server.stop()
    shutil.rmtree(server.home("bob"), ignore_errors=True)
    shutil.copytree(copy, server.home("bob"))
    give(server.home("bob"))
    server.start()
    assert_same(before, snapshot(connect(server, "bob@example.test"), "/"))


def test_incremental_links_and_verify(server, connect, tmp_path):
    client = connect(server)
    for n in range(20):
        ok(client.append("INBOX", None, '"01-Mar-2010 11:22:33 +0100"', message(n)))
    first = server.ctl("backup", tmp_path, "--all")["backup"]
    ok(client.select("INBOX"))
    ok(client.uid("STORE", "1:5", "+FLAGS", "(\\Seen later)"))
    ok(client.uid("STORE", "20", "+FLAGS", "(\\Deleted)"))
    ok(client.uid("EXPUNGE", "20"))
    ok(client.append("INBOX", None, None, message(99)))
    done = server.ctl("backup", tmp_path, "--all", "--incremental")
    second = done["backup"]
    assert (done["messages"], done["linked"]) == (20, 19)
    assert len(inodes(first) & inodes(second)) == 19
    # The mail itself is never linked: a fault there must not reach the copy.
    assert not inodes(second) & inodes(server.home("alice"))
    names = [p.name for p in Path(second).rglob("cur/*,U=3:2,*")]
    assert names and names[0].endswith("Sa")
    for path in (first, second):
        check = server.ctl("backup", tmp_path, "--verify", Path(path).name)
        assert (check["messages"], check["bad"]) == (20, 0)

    (victim,) = Path(second).rglob("cur/*,U=7:2,*")
    text = bytearray(victim.read_bytes())
    text[10] ^= 1
    victim.write_bytes(text)
    status, check, error = server.ctl("backup", tmp_path, "--verify", check=False)
    assert status == 1 and check["bad"] == 1 and "other contents" in error
    victim.unlink()
    status, check, error = server.ctl("backup", tmp_path, "--verify", check=False)
    assert status == 1 and "missing" in error


def test_killed_backup_is_no_backup(server, tmp_path):
    with open(tmp_path / "mbox", "wb") as f:
        for n in range(400):
            f.write(b"From a Tue Jan  1 12:00:00 2019\n" + message(n) + b"\n")
    server.ctl("import", "mbox", MAIL, tmp_path / "mbox")
    first = server.ctl("backup", tmp_path, MAIL)["backup"]
    words = [BUILD / "roostctl", "-c", server.conf, "backup", tmp_path, MAIL]
    process = subprocess.Popen([str(w) for w in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.glob("*.unfinished/mail/*/*/Maildir/cur/*"))) > 10
               or process.poll() is not None, what="a backup is under way")
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode == -signal.SIGKILL:
        assert list(tmp_path.glob("*.unfinished"))
    assert server.ctl("backup", tmp_path, "--verify", Path(first).name)["messages"] == 400
    done = server.ctl("backup", tmp_path, MAIL, "--incremental")
    assert done["linked"] == 400
    assert not list(tmp_path.glob("*.unfinished"))


def test_backup_while_mail_flows(server, connect, tmp_path):
    """Each backup is a state that the mailbox really had: messages come in order, and the oldest go."""
    stop = threading.Event()

    def churn():
        client = connect(server)
        ok(client.select("INBOX"))
        n = 0
        while not stop.is_set():
            ok(client.append("INBOX", None, None, message(n)))
            n += 1
            if n > 30:
                ok(client.uid("STORE", str(n - 30), "+FLAGS.SILENT", "(\\Deleted)"))
                ok(client.uid("EXPUNGE", str(n - 30)))

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        wait_until(lambda: inbox_count(server) >= 30, what="mail flows")
        for _ in range(5):
            done = server.ctl("backup", tmp_path, MAIL, "--incremental")
            assert done["failed"] == 0
            uids = sorted(int(p.name.split(",U=")[1].split(":")[0])
                          for p in Path(done["backup"]).rglob("cur/*"))
            assert uids == list(range(uids[0], uids[-1] + 1))
            assert 29 <= len(uids) <= 32
            assert server.ctl("backup", tmp_path, "--verify")["bad"] == 0
    finally:
        stop.set()
        worker.join()


def test_backup_refuses(server, tmp_path):
    assert server.ctl("backup", tmp_path, check=False)[0] == 64
    assert server.ctl("backup", tmp_path, MAIL, "--all", check=False)[0] == 64
    status, _, error = server.ctl("backup", tmp_path, "nobody@example.test", check=False)
    assert status == 1 and "no such user" in error
    assert not list(tmp_path.iterdir())
    assert server.ctl("backup", tmp_path, "--verify", check=False)[0] == 1


def test_restore_into_an_empty_account(server, connect, tmp_path):
    client = connect(server)
    filled(client)
    ok(client.select("INBOX"))
    for n in range(30):  # more keywords than there are letters
        ok(client.uid("STORE", "1", "+FLAGS", f"(word{n})"))
    (server.home("alice") / "sieve").mkdir()
    (server.home("alice") / "sieve/a.sieve").write_text("keep;")
    before = snapshot(client, "/")
    backup = server.ctl("backup", tmp_path, MAIL)["backup"]
    server.add_user("new")
    ok(connect(server, "new@example.test").select("INBOX"))  # it is open there
    done = server.ctl("restore", backup, "new@example.test", "--from", MAIL)
    assert done["complete"] and done["messages"] == sum(len(box[2]) for box in before[0].values())
    client = connect(server, "new@example.test")
    assert_same(before, snapshot(client, "/"))
    assert (server.home("new") / "sieve/a.sieve").read_text() == "keep;"
    assert sorted(p.name for p in server.home("new").iterdir()) == ["Maildir", "index", "sieve"]
    # UIDs that were given after the backup never come again.
    ok(client.append("INBOX", None, None, message(500)))
    uids = snapshot(client, "/")[0][("INBOX",)][2]
    assert max(uids) > 1_000_000
    # A second run adds nothing.
    done = server.ctl("restore", tmp_path, "new@example.test", "--from", MAIL)
    assert (done["messages"], done["failed"]) == (0, 0)


def test_restore_adds_what_is_missing(server, connect, tmp_path):
    client = connect(server)
    ok(client.create("Work"))
    for n in range(10):
        ok(client.append("Work", "(\\Flagged own)" if n == 3 else None, '"01-Mar-2010 11:22:33 +0100"', message(n)))
        ok(client.append("INBOX", None, None, message(n + 100)))
    backup = server.ctl("backup", tmp_path, MAIL)["backup"]
    kept = snapshot(client, "/")[0][("Work",)][2]
    ok(client.select("Work"))
    ok(client.uid("STORE", "3:6", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    ok(client.append("Work", None, None, message(50)))
    ok(client.select("INBOX"))
    ok(client.uid("STORE", "1:10", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())

    # One message, by its UID there, or its Message-ID.
    done = server.ctl("restore", backup, MAIL, "--mailbox", "Work", "--message", "4")
    assert done["messages"] == 1
    done = server.ctl("restore", backup, MAIL, "--mailbox", "Work", "--message", "<4@example.org>")
    assert done["messages"] == 1
    now = snapshot(client, "/")[0][("Work",)][2]
    assert kept[4] in now.values() and kept[5] in now.values() and len(now) == 9
    # The mailbox; nothing that is there goes or comes twice.
    assert server.ctl("restore", backup, MAIL, "--mailbox", "Work")["messages"] == 2
    done = server.ctl("restore", backup, MAIL, "--mailbox", "Work")
    assert (done["messages"], done["present"]) == (0, 10)
    boxes = snapshot(client, "/")[0]
    assert len(boxes[("Work",)][2]) == 11 and not boxes[("INBOX",)][2]
    # Elsewhere.
    assert server.ctl("restore", backup, MAIL, "--mailbox", "INBOX", "--into", "Restored/Inbox")["messages"] == 10
    boxes = snapshot(client, "/")[0]
    assert len(boxes[("Restored", "Inbox")][2]) == 10 and not boxes[("INBOX",)][2]
    assert server.ctl("restore", backup, MAIL, "--into", "All")["messages"] == 20
    # All that is missing.
    assert server.ctl("restore", backup, MAIL)["messages"] == 10

    for words in (["--mailbox", "None"], ["--mailbox", "Work", "--message", "77"],
                  ["--mailbox", "Work", "--message", "none@here"]):
        status, _, error = server.ctl("restore", backup, MAIL, *words, check=False)
        assert status == 1 and "there is no such" in error, words
    assert server.ctl("restore", backup, MAIL, "--message", "4", check=False)[0] == 64
    assert server.ctl("restore", backup, "bob@example.test", check=False)[0] == 1


def test_restore_that_was_killed(server, connect, tmp_path):
    """At each point: half of the tree made; in place, but the index not told, and mail came in between."""
    client = connect(server)
    for n in range(5):
        ok(client.append("INBOX", None, None, message(n)))
    before = snapshot(client, "/")
    backup = server.ctl("backup", tmp_path, MAIL)["backup"]
    server.add_user("new")
    home = server.home("new")
    connect(server, "new@example.test")
    stage = home / "Maildir.restoring"
    (stage / "cur").mkdir(parents=True)
    (stage / "roost-restoring").touch()
    (stage / "cur/1.half,U=1:2,").write_text("half")
    give(stage)
    done = server.ctl("restore", backup, "new@example.test", "--from", MAIL)
    assert done["messages"] == 5 and not stage.exists()
    assert_same(before, snapshot(connect(server, "new@example.test"), "/"))

    for sub in ("cur", "new", "tmp"):
        (stage / sub).mkdir(parents=True)
    (stage / "new/1500000000.late.host").write_bytes(message(70))
    (home / "Maildir/roost-restoring").touch()
    give(stage)
    done = server.ctl("restore", backup, "new@example.test", "--from", MAIL)
    assert done["messages"] == 1
    assert not stage.exists() and not (home / "Maildir/roost-restoring").exists()
    assert len(snapshot(connect(server, "new@example.test"), "/")[0][("INBOX",)][2]) == 6
