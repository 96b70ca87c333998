# SPDX-License-Identifier: MIT
"""Power cuts that reorder what was not synced, and file operations that fail.

Roost runs under a library that records what its processes do to files below its mail and its queue. From
the record the states are made that a power cut can leave at some moment, Roost's own recovery is run
on each, and the result is held against what clients had been told until then. POWERCUT_STATES says how
many states, POWERCUT_SEED which.
"""

import errno
import imaplib
import json
import os
import shutil
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
from judge import Judge, Promises, Recovery  # noqa: E402

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


# ---- the states ----


def points(records):
    """Moments at which the power goes: behind each answer, and anywhere."""
    answers = [n + 1 for n, r in enumerate(records) if r.call == disk.MARK]
    changes = [n + 1 for n, r in enumerate(records) if r.call not in (disk.MARK, disk.WRITE)]
    choice = disk.chooser(SEED, "points")
    half = STATES // 2
    chosen = [choice.choice(answers) for _ in range(half)] + [choice.choice(changes) for _ in range(STATES - half)]
    return sorted(chosen)


def certain_queue_file(recorded, queue_id):
    for node in set(recorded.nodes.values()):
        if not node.is_dir and node.label.rsplit("/", 1)[-1] == queue_id:
            return node.durable
    return None


def try_state(recorded, promises, recovery, work, number, kept, choice):
    state = work / "state"
    indexes = [f"/mail/example.test/{user}/index" for user in ("alice", "bob", "carol")]
    recorded.build(str(state), kept, choice, skip=indexes if choice.random() < 0.25 else ())
    judge = Judge(promises, recovery, state)
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


def test_power_cuts(sink_and_roost):
    sink, roost = sink_and_roost
    roost.add_user("carol")
    w = World(roost.recorder, roost, PASSWORD)
    run_all(roost, w)
    assert roost.recorder.lib.powercut_lost() == 0
    records = disk.read_log(roost.log_file)
    recovery = Recovery(BUILD / "test" / "powercut" / "recover")
    recorded, promises = roost.disk, Promises(w.texts)
    failed, at, started = [], 0, time.monotonic()
    for number, point in enumerate(points(records)):
        for record in records[at:point]:
            if record.call == disk.MARK:
                promises.apply(json.loads(record.data))
            else:
                recorded.apply(record)
        at = point
        words = (SEED, number)
        choice = disk.chooser(*words)
        kept, how = recorded.choose(choice)
        faults = try_state(recorded, promises, recovery, roost.work, number, kept, choice)
        if faults:
            failed.append((number, point, how, faults))
            if len(failed) <= 5:
                keep_failed(recorded, roost.work, number, kept, words, faults)
        shutil.rmtree(roost.work / "state")
    recovery.close()
    print(f"\nseed {SEED}: {len(records)} operations, {len(w.instances)} messages, {STATES} states in "
          f"{time.monotonic() - started:.0f} s, {len(failed)} failed")
    assert not failed, "\n".join(
        [f"{len(failed)} of {STATES} states (seed {SEED}); the first are in {KEEP}"]
        + [f"state {n}, after operation {p}, changes kept: {h}:\n  " + "\n  ".join(f[:6]) for n, p, h, f in failed[:12]])
