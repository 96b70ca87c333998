# SPDX-License-Identifier: MIT
"""roostctl import mbox and maildir, from files as other programs leave them."""

import gzip
import imaplib
import mailbox
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from roost_instance import BUILD, PASSWORD
from test_adopt import message, ok, snapshot

MAIL = "alice@example.test"


@pytest.fixture
def server(make_instance):
    return make_instance()


@pytest.fixture
def source(tmp_path):
    """Nobody but root may read it."""
    tmp_path.chmod(0o700)
    return tmp_path


def log_in(server, address=MAIL):
    client = imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=30)
    client.login(address, PASSWORD)
    return client


def subjects(server, box="INBOX"):
    client = log_in(server)
    ok(client.select(f'"{box}"', readonly=True))
    found = []
    for item in ok(client.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")):
        if isinstance(item, tuple):
            text = item[0].decode()
            flags = re.search(r"FLAGS \(([^)]*)\)", text).group(1).split()
            date = time.mktime(imaplib.Internaldate2tuple(item[0]))
            found.append((item[1], sorted(f for f in flags if f != "\\Recent"), date))
    client.logout()
    return found


def test_mbox_that_python_wrote(server, source):
    path = source / "old.mbox"
    box = mailbox.mbox(path)
    for n in range(300):
        m = mailbox.mboxMessage(f"From: a@example.org\nSubject: {n}\n\nFrom here\nline\n>From there\n")
        m.set_from("a@example.org", time.gmtime(1_000_000_000 + n))
        m.set_flags("RF" if n % 2 else "O")
        m["X-Keywords"] = "$Forwarded own"
        box.add(m)
    box.flush()
    before = path.read_bytes(), path.stat().st_mtime
    done = server.ctl("import", "mbox", MAIL, path)
    assert (done["messages"], done["failed"], done["mailboxes"]) == (300, 0, 1)
    found = subjects(server)
    assert [f[2] for f in found] == [1_000_000_000 + n for n in range(300)]
    assert found[1][1] == ["$Forwarded", "\\Flagged", "\\Seen", "own"]
    assert found[0][1] == ["$Forwarded", "own"]
    # Python quotes as mboxo does, which cannot be undone for lines that had a mark before.
    assert found[5][0] == b"From: a@example.org\r\nSubject: 5\r\n\r\nFrom here\r\nline\r\nFrom there\r\n"
    assert server.ctl("import", "mbox", MAIL, path)["present"] == 300
    assert (path.read_bytes(), path.stat().st_mtime) == before


def test_mbox_variants(server, source):
    head = b"From x@y Tue Jan  1 12:00:00 +0000 2019\n"
    texts = {
        "crlf": (head + b"A: 1\n\none\n\n" + head + b"A: 2\n\ntwo").replace(b"\n", b"\r\n"),
        "counted": head + b"Content-Length: %d\n\n\n" % (len(head) + 8) + b"\n" + head + b">From\n\n\n" + head + b"\nx\n",
    }
    for name, text in texts.items():
        (source / name).write_bytes(text)
    server.ctl("import", "mbox", MAIL, source / "crlf", "--mailbox", "Crlf")
    assert [f[0] for f in subjects(server, "Crlf")] == [b"A: 1\r\n\r\none\r\n", b"A: 2\r\n\r\ntwo"]
    server.ctl("import", "mbox", MAIL, source / "counted", "--mailbox", "Old/Counted")
    assert len(subjects(server, "Old/Counted")) == 2
    (source / "none").write_text("Subject: x\n\nno mbox\n")
    status, _, error = server.ctl("import", "mbox", MAIL, source / "none", check=False)
    assert status == 1 and "no mbox file" in error
    status, _, error = server.ctl("import", "mbox", MAIL, source / "missing", check=False)
    assert status == 1 and "No such file" in error
    os.mkfifo(source / "fifo")
    assert server.ctl("import", "mbox", MAIL, source / "fifo", check=False)[0] == 1


def test_tree_of_mbox_files(server, source):
    head = "From x@y Tue Jan  1 12:00:00 2019\n"
    for name in ["Inbox", "Sent", "Work.sbd/2019", "Work", "a/b/c", "Gr&APYA3w-e"]:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{head}Subject: {name}\n\nx\n")
    (source / "Inbox.msf").write_text("// <!-- index -->")
    (source / ".hidden").write_text(f"{head}\nx\n")
    (source / "link").symlink_to("/etc/passwd")
    done = server.ctl("import", "mbox", MAIL, source)
    assert (done["messages"], done["failed"]) == (6, 0)
    found, _ = snapshot(log_in(server), "/")
    assert {"/".join(name) for name, box in found.items() if box[2]} == {
        "INBOX", "Sent", "Work/2019", "Work", "a/b/c", "Gr&APYA3w-e"}


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_big_mbox_in_bounded_memory(server, source):
    path = source / "big"
    megabytes = int(os.environ.get("ROOST_IMPORT_MEGABYTES", "40"))
    with open(path, "wb") as f:
        for n in range(megabytes // 10):
            f.write(b"From x@y Tue Jan  1 12:00:00 2019\nSubject: %d\n\n" % n)
            f.write((b"x" * 76 + b"\n") * (10 * 1024 * 1024 // 77) + b"\n")
    words = [BUILD / "roostctl", "-c", server.conf, "--json", "import", "mbox", MAIL, path]
    # The child of a small program: a process starts out with the memory of the one that it came from.
    measured = subprocess.run([sys.executable, "-c", MEASURE, *map(str, words)], capture_output=True, text=True)
    assert measured.returncode == 0, measured.stderr
    kilobytes = int(measured.stdout.split()[-1])
    assert kilobytes < 64 * 1024, f"{kilobytes} KB"
    assert len(subjects(server)) == megabytes // 10


def make_maildir(top, dovecot=True):
    """A Maildir++ tree: two folders, flags, keywords, one file compressed, one in new."""
    for folder in ["", ".Archive.2026", ".Gr&APYA3w-e"]:
        for sub in ["cur", "new", "tmp"]:
            (top / folder / sub).mkdir(parents=True)
    names = ["1500000003.M1P1.host:2,S", "1500000001.M2P1.host,S=10:2,FRa", "1500000002.M3P1.host:2,"]
    for n, name in enumerate(names):
        path = top / "cur" / name
        text = message(n).replace(b"\r\n", b"\n")
        path.write_bytes(gzip.compress(text) if n == 2 else text)
        os.utime(path, (1_300_000_000 + n, 1_300_000_000 + n))
    (top / "new" / "1500000009.M9P1.host").write_bytes(message(9))
    (top / ".Archive.2026/cur/1500000000.M4P1.host:2,ST").write_bytes(message(4))
    (top / "cur/1500000000.link.host:2,").symlink_to("/etc/passwd")
    if dovecot:
        (top / "dovecot-keywords").write_text("0 $Label\n")
        (top / "dovecot-uidlist").write_text("3 V1400000000 N4 G1\n1 :1500000003.M1P1.host\n"
                                             "2 :1500000001.M2P1.host,S=10\n3 :1500000002.M3P1.host\n")
        (top / "subscriptions").write_text("V\t2\n\nArchive\t2026\n")


def tree_state(top):
    return sorted((str(p), p.lstat().st_mtime_ns, p.lstat().st_ino, p.lstat().st_nlink) for p in top.rglob("*"))


def test_maildir(server, source):
    make_maildir(source / "Maildir")
    before = tree_state(source)
    status, done, error = server.ctl("import", "maildir", MAIL, source / "Maildir", check=False)
    # A symbolic link is no message: named, and the rest taken.
    assert status == 1 and (done["messages"], done["failed"]) == (5, 1)
    assert "1500000000.link.host" in error
    assert tree_state(source) == before
    found = subjects(server)
    assert [f[1] for f in found] == [["\\Seen"], ["$Label", "\\Answered", "\\Flagged"], [], []]
    assert [f[2] for f in found[:3]] == [1_300_000_000, 1_300_000_001, 1_300_000_002]
    assert [f[0] for f in found] == [message(0), message(1), message(2), message(9)]
    assert subjects(server, "Archive/2026")[0][1] == ["\\Deleted", "\\Seen"]
    boxes, subscribed = snapshot(log_in(server), "/")
    assert ("Gr&APYA3w-e",) in boxes and ("Archive", "2026") in subscribed
    (source / "Maildir/cur/1500000000.link.host:2,").unlink()
    done = server.ctl("import", "maildir", MAIL, source / "Maildir")
    assert (done["messages"], done["present"]) == (0, 5)
    # Below another mailbox.
    done = server.ctl("import", "maildir", MAIL, source / "Maildir", "--mailbox", "Old")
    assert done["messages"] == 5
    boxes, _ = snapshot(log_in(server), "/")
    assert len(boxes[("Old",)][2]) == 4 and len(boxes[("Old", "Archive", "2026")][2]) == 1


def test_maildir_of_courier_and_nested(server, source):
    top = source / "Mail"
    for folder in ["Work/cur", "Work/new", "Work/2019/cur", "Work/2019/new"]:
        (top / folder).mkdir(parents=True)
    (top / "Work/cur/1500000000.a.host:2,S").write_bytes(message(1))
    (top / "Work/2019/new/1500000000.b.host").write_bytes(message(2))
    (top / "Work/courierimapkeywords").mkdir()
    (top / "Work/courierimapkeywords/:list").write_text("important\nlater\n\n1500000000.a.host:0 1\n")
    done = server.ctl("import", "maildir", MAIL, top)
    assert done["messages"] == 2
    assert subjects(server, "Work")[0][1] == ["\\Seen", "important", "later"]
    assert len(subjects(server, "Work/2019")) == 1
    status, _, error = server.ctl("import", "maildir", MAIL, source / "Mail" / "Work" / "courierimapkeywords", check=False)
    assert status == 1 and "no Maildir" in error


def test_what_is_made_belongs_to_the_owner_of_the_mail(server, source):
    make_maildir(source / "Maildir")
    server.ctl("import", "maildir", MAIL, source / "Maildir", check=False)
    home = server.home("alice")
    owner = home.stat().st_uid
    assert {p.lstat().st_uid for p in home.rglob("*")} == {owner}
    assert Path(home / "Maildir").exists()
