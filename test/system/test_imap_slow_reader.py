# SPDX-License-Identifier: MIT
"""A client that asks for much and reads slowly, or goes away: its session stays small and ends."""

import contextlib
import os
import re
import socket
import time
from pathlib import Path

import pytest
from roost_instance import wait_until
from test_imap_session import Wire

# Each item is asked for many times, so that few messages make a long answer; SLOW_READER_MESSAGES=100000 for a large
# mailbox too.
MESSAGES = int(os.environ.get("SLOW_READER_MESSAGES", "1500"))
TEXT = b"From: a@example.test\nTo: b@example.test\nSubject: %d\n\n" + b"x" * 60 + b"\n"
MEMORY_KB = 48 * 1024


@pytest.fixture(scope="module")
def roost(request):
    from conftest import make_roost

    instance = make_roost("sqlite", request)
    yield instance
    instance.close()


@pytest.fixture(scope="module")
def full(roost):
    """A user with many messages, which another program delivered."""
    user = roost.add_user("full")
    Wire(roost, user).command("LOGOUT")
    cur = roost.home("full") / "Maildir" / "cur"
    for i in range(MESSAGES):
        (cur / f"1795{i:06}.M1P1Q{i}.elsewhere:2,S").write_bytes(TEXT % i)
    wire = Wire(roost, user)
    assert f"* {MESSAGES} EXISTS" in wire.command("SELECT INBOX")
    wire.command("LOGOUT")
    return user


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def sessions(roost):
    """The processes that serve a client: children of the one that they are made from."""
    makers, found = set(roost.pids("roost-imap")), []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and parent(entry.name) in makers:
                found.append(int(entry.name))
    return found


def peak_kb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError(pid)


def is_stuck(roost, seen):
    """Whether the session has written nothing for half a second of its own looks, and something before."""
    now = {pid: Path(f"/proc/{pid}/io").read_text().split()[3] for pid in sessions(roost)}
    seen["same"] = seen.get("same", 0) + 1 if now and now == seen.get("last") else 0
    seen["last"] = now
    time.sleep(0.1)
    return seen["same"] >= 5


def ask_and_wait(roost, wire, command):
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    wire.command("SELECT INBOX")
    wire.send(f"f {command}")
    seen = {}
    wait_until(lambda: is_stuck(roost, seen), what="a session that waits for its client")


ITEMS = [" ".join([item] * 60) for item in ("ENVELOPE", "BODY.PEEK[]", "INTERNALDATE")]


def ends(roost):
    return roost.log().count(" imap.logout ")


@pytest.mark.parametrize("items", ITEMS, ids=lambda items: items.split(" ")[0])
def test_memory_does_not_grow_with_the_answer(roost, full, items):
    wire = Wire(roost, full)
    ask_and_wait(roost, wire, f"FETCH 1:* ({items})")
    assert max(peak_kb(pid) for pid in sessions(roost)) < MEMORY_KB
    count = sum(b" FETCH (" in line for line in iter(wire.lines.readline, b"f OK FETCH completed\r\n"))
    assert count == MESSAGES
    assert max(peak_kb(pid) for pid in sessions(roost)) < MEMORY_KB
    wire.socket.close()


@pytest.mark.parametrize("items", ITEMS, ids=lambda items: items.split(" ")[0])
def test_a_client_that_hangs_up_ends_the_command(roost, full, items):
    wire = Wire(roost, full)
    ask_and_wait(roost, wire, f"FETCH 1:* ({items})")
    before = ends(roost)
    wire.lines.close()
    wire.socket.close()
    wait_until(lambda: ends(roost) == before + 1, what="the end of the session")


def test_many_messages_are_changed_in_pieces(roost, full):
    one, two = Wire(roost, full), Wire(roost, full)
    for wire in (one, two):
        wire.command("SELECT INBOX (CONDSTORE)")
    highest = int(re.search(r"HIGHESTMODSEQ (\d+)", one.command("STATUS INBOX (HIGHESTMODSEQ)")[0]).group(1))
    one.command("STORE 1,1200 +FLAGS.SILENT (\\Answered)")
    told = two.command(f"STORE 1:* (UNCHANGEDSINCE {highest}) +FLAGS.SILENT (\\Flagged)")
    assert re.match(r"t OK \[MODIFIED 1,1200\]", told[-1])
    seen = [line for line in told if re.match(r"\* \d+ FETCH \(UID \d+ MODSEQ \(\d+\)\)$", line)]
    assert len(seen) == MESSAGES - 2
    # The other is told of all of them, each once.
    changed = [line for line in one.command("NOOP") if "FLAGS (\\Flagged" in line]
    assert len(changed) == MESSAGES - 2
    assert one.command("NOOP") == ["t OK Noop completed"]
    found = one.command("SEARCH UNFLAGGED")[0]
    assert found == "* SEARCH 1 1200"
    for wire in (one, two):
        wire.socket.close()


def test_batches_of_uids(roost, full):
    def ranges(command):
        answer = wire.command(command)
        assert answer[-1].startswith("t OK"), answer
        text = re.fullmatch(r'\* UIDBATCHES \(TAG "t"\)(?: ([0-9:,]+))?', answer[0]).group(1)
        return [tuple(int(n) for n in part.split(":")) for part in text.split(",")] if text else []

    wire = Wire(roost, full)
    assert wire.command("UIDBATCHES 500")[-1].startswith("t BAD")
    wire.command("SELECT INBOX")
    newest = int(wire.command("FETCH * UID")[0].split(" ")[4].rstrip(")"))
    batches = ranges("UIDBATCHES 600")
    assert batches[0][0] == newest and batches[-1][1] == 1
    assert all(low == above - 1 for (_, above), (low, _) in zip(batches, batches[1:]))
    counts = [len(wire.command(f"UID FETCH {low}:{high} FLAGS")) - 1 for high, low in batches]
    assert counts[:-1] == [600] * (MESSAGES // 600) and sum(counts) == MESSAGES
    assert ranges("UIDBATCHES 600 2:2") == batches[1:2]
    assert ranges("UIDBATCHES 600 2:90") == batches[1:]
    assert ranges("UIDBATCHES 600 900:901") == []
    assert ranges(f"UIDBATCHES {MESSAGES}") == [(newest, 1)]
    assert wire.command("UIDBATCHES 499")[-1].startswith("t NO [TOOFEW]")
    assert wire.command("UIDBATCHES 500 3:2")[-1].startswith("t BAD [CLIENTBUG] Position ")
    # The saved result of a search stays what it was (RFC 10022 section 3.4).
    wire.command("UID SEARCH RETURN (SAVE) UID *")
    ranges("UIDBATCHES 500")
    assert len(wire.command("UID FETCH $ UID")) == 2
    assert "UIDBATCHES" in wire.command("CAPABILITY")[0].split()
    for wrong in ("", " 0", " 500 2", " 500 3:2", " 500 0:1", " 500 1:*", " abc"):
        assert wire.command(f"UIDBATCHES{wrong}")[-1].startswith("t BAD"), wrong
    wire.command("CREATE Empty")
    wire.command("SELECT Empty")
    assert ranges("UIDBATCHES 500") == []
