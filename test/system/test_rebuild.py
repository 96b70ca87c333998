# SPDX-License-Identifier: MIT
"""The index is thrown away, at rest and under open sessions: what a client sees stays what it was."""

import errno
import os
import re
import shutil
import signal
import time

import pytest
from mail_helpers import deliver
from roost_instance import wait_until
from test_imap_session import Wire

MESSAGE = b"From: a@example.test\r\nMessage-ID: <%d@example.test>\r\nSubject: number %d\r\n\r\nbody %d\r\n"
KEYWORDS = [f"Word{n:02}" for n in range(30)]


def literal(wire, command, data):
    wire.send(b"t %b {%d+}\r\n%b\r\n" % (command.encode(), len(data), data))
    answers = wire.until("t ")
    assert answers[-1].startswith("t OK"), answers
    return answers


def ok(wire, text):
    answers = wire.command(text)
    assert answers[-1].startswith("t OK"), answers
    assert not any(line.startswith("* BYE") for line in answers), answers
    return answers


def fill(wire):
    """Messages with everything a rebuild must give back."""
    ok(wire, "CREATE Work/Deep")
    ok(wire, "CREATE Other")
    ok(wire, "SUBSCRIBE Work/Deep")
    ok(wire, "SUBSCRIBE Gone")
    for number in range(1, 7):
        literal(wire, f'APPEND INBOX (\\Seen) "0{number}-Jan-2020 10:00:00 +0000"', MESSAGE % ((number,) * 3))
    literal(wire, "APPEND Work/Deep (\\Draft)", MESSAGE % (7, 7, 7))
    ok(wire, "SELECT INBOX")
    for at in range(0, len(KEYWORDS), 10):
        ok(wire, f"STORE 1 +FLAGS.SILENT ({' '.join(KEYWORDS[at:at + 10])})")
    ok(wire, f"STORE 2 +FLAGS.SILENT (\\Flagged {KEYWORDS[29]})")
    ok(wire, "STORE 3 +FLAGS.SILENT (\\Deleted)")
    ok(wire, "EXPUNGE")
    ok(wire, "STORE 3 -FLAGS.SILENT (\\Seen)")
    # UIDs that were given and are gone must not come back.
    ok(wire, "STORE 5 +FLAGS.SILENT (\\Deleted)")
    ok(wire, "EXPUNGE")


ITEMS = "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE"


def items(wire):
    said = " ".join(ok(wire, "CAPABILITY"))
    more = " SAVEDATE" if "SAVEDATE" in said else ""
    return ITEMS + more + (" EMAILID THREADID" if "OBJECTID" in said else ""), "OBJECTID" in said


def flags_sorted(line):
    """The order of flags, and \\Recent, are not part of it."""
    def put(match):
        return "FLAGS (" + " ".join(sorted(w for w in match[1].split() if w != "\\Recent")) + ")"

    return re.sub(r"FLAGS \(([^)]*)\)", put, line)


def state(wire):
    """All that must be the same afterwards, and the mod-sequences."""
    what, has_ids = items(wire)
    seen, modseqs = [], {}
    for line in ok(wire, 'LIST "" "*"')[:-1] + ok(wire, 'LSUB "" "*"')[:-1]:
        seen.append(re.sub(r"\\(No|Un)?[Mm]arked ?", "", line))
    for name in ("INBOX", "Work/Deep", "Other"):
        status = ok(wire, f"STATUS {name} (MESSAGES UIDVALIDITY UNSEEN{' MAILBOXID' if has_ids else ''})")
        seen.append(status[0])
        ok(wire, f"EXAMINE {name}")
        seen += [flags_sorted(line) for line in ok(wire, f"FETCH 1:* ({what})")[:-1] if "FETCH" in line] \
            if " MESSAGES 0" not in status[0] and "(MESSAGES 0" not in status[0] else []
        high = ok(wire, f"STATUS {name} (HIGHESTMODSEQ UIDNEXT)")[0]
        modseqs[name] = int(re.search(r"HIGHESTMODSEQ (\d+)", high)[1])
        ok(wire, "CLOSE")
    return seen, modseqs


