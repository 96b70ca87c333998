# SPDX-License-Identifier: MIT
"""roostctl fsck: what it says and mends while the user's session stays open."""

import os
import shutil
import subprocess

import pytest
from mail_helpers import instance_imap
from roost_instance import BUILD

ADDRESS = "alice@example.test"
imap = instance_imap  # not the shared instances'


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


@pytest.fixture
def server(make_instance):
    return make_instance()


def fsck(server, *args):
    status, rows, err = server.ctl("fsck", *args, check=False)
    return status, rows, err


def test_fsck(server, imap):
    client = imap(ADDRESS, instance=server)
    for n in range(5):
        ok(client.append("INBOX", None, None, f"Subject: {n}\r\n\r\n{n}\r\n".encode()))
    ok(client.select())
    ok(client.store("2", "+FLAGS", "(Important)"))
    ok(client.create("Box"))
    assert fsck(server, ADDRESS)[:2] == (0, [])
    assert fsck(server, "--all")[:2] == (0, [])
    # A person is told, too.
    said = subprocess.run([BUILD / "roostctl", "-c", server.conf, "fsck", ADDRESS], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "nothing wrong\n")

    maildir = server.home("alice") / "Maildir"
    os.mkfifo(maildir / "cur" / "pipe")
    (maildir / "cur" / "directory").mkdir()
    (maildir / "cur" / "directory" / "kept").write_text("kept")
    shutil.chown(maildir / "cur" / "directory", maildir.owner(), maildir.group())
    (maildir / ".Box" / "roost-metadata").write_text("nonsense\n")
    (maildir / "subscriptions").unlink()
    status, rows, _ = fsck(server, ADDRESS)
    assert status == 2
    assert {row["check"] for row in rows} == {"file", "metadata", "subscriptions"}
    assert not any(row["mended"] for row in rows)
    status, rows, _ = fsck(server, "--repair", "--all")
    assert status == 1
    assert {(row["check"], row.get("mailbox")) for row in rows} == {
        ("file", "INBOX"), ("metadata", "Box"), ("subscriptions", None)}
    assert all(row["mended"] and row["user"] == ADDRESS for row in rows)
    assert fsck(server, "--repair", ADDRESS)[:2] == (0, [])
    # Nothing was thrown away, and the session goes on with what it had.
    (lost,) = (maildir / "..roost-lost").iterdir()
    assert (lost / "kept").read_text() == "kept"
    assert (maildir / ".Box" / "roost-metadata.bad").read_text() == "nonsense\n"
    assert "Trash" in (maildir / "subscriptions").read_text()
    ok(client.noop())
    assert len(ok(client.fetch("1:*", "(FLAGS)"))) == 5
    assert not [line for line in ok(client.list()) if b"lost" in line]


def test_a_user_who_is_not_there(server):
    status, rows, err = fsck(server, "nobody@example.test")
    assert status == 2 and "no such user" in err
    status, _, err = fsck(server)
    assert status == 64 and "--all" in err


def test_a_damaged_index_is_made_anew(server, imap):
    client = imap(ADDRESS, instance=server)
    ok(client.append("INBOX", None, None, b"Subject: x\r\n\r\nx\r\n"))
    client.logout()
    server.stop()
    index = server.home("alice") / "index" / "data.mdb"
    size = index.stat().st_size
    with index.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))
    server.start()
    # The index may end the service, once; never a second time.
    fsck(server, "--repair", ADDRESS)
    status, rows, err = fsck(server, "--repair", ADDRESS)
    assert status in (0, 1), (rows, err)
    assert fsck(server, ADDRESS)[:2] == (0, [])
    assert server.log().count("master.child crash") <= 1
    client = imap(ADDRESS, instance=server)
    assert ok(client.select()) == [b"1"]


def test_unreadable_output_is_said(server):
    """A name that is no UTF-8 does not break the answer."""
    server.ctl("mailbox", "list", ADDRESS)
    maildir = server.home("alice") / "Maildir"
    path = os.fsencode(maildir / "cur") + b"/pipe\xff"
    os.mkfifo(path)
    status, rows, _ = fsck(server, "--repair", ADDRESS)
    assert status == 1 and rows[0]["check"] == "file"
