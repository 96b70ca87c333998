# SPDX-License-Identifier: MIT
"""Power cuts that reorder what was not synced, and file operations that fail.

Roost runs under a library that records what its processes do to files below its mail and its queue. From
the record the states are made that a power cut can leave at some moment, Roost's own recovery is run
on each, and the result is held against what clients had been told until then. POWERCUT_STATES says how
many states, POWERCUT_SEED which.
"""

import contextlib
import errno
import imaplib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from roost_instance import BUILD, PASSWORD, TOP, Roost, wait_until

sys.path.insert(0, str(TOP / "test" / "powercut"))
import disk  # noqa: E402
from drive import Failed, Recorder, Sink, World  # noqa: E402
from judge import Judge, Promises, Recovery, compare  # noqa: E402

FAULTS = int(os.environ.get("POWERCUT_FAULTS", "150"))
STATES = int(os.environ.get("POWERCUT_STATES", "1500"))
SEED = os.environ.get("POWERCUT_SEED", "1")
KEEP = Path(tempfile.gettempdir()) / "roost-powercut-failed"
LIBRARY = BUILD / "test" / "powercut" / "record.so"


class RecordedRoost(Roost):
    """An instance whose processes are recorded, with its mail and queue in a directory of their own."""

    def __init__(self, settings):
        subprocess.run(["make", "-s", "-C", BUILD, "test/powercut/record.so"], check=True, stdout=subprocess.DEVNULL)
        memory = Path("/dev/shm")
        self.work = Path(tempfile.mkdtemp(prefix="roost-powercut-", dir=memory if memory.is_dir() else None))
        self.work.chmod(0o755)
        self.data = self.work / "data"
        self.data.mkdir()
        self.log_file = self.work / "operations"
        self.disk = disk.Disk(self.data)
        self.recorder = Recorder(LIBRARY, self.log_file, self.data)
        try:
            self.start_with(settings)
        except BaseException:
            shutil.rmtree(self.work)
            raise

    def start_with(self, settings):
        super().__init__(settings={
            "mail_dir": self.data / "mail", "queue_dir": self.data / "queue", "log_level": "info",
            "imap_max_errors": 1000, "max_connections_per_ip": 1000, "minimal_backoff_time": "1s",
            "maximal_backoff_time": "1s", **settings})

    def start(self):
        inherited = dict(os.environ)
        os.environ.update(self.recorder.environment)
        try:
            super().start()
        finally:
            os.environ.clear()
            os.environ.update(inherited)

    def close(self):
        try:
            super().close()
        finally:
            shutil.rmtree(self.work, ignore_errors=True)


@pytest.fixture
def sink_and_roost():
    roost = sink = None
    try:
        roost = RecordedRoost({})
        sink = Sink(roost.recorder)
        roost.settings["relayhost"] = f"[127.0.0.1]:{sink.port}"
        roost.write_conf()
        roost.stop()
        roost.start()
        yield sink, roost
    finally:
        if roost:
            roost.close()
        if sink:
            sink.close()


# ---- what happens before the power goes ----


def first_part(w):
    """A user's first messages, and everything that can be done with them."""
    for users in (["alice"], ["alice", "bob"], ["alice"]):
        w.deliver(users)
    w.look("alice", "INBOX")
    w.create("alice", "Work")
    w.create("alice", "Work/Deep")
    for n in range(3):
        w.append("alice", "Work", "(\\Seen $Forwarded)" if n == 1 else "", date=1600000000 + n * 86400, size=9000)
    w.deliver(["alice", "bob"], size=40000)
    inbox = w.look("alice", "INBOX")
    w.store("alice", [1, 2], "(\\Flagged Label)")
    w.copy("alice", "INBOX", inbox, "Work")
    w.copy("alice", "INBOX", {uid: t for uid, t in inbox.items() if uid < 3}, "Work/Deep", move=True)
    w.look("alice", "Work")
    w.expunge("alice", "Work", [2, 3])
    w.look("alice", "Work")
    w.rename("alice", "Work", "Projects")
    w.look("alice", "Projects/Deep")
    w.create("alice", "Short")
    w.append("alice", "Short")
    w.look("alice", "Short")
    w.look("bob", "INBOX")