def index_of(roost, user):
    return roost.home(user.split("@")[0]) / "index"


def rebuilds(roost, user):
    home = str(roost.home(user.split("@")[0]))
    return sum(1 for line in roost.log().splitlines() if "index.rebuild ok" in line and home in line)


def names_are_settled(roost, user):
    """Of the four messages one is flagged and one unread, and for a second no name has changed."""
    maildir = roost.home(user.split("@")[0]) / "Maildir"

    def names():
        return sorted(path.name for sub in ("new", "cur") for path in (maildir / sub).iterdir())

    before = names()
    flags = [name.rpartition(":2,")[2] for name in before]
    if sum("F" in text for text in flags) != 1 or sum("S" not in text for text in flags) != 1:
        return False
    time.sleep(1)
    return names() == before


def remove(roost, user, how):
    index = index_of(roost, user)
    if how == "rm -r":
        try:
            shutil.rmtree(index)
        except OSError as e:
            # A new one is there already.
            if e.errno != errno.ENOTEMPTY:
                raise
    elif how == "mv":
        index.rename(index.with_name("index.away"))
    elif how == "files":
        for name in ("data.mdb", "lock.mdb"):
            (index / name).unlink()
    elif how == "data only":
        (index / "data.mdb").unlink()
    elif how == "locks only":
        (index / "lock.mdb").unlink()
    elif how == "another":
        shutil.copy(index / "data.mdb", index / "other")
        (index / "other").rename(index / "data.mdb")


WAYS = ["rm -r", "mv", "files", "data only", "locks only", "another"]


@pytest.fixture(scope="module")
def one(request):
    from conftest import make_roost

    instance = make_roost("sqlite", request)
    yield instance
    instance.close()


@pytest.fixture
def fresh(one, request):
    fresh.number = getattr(fresh, "number", 0) + 1
    return one.add_user(f"re{fresh.number}")


def test_with_nobody_connected(one, fresh):
    wire = Wire(one, fresh)
    fill(wire)
    before, modseqs = state(wire)
    wire.send("z LOGOUT")
    wire.until("z OK")
    wire.socket.close()
    remove(one, fresh, "rm -r")
    wire = Wire(one, fresh)
    after, now = state(wire)
    assert after == before
    assert all(now[name] > modseqs[name] for name in modseqs)
    # No UID of a message that is gone comes back.
    ok(wire, "SELECT INBOX")
    answer = literal(wire, "APPEND INBOX", MESSAGE % (99, 99, 99))[-1]
    assert int(re.search(r"APPENDUID \d+ (\d+)", answer)[1]) > 6


@pytest.mark.parametrize("how", WAYS)
def test_under_open_sessions(one, fresh, how):
    wire, idle, other = Wire(one, fresh), Wire(one, fresh), Wire(one, fresh)
    fill(wire)
    before, modseqs = state(wire)
    ok(idle, "SELECT INBOX")
    ok(other, "SELECT Work/Deep")
    idle.send("i IDLE")
    idle.until("+ ")
    # Flags that no file name has yet.
    ok(wire, "SELECT INBOX")
    ok(wire, "STORE 4 +FLAGS.SILENT (\\Answered)")
    idle.until("* 4 FETCH")
    remove(one, fresh, how)
    wait_until(lambda: rebuilds(one, fresh), 60, "the index is made anew")
    # Every session goes on, and news reach it through the new index.
    ok(wire, "STORE 3 +FLAGS.SILENT (\\Answered)")
    seen = idle.until("* 3 FETCH (FLAGS (\\Answered")
    assert not any("BYE" in line or "EXPUNGE" in line for line in seen)
    ok(other, "STORE 1 +FLAGS (\\Seen)")
    ok(other, "STORE 1 -FLAGS (\\Seen)")
    assert re.search(r"APPENDUID \d+ \d+", literal(other, "APPEND Work/Deep", MESSAGE % (8, 8, 8))[-1])
    ok(other, "STORE 2 +FLAGS.SILENT (\\Deleted)")
    ok(other, "EXPUNGE")
    ok(wire, "STORE 3:4 -FLAGS.SILENT (\\Answered)")
    idle.send("DONE")
    assert idle.until("i ")[-1] == "i OK Idle completed"
    ok(wire, "UNSELECT") if "UNSELECT" in " ".join(ok(wire, "CAPABILITY")) else ok(wire, "CLOSE")
    after, now = state(wire)
    assert after == before
    assert all(now[name] > modseqs[name] for name in modseqs)
    assert rebuilds(one, fresh) <= 3


