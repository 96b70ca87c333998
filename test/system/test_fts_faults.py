# SPDX-License-Identifier: MIT
"""What happens to the full-text index, or to roost-fts, is no matter of those who search."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from roost_instance import BUILD, wait_until
from test_fts import connect, search, wait_indexed

COUNT = 60
KILLS = int(os.environ.get("ROOST_FTS_KILLS", "15"))
BATCH_S = 0.04  # what a batch of few messages takes, with its commit


def body(n):
    return f"From: a@example.org\r\nSubject: number {n}\r\n\r\nunique{n} common word{n % 7} text\r\n".encode()


def fill(client, first, count, mailbox="INBOX"):
    for n in range(first, first + count):
        status, _ = client.append(mailbox, None, None, body(n))
        assert status == "OK"


@pytest.fixture
def reader(make_instance):
    """(instance, user, client) with COUNT messages that are indexed."""
    instance = make_instance(settings={"fts_delay": "0s"})
    user = instance.add_user("reader")
    client = connect(instance, user)
    fill(client, 0, COUNT)
    wait_indexed(instance, user, COUNT)
    yield instance, user, client
    client.logout()


def words_dir(instance):
    return instance.home("reader") / "index" / "fts" / "words"


def children(pid):
    with contextlib.suppress(OSError):
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def check(client, count):
    assert search(client, "BODY", "common") == [b"%d" % n for n in range(1, count + 1)]
    assert search(client, "BODY", "nique17 c") == [b"18"]
    assert search(client, "TEXT", "absent") == []


def is_damaged(path):
    with contextlib.suppress(FileNotFoundError):
        return b"\xa5" * 16 in path.read_bytes()
    return True


def test_hanging_and_killed_service(reader):
    instance, user, client = reader
    check(client, COUNT)
    [service] = instance.pids("roost-fts")
    stopped = [service, *children(service)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    check(client, COUNT)
    fill(client, COUNT, 1)
    check(client, COUNT + 1)
    for pid in stopped:
        os.kill(pid, signal.SIGKILL)
    check(client, COUNT + 1)
    wait_until(lambda: [p for p in instance.pids("roost-fts") if p != service], what="roost-fts is started again")
    wait_indexed(instance, user, COUNT + 1)


@pytest.mark.parametrize("name,at", [("lexicon-body", 5), ("iamglass", 0), ("postlist.glass", 0)])
def test_damage(reader, name, at):
    instance, user, client = reader
    other = connect(instance, user)
    path = words_dir(instance) / name
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(b"\xa5" * (path.stat().st_size - at))
    check(other, COUNT)
    fill(other, COUNT, 1)
    wait_until(lambda: not is_damaged(path), what="the index is made anew")
    wait_indexed(instance, user, COUNT + 1)
    check(connect(instance, user), COUNT + 1)


def test_removed_index(reader):
    instance, user, client = reader
    for path in words_dir(instance).iterdir():
        path.unlink()
    words_dir(instance).rmdir()
    check(client, COUNT)
    fill(client, COUNT, 1)
    wait_until(lambda: words_dir(instance).exists(), what="the index is made anew")
    wait_indexed(instance, user, COUNT + 1)
    check(client, COUNT + 1)


def working(service, rescan):
    """The processes that index, or none when that was over too soon to be seen."""
    while rescan.poll() is None:
        if pids := children(service):
            return pids
    return []


def test_killed_while_indexing(reader):
    """At any moment of a batch: of a commit as of what goes before it."""
    instance, user, client = reader
    [service] = instance.pids("roost-fts")
    rng = random.Random(5)
    count, kills = COUNT, 0
    while kills < KILLS:
        fill(client, count, 5)
        count += 5
        # Without that it would wait longer after each failure.
        rescan = subprocess.Popen([BUILD / "roostctl", "-c", instance.conf, "fts", "rescan", user],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for pid in working(service, rescan):
            time.sleep(rng.random() * BATCH_S)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                kills += 1
        rescan.wait(60)
        if rng.random() < 0.1:
            check(client, count)
    instance.ctl("fts", "rescan", user)
    wait_indexed(instance, user, count)
    check(client, count)


def test_moves_and_flags_index_nothing(reader):
    instance, user, client = reader
    before = instance.ctl("fts", "status", user)[0]
    client.create("Old")
    client.uid("COPY", "1:20", "Old")
    client.uid("MOVE", "1:20", "Old")
    client.uid("STORE", "21:40", "+FLAGS", "\\Seen")
    wait_indexed(instance, user, COUNT + 20)
    after = instance.ctl("fts", "status", user)[0]
    assert after["documents"] == before["documents"] == COUNT
    client.select("Old")
    assert len(search(client, "BODY", "common")) == 40
    assert len(search(client, "BODY", "unique17")) == 2


def test_symbolic_link_is_not_followed(reader):
    instance, user, client = reader
    secret = instance.dir / "secret"
    secret.write_text("Subject: x\n\nplatypus\n")
    secret.chmod(0o644)
    cur = instance.home("reader") / "Maildir" / "cur"
    (cur / "1700000000.M1P1.link:2,S").symlink_to(secret)
    status, _ = client.append("INBOX", None, None, b"Subject: y\r\n\r\nbehind it\r\n")
    assert status == "OK"
    wait_until(lambda: search(client, "BODY", "behind it"), what="the message behind it is found")
    assert search(client, "BODY", "platypus") == []
    raw = b"".join(p.read_bytes() for p in words_dir(instance).iterdir())
    assert b"PLATYPUS" not in raw