def second_part(w):
    """After an orderly stop: the index was all on disk, and is not to be believed any longer."""
    w.deliver(["alice", "bob"])
    w.delete("alice", "Short")
    w.create("alice", "Short")
    w.append("alice", "Short")
    w.look("alice", "Short")
    seen = w.look("alice", "Projects")
    w.store("alice", list(seen), "(\\Seen)")
    w.expunge("alice", "Projects", list(seen)[:2])
    w.look("alice", "INBOX")
    w.ok(w.imap("alice").subscribe("Projects"))
    in_parallel(w)
    seen = w.look("bob", "INBOX")
    w.expunge("bob", "INBOX", list(seen)[:2])


def in_parallel(w):
    """Several clients, so that answers share a sync."""
    def run(user):
        for _ in range(6):
            w.deliver([user, "alice"] if user == "bob" else [user])

    threads = [threading.Thread(target=run, args=(user,)) for user in ("alice", "bob", "alice", "carol")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def third_part(w):
    """UIDs go on from the floor of roost-uidvalidity."""
    for box in ("INBOX", "Projects", "Projects/Deep"):
        w.append("alice", box)
        seen = w.look("alice", box)
    w.copy("alice", "INBOX", dict(list(w.look("alice", "INBOX").items())[:3]), "Short")
    w.copy("alice", "Projects/Deep", seen, "INBOX", move=True)
    w.look("alice", "INBOX")
    w.deliver(["bob", "carol"])
    w.look("bob", "INBOX")
    w.look("carol", "INBOX")


def queue_part(w, roost):
    w.submit("alice@example.test", ["one@other.test"])
    w.submit("alice@example.test", ["one@other.test", "later-two@other.test", "later-three@third.test"])
    w.submit("bob@example.test", ["never-four@other.test", "five@other.test"])
    w.submit("bob@example.test", ["later-six@other.test", "never-seven@other.test", "alice@example.test"])
    wait_until(lambda: roost.ctl("queue", "list") == [], 30, "the queue is empty")


def run_all(roost, w):
    first_part(w)
    w.log_out()
    roost.stop()
    roost.start()
    second_part(w)
    queue_part(w, roost)
    w.log_out()
    roost.stop()
    for user in ("alice", "bob", "carol"):
        subprocess.run(["rm", "-r", roost.data / "mail" / "example.test" / user / "index"], check=True,
                       env={**os.environ, **roost.recorder.environment})
    roost.start()
    third_part(w)
    w.log_out()
    roost.stop()


# ---- mail that another program brings ----

FLOOD = 70  # more than are renamed at once
BRING = """
import os, sys
folder, uidvalidity = sys.argv[1], int(sys.argv[2])
for name in ("", "/cur", "/new", "/tmp"):
    if not os.path.isdir(folder + name):
        os.mkdir(folder + name)
lines = []
for text in sys.stdin.read().split("\\0"):
    token = text.split("X-Token: ")[1].split()[0]
    name = f"{1600000000 + int(token[1:])}.{token}.other"
    path = f"{folder}/cur/{name}:2,S" if int(token[1:]) % 2 else f"{folder}/new/{name}"
    with open(folder + "/tmp/" + name, "w") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.rename(folder + "/tmp/" + name, path)
    lines.append(f"{1000 + int(token[1:])} :{name}\\n")
if uidvalidity:
    with open(folder + "/dovecot-uidlist", "w") as f:
        f.write(f"3 V{uidvalidity} N5000\\n" + "".join(lines))
        f.flush()
        os.fsync(f.fileno())
for name in ("/cur", "/new", "", "/.."):
    fd = os.open(folder + name, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
for root, dirs, files in os.walk(folder):
    for name in ["", *files]:
        os.chown(os.path.join(root, name), *map(int, sys.argv[3:5]))
"""


def bring(roost, w, box, uidvalidity=0):
    """Many files at once, synced, with Dovecot's list if there is a UIDVALIDITY."""
    is_new = ("carol", box) not in w.boxes
    if is_new:  # a session that goes on would not look for folders
        w.log_out()
        roost.stop()
    maildir = roost.data / "mail" / "example.test" / "carol" / "Maildir"
    tokens = [w.message() for _ in range(FLOOD)]
    if is_new:
        w.boxes["carol", box] = w.new_key("carol")
        w.recorder.mark("boxmay", user="carol", k=w.boxes["carol", box], names=[box], gone=True)
    numbers = [w.want("carol", box, token) for token in tokens]
    owner = maildir.stat()
    subprocess.run([sys.executable, "-c", BRING, maildir / f".{box}", str(uidvalidity), str(owner.st_uid),
                    str(owner.st_gid)], check=True, env={**os.environ, **roost.recorder.environment},
                   input="\0".join(w.texts[t].decode().replace("\r\n", "\n") for t in tokens).encode())
    for number in numbers:
        w.recorder.mark("have", i=number)
    w.recorder.mark("boxis", user="carol", k=w.boxes["carol", box], names=[box])
    if is_new:
        roost.start()


def lists(roost):
    return list((roost.data / "mail" / "example.test" / "carol" / "Maildir").glob("**/roost-uidlist"))


def run_foreign(roost, w):
    w.look("carol", "INBOX")
    bring(roost, w, "Old")
    seen = w.look("carol", "Old")
    w.store("carol", list(seen)[:3], "(\\Flagged Label)")
    w.expunge("carol", "Old", list(seen)[3:6])
    bring(roost, w, "Dove", 1500000000)
    assert min(w.look("carol", "Dove")) >= 1000
    bring(roost, w, "Old")
    seen = w.look("carol", "Old")
    w.copy("carol", "Old", dict(list(seen.items())[:2]), "Dove")
    w.copy("carol", "Old", dict(list(seen.items())[2:4]), "Dove", move=True)
    w.look("carol", "Dove")
    wait_until(lambda: not lists(roost), 30, "all names have their UIDs")
    w.append("carol", "Old")
    w.look("carol", "Old")
    bring(roost, w, "Late")
    w.look("carol", "Late")
    w.log_out()
    roost.stop()


# ---- the states ----


def points(records, states):
    """Moments at which the power goes: behind each answer, and anywhere."""
    answers = [n + 1 for n, r in enumerate(records) if r.call == disk.MARK]
    changes = [n + 1 for n, r in enumerate(records) if r.call not in (disk.MARK, disk.WRITE)]
    choice = disk.chooser(SEED, "points")
    half = states // 2
    chosen = [choice.choice(answers) for _ in range(half)] + [choice.choice(changes) for _ in range(states - half)]
    return sorted(chosen)


def certain_queue_file(recorded, queue_id):
    for node in set(recorded.nodes.values()):
        if not node.is_dir and node.label.rsplit("/", 1)[-1] == queue_id:
            return node.durable
    return None


def try_state(recorded, promises, recovery, work, kept, choice, keeps):
    state = work / "state"
    indexes = [f"/mail/example.test/{user}/index" for user in ("alice", "bob", "carol")]
    recorded.build(str(state), kept, choice, skip=indexes if choice.random() < 0.25 else ())
    judge = Judge(promises, recovery, state, keeps)
    try:
        judge.queue(lambda queue_id: certain_queue_file(recorded, queue_id))
        for user in ("alice", "bob", "carol"):
            judge.mail(user)
    except Exception as e:
        judge.fault(f"the judge: {e!r}")
    return judge.faults


def keep_failed(recorded, work, number, kept, seed_words, faults):
    """The state once more, before recovery, with what was lost."""
    KEEP.mkdir(exist_ok=True)
    target = KEEP / f"state-{number}"
    shutil.rmtree(target, ignore_errors=True)
    choice = disk.chooser(*seed_words)
    kept, how = recorded.choose(choice)
    recorded.build(str(target), kept, choice)
    (target / "what-happened").write_text("\n".join([f"changes: {how}", *faults, *recorded.describe(kept)]) + "\n")


def cut_the_power(roost, w, states, keeps=0):
    """After what was recorded. keeps: seconds that expunged messages are kept."""
    assert roost.recorder.lib.powercut_lost() == 0
    records = disk.read_log(roost.log_file)
    recovery = Recovery(BUILD / "test" / "powercut" / "recover")
    recorded, promises = roost.disk, Promises(w.texts)
    failed, at, started = [], 0, time.monotonic()
    for number, point in enumerate(points(records, states)):
        for record in records[at:point]:
            if record.call == disk.MARK:
                promises.apply(json.loads(record.data))
            else:
                recorded.apply(record)
        at = point
        words = (SEED, number)
        choice = disk.chooser(*words)
        kept, how = recorded.choose(choice)
        faults = try_state(recorded, promises, recovery, roost.work, kept, choice, keeps)
        if faults:
            failed.append((number, point, how, faults))
            if len(failed) <= 5:
                keep_failed(recorded, roost.work, number, kept, words, faults)
        shutil.rmtree(roost.work / "state")
    recovery.close()
    print(f"\nseed {SEED}: {len(records)} operations, {len(w.instances)} messages, {states} states in "
          f"{time.monotonic() - started:.0f} s, {len(failed)} failed")
    assert not failed, "\n".join(
        [f"{len(failed)} of {states} states (seed {SEED}); the first are in {KEEP}"]
        + [f"state {n}, after operation {p}, changes kept: {h}:\n  " + "\n  ".join(f[:6])
           for n, p, h, f in failed[:12]])


def test_power_cuts(sink_and_roost):
    sink, roost = sink_and_roost
    roost.add_user("carol")
    w = World(roost.recorder, roost, PASSWORD)
    run_all(roost, w)
    cut_the_power(roost, w, STATES)


def test_power_cuts_while_a_folder_is_taken_over(sink_and_roost):
    """Its UIDs stand in a list first, and in the names of the files later."""
    sink, roost = sink_and_roost
    roost.add_user("carol")
    w = World(roost.recorder, roost, PASSWORD)
    run_foreign(roost, w)
    cut_the_power(roost, w, STATES // 3)


def run_wholes(w):
    """What is several file operations and one thing to a client."""
    for n in range(3):
        w.append_many("alice", "INBOX", 5 + n)
    inbox = w.look("alice", "INBOX")
    w.create("alice", "Tree")
    for name in ("Tree/One", "Tree/Two", "Tree/Two/Deep"):
        w.create("alice", name)
    w.copy("alice", "INBOX", inbox, "Tree")
    w.store("alice", list(inbox)[:6], "(\\Flagged Label)")
    w.copy("alice", "INBOX", dict(list(inbox.items())[:8]), "Tree/One", move=True)
    for uid in list(inbox)[8:11]:
        w.append_many("alice", "INBOX", 1, replaces=uid)
    w.rename("alice", "Tree", "Wood")
    seen = w.look("alice", "Wood")
    w.copy("alice", "Wood", dict(list(seen.items())[:6]), "Wood/Two/Deep", move=True)
    w.look("alice", "Wood/Two/Deep")
    w.rename("alice", "Wood", "Tree")
    w.append_many("alice", "Tree/One", 9)
    w.look("alice", "Tree/One")
    w.log_out()


def test_power_cuts_in_what_is_one_change(sink_and_roost):
    _, roost = sink_and_roost
    w = World(roost.recorder, roost, PASSWORD)
    run_wholes(w)
    roost.stop()
    cut_the_power(roost, w, STATES // 3)


KEEPS_S = 86400


def run_keeping(roost, w):
    for n in range(3):
        w.append_many("alice", "INBOX", 4)
        inbox = w.look("alice", "INBOX")
        w.store("alice", list(inbox)[:2], "(Label \\Answered)")
        w.expunge("alice", "INBOX", list(inbox)[:2])
        w.create("alice", "Gone")
        w.copy("alice", "INBOX", dict(list(inbox.items())[2:]), "Gone", move=n == 1)
        gone = w.look("alice", "Gone")
        w.expunge("alice", "Gone", list(gone)[:1])
        w.delete("alice", "Gone")
        wait_until(lambda: not list((roost.data / "mail").glob("*/*/Maildir/..roost-deleted-*")), 30,
                   "what was deleted is put away")
    w.look("alice", "INBOX")
    w.log_out()
    roost.stop()


def test_power_cuts_when_expunged_messages_are_kept(sink_and_roost):
    _, roost = sink_and_roost
    roost.settings["expunge_keep"] = f"{KEEPS_S}s"
    roost.write_conf()
    roost.stop()
    roost.start()
    w = World(roost.recorder, roost, PASSWORD)
    run_keeping(roost, w)
    cut_the_power(roost, w, STATES // 3, KEEPS_S)


# ---- file operations that fail ----

MAKING = [disk.CREATE, disk.WRITE, disk.SYNC, disk.TRUNCATE, disk.RENAME, disk.LINK, disk.MKDIR]
KINDS = {
    "ENOSPC": MAKING,
    "EDQUOT": MAKING,
    "EIO": [*MAKING, disk.OPEN, disk.TIMES, disk.UNLINK],
    "EMFILE": [disk.OPEN, disk.CREATE, disk.DUP],
    "ENOENT": [disk.OPEN, disk.CREATE, disk.RENAME, disk.LINK, disk.UNLINK],
}


class Session:
    """What a client does while one operation fails: each command works, or fails in a way that is said."""

    def __init__(self, w, number):
        self.w = w
        self.number = number
        self.answers = []

    def attempt(self, command, *args, **options):
        try:
            answers = command(*args, **options)
        except Failed as e:
            answers = [e]
        except imaplib.IMAP4.abort as e:
            self.w.log_out()
            answers = [Failed(f"closed {e}")]
        except imaplib.IMAP4.error as e:
            self.w.log_out()
            answers = [Failed(f"NO {e}")]
        failures = [a.text for a in (answers if isinstance(answers, list) else []) if isinstance(a, Failed)]
        self.answers += [f"{command.__name__}: {text}" for text in failures]
        return not failures

    def run(self):
        w, first, second = self.w, f"F{self.number}", f"G{self.number}"
        self.attempt(w.deliver, ["alice", "bob"])
        self.attempt(w.append, "alice", "INBOX", "(\\Seen $Label1)", 1600000000)
        self.attempt(w.submit, "alice@example.test", [f"u{self.number}@other.test"])
        inbox = {}
        if not self.attempt(lambda: inbox.update(w.look("alice", "INBOX"))):
            return
        uids = dict([(u, t) for u, t in inbox.items() if t][-2:])
        if uids and self.attempt(w.create, "alice", first):
            self.attempt(w.copy, "alice", "INBOX", uids, first)
            if self.attempt(w.rename, "alice", first, second):
                there = {}
                self.attempt(lambda: there.update(w.look("alice", second)))
                if there:
                    self.attempt(w.store, "alice", list(there), "(\\Flagged $Label2)")
                    self.attempt(w.copy, "alice", second, there, "INBOX", move=True)
                self.attempt(w.select, "alice", "INBOX")
                self.attempt(w.delete, "alice", second)
        if self.attempt(w.select, "alice", "INBOX"):
            self.attempt(w.expunge, "alice", "INBOX", list(inbox)[:4])


def folders(w):
    data = w.ok(w.imap("alice").list())
    return {line.decode().rsplit(" ", 1)[1].strip('"') for line in data if line}


def clean_up(w, number):
    """Without faults: what is left of the folders goes."""
    for name in (f"F{number}", f"G{number}"):
        keys = [k for k, names in w.recorder.promises.names.items() if name in names]
        w.boxes.setdefault(("alice", name), keys[-1] if keys else w.new_key("alice"))
        try:
            seen = w.look("alice", name)
        except Failed as e:
            if "NONEXISTENT" not in e.text:
                raise
        else:
            faults = compare(w.recorder.promises, w.boxes["alice", name], seen)
            assert not faults, (name, faults, seen)
            w.delete("alice", name)
        w.boxes.pop(("alice", name), None)
    left = {f"F{number}", f"G{number}"} & folders(w)
    if left:
        raise Failed(f"{left} NONEXISTENT, and listed")


def with_patience(w, call):
    """A client that was told to try again does so; twice, since an index may have to be made anew
    and a waiting process may still have the old one. What it showed of a CREATE or RENAME in doubt may
    change with the new one, between two commands."""
    for last in (False, False, True):
        try:
            return call()
        except (Failed, imaplib.IMAP4.error) as e:
            if last or not re.search("UNAVAILABLE|NONEXISTENT", str(e)):
                raise
            w.log_out()


def check_mail(w):
    for user in ("alice", "bob"):
        seen = w.look(user, "INBOX")
        faults = compare(w.recorder.promises, w.boxes[user, "INBOX"], seen)
        assert not faults, faults
        if len(seen) > 12:
            w.expunge(user, "INBOX", list(seen)[:8])


def is_clear(answer):
    """4xx, or NO: not BAD, nothing final in SMTP, no broken connection."""
    text = answer.split(": ", 1)[1]
    return text[0] == "4" if text[0].isdigit() else text.startswith("NO")


def count_calls(w, number, calls):
    """How many of these calls a session makes when nothing fails."""
    w.recorder.fault(0, calls, 0)
    session = Session(w, number)
    session.run()
    w.log_out()
    assert not session.answers
    return w.recorder.calls()


def wait_for_the_queue(roost, timeout=75):
    """What qmgr did not see it finds with its next scan. Returns what was accepted and did not arrive."""
    promises = roost.recorder.promises
    deadline = time.monotonic() + timeout
    while True:
        lost = {t: r for t, (_, r) in promises.queued.items() if set(r) - promises.sent[t]}
        if not lost or time.monotonic() > deadline:
            return lost
        time.sleep(0.1)


def test_every_file_operation_fails_once(sink_and_roost):
    sink, roost = sink_and_roost
    w = World(roost.recorder, roost, PASSWORD)
    roost.recorder.promises = Promises(w.texts)
    calls = {kind: count_calls(w, f"c{kind}", KINDS[kind]) for kind in KINDS}
    check_mail(w)
    choice = disk.chooser(SEED, "faults")
    said, unclear, hits = {}, [], 0
    for number in range(1, FAULTS + 1):
        kind = choice.choice(list(KINDS))
        roost.recorder.fault(getattr(errno, kind), KINDS[kind], choice.randrange(1, calls[kind]),
                             choice.choice((1, 1, 1, 5, 1000)))
        session = Session(w, number)
        session.run()
        hits += roost.recorder.faults() > 0
        what = roost.recorder.lib.powercut_fault_what().decode()
        roost.recorder.fault(0, [], 0)
        w.log_out()
        for answer in session.answers:
            said.setdefault(f"{kind} {answer}", what)
            if not is_clear(answer):
                unclear.append(f"{kind} at {what}: {answer}")
        try:
            with_patience(w, lambda: (clean_up(w, number), check_mail(w)))
        except Exception as e:
            raise AssertionError(f"round {number}, {kind} at {what}, said {session.answers}\n"
                                 f"{roost.log_tail(15)}") from e
        w.log_out()
    roost.ctl("queue", "flush")
    lost = wait_for_the_queue(roost)
    print(f"\nseed {SEED}: faults in {hits} of {FAULTS} sessions, {len(said)} different failures answered")
    if os.environ.get("POWERCUT_VERBOSE"):
        print("\n".join(f"fault {text}  <- {what}" for text, what in sorted(said.items())))
    assert not lost, "\n".join([str(lost), *(line for line in roost.log().splitlines() if any(
        roost.recorder.promises.queued[token][0] in line for token in lost))])
    assert not unclear, "\n".join(unclear[:30])
    assert "crash" not in roost.log(), roost.log_tail()


@pytest.mark.parametrize("change", ["APPEND", "MOVE", "COPY", "REPLACE"])
def test_the_index_is_killed_at_each_rename_of_one_change(sink_and_roost, change):
    """It is done as a whole or not at all, whatever the session that asked for it does then."""
    _, roost = sink_and_roost
    w = World(roost.recorder, roost, PASSWORD)
    roost.recorder.promises = Promises(w.texts)
    w.create("alice", "Target")
    w.append_many("alice", "INBOX", 4)
    w.select("alice", "Target")
    w.select("alice", "INBOX")
    calls = [disk.LINK] if change == "COPY" else [disk.RENAME]
    whole = {"APPEND": (0, 4), "MOVE": (-4, 4), "COPY": (0, 4), "REPLACE": (0, 0)}[change]
    seen = set()

    def look():
        boxes = {box: with_patience(w, lambda box=box: w.look("alice", box)) for box in ("INBOX", "Target")}
        for box, there in boxes.items():
            faults = compare(roost.recorder.promises, w.boxes["alice", box], there)
            assert not faults, (box, faults)
        return boxes

    for moment in range(1, 20):
        if not look()["INBOX"]:
            w.append_many("alice", "INBOX", 4)
        before = look()
        with_patience(w, lambda: w.select("alice", "INBOX"))
        roost.recorder.fault(-signal.SIGKILL, calls, moment)
        with contextlib.suppress(Failed, imaplib.IMAP4.error):
            if change == "APPEND":
                w.append_many("alice", "Target", 4)
            elif change == "REPLACE":
                w.append_many("alice", "INBOX", 1, replaces=next(iter(before["INBOX"])))
            else:
                w.copy("alice", "INBOX", before["INBOX"], "Target", move=change == "MOVE")
        hit = roost.recorder.faults()
        roost.recorder.fault(0, [], 0)
        w.log_out()
        if not hit:
            break
        after = look()
        seen.add(tuple(len(after[box]) - len(before[box]) for box in ("INBOX", "Target")))
    assert moment > (1 if change == "REPLACE" else 4), "it was killed at each of its renames"
    assert seen <= {(0, 0), whole}, seen


@pytest.mark.parametrize("error", ["EIO", "EMFILE", "ENOENT"])
def test_a_deferred_message_that_cannot_be_read_is_not_forgotten(sink_and_roost, error):
    sink, roost = sink_and_roost
    roost.settings |= {"minimal_backoff_time": "1h", "maximal_backoff_time": "1h"}
    roost.write_conf()
    roost.stop()
    roost.start()
    w = World(roost.recorder, roost, PASSWORD)
    roost.recorder.promises = Promises(w.texts)
    w.submit("alice@example.test", ["later-one@other.test"])
    wait_until(lambda: any((roost.data / "queue" / "deferred").iterdir()), 30, "the message is put off")
    roost.recorder.fault(getattr(errno, error), [disk.OPEN], 1, 1000000)
    roost.ctl("queue", "flush")
    wait_until(lambda: b"roost-qmgr" in roost.recorder.lib.powercut_fault_what(), 30, "qmgr cannot open it")
    roost.recorder.fault(0, [], 0)
    w.log_out()
    roost.ctl("queue", "flush")
    assert not wait_for_the_queue(roost)