def test_many_times_while_mail_flows(one, fresh, lmtp_to):
    """Deliveries, flags and a watcher, with the index removed again and again."""
    wire, idle = Wire(one, fresh), Wire(one, fresh)
    ok(wire, "SELECT INBOX")
    ok(idle, "SELECT INBOX")
    idle.send("i IDLE")
    idle.until("+ ")
    validity = ok(wire, "STATUS INBOX (UIDVALIDITY)")[0]
    for number in range(1, 13):
        deliver(lambda: lmtp_to(one), fresh)
        idle.until(f"* {number} EXISTS")
        ok(wire, "NOOP")
        ok(wire, f"STORE {number} +FLAGS (\\Flagged)")
        if number % 2:
            shutil.rmtree(index_of(one, fresh), ignore_errors=True)
    assert ok(wire, "STATUS INBOX (UIDVALIDITY)")[0] == validity
    wait_until(lambda: (index_of(one, fresh) / "data.mdb").exists(), what="the index is there")
    ok(wire, "NOOP")
    found = dict(re.search(r"UID (\d+) FLAGS \(([^)]*)", line).groups()
                 for line in ok(wire, "UID FETCH 1:* (UID FLAGS)") if " FETCH (UID" in line)
    assert len(found) == 12
    assert all("\\Flagged" in flags for flags in found.values()), found


@pytest.fixture
def lmtp_to():
    import smtplib

    return lambda roost: smtplib.LMTP("127.0.0.1", roost.ports["lmtp"])


def test_process_that_serves_again(one, fresh):
    """A session process that is kept for the user's next client, with the index gone in between."""
    first = Wire(one, fresh)
    fill(first)
    before, _ = state(first)

    def pid():
        return wait_until(lambda: [s["pid"] for s in one.ctl("who") if s["user"] == fresh], what="who shows it")[0]

    for how in ("rm -r", "files"):
        was = pid()
        first.send("z LOGOUT")
        first.until("z OK")
        first.socket.close()
        wait_until(lambda: not [s for s in one.ctl("who") if s["user"] == fresh], what="the session is gone")
        remove(one, fresh, how)
        first = Wire(one, fresh)
        after, _ = state(first)
        assert after == before
        # On a slow machine the process may have waited in vain.
        print("the same process" if pid() == was else "another process")


def test_removed_while_the_service_is_down(one, fresh):
    wire, idle = Wire(one, fresh), Wire(one, fresh)
    fill(wire)
    before, modseqs = state(wire)
    ok(idle, "SELECT INBOX")
    ok(wire, "SELECT INBOX")
    # Without the service nothing else has the last flags.
    wait_until(lambda: names_are_settled(one, fresh), what="the names of the files have the last flags")
    parent = [p for p in one.pids("roost-index")]
    for p in parent:
        os.kill(p, signal.SIGSTOP)
    remove(one, fresh, "rm -r")
    for p in parent:
        os.kill(p, signal.SIGKILL)
    wait_until(lambda: set(one.pids("roost-index")) - set(parent), what="roost-index is back")

    def works(command):
        return wire.command(command)[-1].startswith("t OK")

    wait_until(lambda: works("STORE 1 +FLAGS.SILENT (\\Answered)"), 60, "STORE works again")
    ok(wire, "STORE 1 -FLAGS.SILENT (\\Answered)")
    assert not any("BYE" in line for line in ok(idle, "NOOP"))
    ok(wire, "CLOSE")
    after, now = state(wire)
    assert after == before
    assert all(now[name] > modseqs[name] for name in modseqs)
