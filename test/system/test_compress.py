# SPDX-License-Identifier: MIT
"""Compressed mail: written and read by Roost and by Dovecot's zlib plugin, mixed with what is not."""

import email.policy
import gzip
import imaplib
import os
import poplib
import re
import shutil
import smtplib
import zlib

import pytest
from conftest import tls_context
from mail_helpers import make_message
from roost_instance import PASSWORD, wait_until
from test_adopt import ADDRESS, USER, dovecot, log_in, ok, servers  # noqa: F401

ALICE = "alice@example.test"


@pytest.fixture
def zipping(make_instance):
    return make_instance(settings={"mail_compress": "zlib"})


def connect(roost, address=ALICE):
    client = imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost))
    client.login(address, PASSWORD)
    return client


def crlf(message):
    return message.as_bytes(policy=email.policy.SMTP)


def files(maildir):
    return sorted((p for sub in ("new", "cur") for p in (maildir / sub).iterdir()),
                  key=lambda p: int(re.search(r"U=(\d+)", p.name)[1]))


def long_message(n, size=5000):
    return crlf(make_message(subject=f"long {n}", body="".join(f"line {i} of {n}\n" for i in range(size // 14))))


def test_what_is_written(zipping):
    client = connect(zipping)
    messages = [long_message(1), b"Subject: short\r\n\r\nx\r\n", long_message(2, 700000)]
    for message in messages:
        ok(client.append("INBOX", None, None, message))
    maildir = zipping.home("alice") / "Maildir"
    plain = []
    for path, message in zip(files(maildir), messages):
        data = path.read_bytes()
        if len(message) > 1024:
            assert data[:3] == b"\x1f\x8b\x08" and len(data) < len(message) / 2
            data = gzip.decompress(data)
        plain.append(data)
        assert data == message.replace(b"\r\n", b"\n")
        assert f",S={len(data)},W={len(message)}," in path.name
    assert ok(client.select("INBOX")) == [b"3"]
    for n, message in enumerate(messages, 1):
        assert ok(client.fetch(str(n), "(RFC822.SIZE BODY.PEEK[])"))[0][1] == message
        assert ok(client.fetch(str(n), "(BODY.PEEK[TEXT]<5.50>)"))[0][1] == message.split(b"\r\n\r\n", 1)[1][5:55]
    assert ok(client.search(None, "BODY", '"line 40000 of 2"')) == [b"3"]
    assert ok(client.search(None, "LARGER", "600000")) == [b"3"]
    ok(client.copy("1:3", "Archive"))
    assert [os.stat(p).st_nlink for p in files(maildir)] == [2, 2, 2]
    usage = {r["resource"]: r["usage"] for r in zipping.ctl("quota", "get", ALICE)["roots"]}
    assert usage["STORAGE"] == 2 * sum(map(len, plain))
    # The same after a rebuild, from the names alone.
    client.logout()
    zipping.stop()
    zipping.remove_index("alice")
    zipping.start()
    assert {r["resource"]: r["usage"] for r in zipping.ctl("quota", "get", ALICE)["roots"]} == usage
    client = connect(zipping)
    ok(client.select("Archive"))
    assert [ok(client.fetch(str(n), "(BODY.PEEK[])"))[0][1] for n in (1, 2, 3)] == messages


def test_pop3(zipping):
    client = connect(zipping)
    messages = [long_message(1), b"Subject: short\r\n\r\nx\r\n"]
    for message in messages:
        ok(client.append("INBOX", None, None, message))
    session = poplib.POP3("127.0.0.1", zipping.ports["pop3"])
    session.user(ALICE)
    session.pass_(PASSWORD)
    assert [int(line.split()[1]) for line in session.list()[1]] == [len(m) for m in messages]
    assert b"\r\n".join(session.retr(1)[1]) + b"\r\n" == messages[0]
    assert session.top(1, 1)[1][-1] == b"line 0 of 1"
    session.quit()


def test_a_message_that_is_a_gzip_file(make_instance):
    """Whoever stores one gets that one back, not what is in it."""
    roost = make_instance()
    client = connect(roost)
    message = b"\x1f\x8b\x08" + b"no mail at all, but nobody minds" * 10
    ok(client.append("INBOX", None, None, message))
    inner = gzip.compress(b"Subject: inside\r\n\r\n", mtime=0)
    while b"\n" in inner or b"\r" in inner or b"\0" in inner:
        inner = inner.replace(b"\n", b"n").replace(b"\r", b"r").replace(b"\0", b"0")
    ok(client.append("INBOX", None, None, inner))
    assert ok(client.select("INBOX")) == [b"2"]
    assert ok(client.fetch("1", "(BODY.PEEK[])"))[0][1] == message
    assert ok(client.fetch("2", "(BODY.PEEK[])"))[0][1] == inner


def bomb(size):
    """A gzip file of zeros that is small on disk, by members of 64 MB each."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    member = pack.compress(b"Subject: bomb\n\n") + b"".join(pack.compress(bytes(1 << 20)) for _ in range(64))
    return (member + pack.flush()) * (size // (64 << 20))


def test_bombs(make_instance, tmp_path):
    roost = make_instance(settings={"max_message_size": "1M"})
    client = connect(roost)
    ok(client.append("INBOX", None, None, b"Subject: before\r\n\r\nx\r\n"))
    new = roost.home("alice") / "Maildir" / "new"
    data = bomb(1 << 30)
    for name in ("1.bomb.host", "2.bomb.host,S=100,W=100"):
        (roost.home("alice") / "Maildir" / "tmp" / name).write_bytes(data)
        (roost.home("alice") / "Maildir" / "tmp" / name).rename(new / name)
    ok(client.append("INBOX", None, None, b"Subject: after\r\n\r\nx\r\n"))
    wait_until(lambda: ok(client.select("INBOX")) == [b"4"], what="all are there")
    # The harmless ones are read, the others shown as the bytes they are; nothing grows.
    heads = [ok(client.fetch(str(n), "(BODY.PEEK[]<0.15>)"))[0][1] for n in range(1, 5)]
    assert sorted(heads)[2:] == [b"Subject: after\r", b"Subject: before"]
    assert all(head.startswith(b"\x1f\x8b") for head in sorted(heads)[:2])
    assert ok(client.search(None, "TEXT", "Subject")) != [b""]
    ok(client.fetch("1:4", "(RFC822.SIZE ENVELOPE BODYSTRUCTURE)"))
    ok(client.store("1:4", "+FLAGS", "\\Deleted"))
    ok(client.expunge())
    for program in ("roost-index", "roost-imap"):
        for pid in roost.pids(program):
            peak = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])
            assert peak < 200_000, (program, peak)
    assert "toobig" in roost.log()


@pytest.fixture
def zlib_dovecot(monkeypatch, request):
    monkeypatch.setattr(servers, "DOVECOT_CONF", servers.DOVECOT_CONF +
                        "mail_plugins = zlib quota\nprotocol imap {{\n  mail_plugins = zlib quota imap_quota\n}}\n"
                        "plugin {{\n  zlib_save = gz\n  zlib_save_level = 6\n"
                        "  quota = maildir:User quota\n  quota_rule = *:storage=1G\n}}\n")
    return request.getfixturevalue("dovecot")


def test_with_dovecot(zlib_dovecot, make_instance):
    messages = [long_message(n) for n in range(1, 4)]
    client = log_in(zlib_dovecot)
    for message in messages[:2]:
        ok(client.append("INBOX", None, None, message))
    client.logout()
    theirs = zlib_dovecot.home(USER) / "Maildir"
    assert all(p.read_bytes()[:2] == b"\x1f\x8b" for sub in ("new", "cur") for p in (theirs / sub).iterdir())

    # Roost reads what Dovecot wrote,
    roost = make_instance(settings={"mail_compress": "zlib"}, users=(USER,))
    ours = roost.home(USER) / "Maildir"
    ours.parent.mkdir(parents=True)
    shutil.copytree(theirs, ours, symlinks=True)
    if os.getuid() == 0:
        owner = os.stat(roost.state / "mail")
        for path in [ours.parent.parent, ours.parent, ours, *ours.rglob("*")]:
            os.chown(path, owner.st_uid, owner.st_gid)
    client = connect(roost, ADDRESS)
    ok(client.select("INBOX"))
    assert [ok(client.fetch(str(n), "(BODY.PEEK[])"))[0][1] for n in (1, 2)] == messages[:2]
    assert [int(re.search(rb"SIZE (\d+)", a)[1]) for a in ok(client.fetch("1:2", "(RFC822.SIZE)"))] == [
        len(m) for m in messages[:2]]
    # counts as it does, adds its own and a copy,
    ok(client.append("INBOX", None, None, messages[2]))
    ok(client.copy("1:3", "INBOX"))
    usage = {r["resource"]: r["usage"] for r in roost.ctl("quota", "get", ADDRESS)["roots"]}
    assert usage == {"STORAGE": 2 * sum(len(m.replace(b"\r\n", b"\n")) for m in messages), "MESSAGE": 6}
    client.logout()
    roost.ctl("quota", "set", ADDRESS, "--storage", "1G")
    roost.ctl("export", "--format", "dovecot", ADDRESS)
    roost.stop()
    assert (ours / "maildirsize").read_text().splitlines()[0] == f"{1 << 30}S"

    # and Dovecot reads that.
    owner = os.stat(theirs)
    shutil.rmtree(theirs)
    shutil.copytree(ours, theirs, symlinks=True)
    for path in [theirs, *theirs.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    client = log_in(zlib_dovecot)
    # What it reads in our file, and what it counts without it.
    for maildirsize in (True, False):
        if not maildirsize:
            (theirs / "maildirsize").unlink()
        answer = ok(client.getquotaroot("INBOX"))[1][0].decode()
        assert f"STORAGE {-(-usage['STORAGE'] // 1024)} {1 << 20}" in answer
        client.logout()
        client = log_in(zlib_dovecot)
    assert ok(client.select("INBOX")) == [b"6"]
    for n in range(6):
        answer = ok(client.fetch(str(n + 1), "(RFC822.SIZE BODY.PEEK[])"))[0]
        assert answer[1] == messages[n % 3]
        assert int(re.search(rb"SIZE (\d+)", answer[0])[1]) == len(messages[n % 3])


def test_lmtp_to_several(zipping):
    """One file for all of them, with the size of the message in each name."""
    recipients = [ALICE, "bob@example.test"]
    client = smtplib.LMTP("127.0.0.1", zipping.ports["lmtp"])
    client.sendmail("sender@example.org", recipients, long_message(1, 400000))
    client.quit()
    found = [files(zipping.home(user) / "Maildir")[0] for user in ("alice", "bob")]
    assert len({os.stat(path).st_ino for path in found}) == 1
    plain = gzip.decompress(found[0].read_bytes())
    assert all(f",S={len(plain)}," in path.name for path in found)
    for user in recipients:
        box = connect(zipping, user)
        ok(box.select("INBOX"))
        assert ok(box.fetch("1", "(BODY.PEEK[])"))[0][1] == plain.replace(b"\n", b"\r\n")
