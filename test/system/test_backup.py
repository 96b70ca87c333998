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
    owner = server.home("alice").stat()
    for path in [server.home("bob"), *server.home("bob").rglob("*")]:
        os.lchown(path, owner.st_uid, owner.st_gid)
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
