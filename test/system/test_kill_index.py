# SPDX-License-Identifier: MIT
"""kill -9 of roost-index at any moment, under eight writers: nothing that was acknowledged is lost.

ROOST_INDEX_KILLS says how often (30 unless set; 1000 is the full test).
"""

import contextlib
import os
import random
import re
import threading
import time

from roost_instance import PASSWORD, Roost, wait_until
from test_kill import Lines, Refused, check_all_running, daemons, kill

KILLS = int(os.environ.get("ROOST_INDEX_KILLS", "30"))
USER = "alice@example.test"
BOXES = ["INBOX", "One", "Two"]
SETTINGS = {"log_level": "warn", "imap_max_errors": 1000, "max_connections_per_ip": 1000,
            "default_mailboxes": []}


class World:
    """What was acknowledged. A message is its Message-ID; an operation that failed leaves it open."""

    def __init__(self):
        self.lock = threading.Lock()
        self.uids = {}  # (box, UIDVALIDITY, UID) -> message
        self.faults = []
        self.operations = self.refused = 0

    def told(self, box, validity, uid, message):
        with self.lock:
            was = self.uids.setdefault((box, validity, uid), message)
            if was != message:
                self.faults.append(f"{box} UID {uid} was {was} and is {message}")

    def count(self, ok):
        with self.lock:
            self.operations += ok
            self.refused += not ok


class Writer:
    """One client that changes only its own messages, and so knows what each of them must be."""

    def __init__(self, roost, world, number):
        self.roost, self.world, self.number = roost, world, number
        self.random = random.Random(number)
        self.next = 0
        # message -> {"box", "uid" (None: unknown), "flags", "sure": what was acknowledged holds}
        self.messages = {}
        self.copies = {}  # message -> acknowledged copies: set of (box, uid)
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        wire = None
        while not self.stopping:
            try:
                wire = wire or self.connect()
                self.step(wire)
                self.world.count(True)
            except Refused:
                self.world.count(False)
                if wire:
                    wire.close()
                wire = None
                time.sleep(0.02)
            except BaseException as e:
                self.world.faults.append(f"writer {self.number}: {e!r}")
                raise
        if wire:
            wire.close()

    def connect(self):
        wire = Lines(self.roost.ports["imap"])
        try:
            wire.line()
            self.command(wire, f'LOGIN {USER} "{PASSWORD}"')
        except BaseException:
            wire.close()
            raise
        return wire

    def command(self, wire, text, data=None, tag=True):
        wire.send(f"{'t ' if tag else ''}{text}".encode() + (b" {%d+}\r\n%b\r\n" % (len(data), data) if data else b"\r\n"))
        answers = []
        while True:
            line = wire.line()
            if line.startswith(b"t OK"):
                return answers + [line]
            if line.startswith((b"t ", b"* BYE")):
                assert b"UNAVAILABLE" in line or b"SERVERBUG" in line or b"BYE" in line, line
                raise Refused
            while match := re.search(rb"\{(\d+)\}\r\n$", line):
                line += wire.exactly(int(match[1])) + wire.line()
            answers.append(line)

    def text(self, message):
        return (f"From: a@example.org\r\nMessage-ID: <{message}>\r\nSubject: {message}\r\n\r\n".encode()
                + b"A line.\r\n" * self.random.randrange(1, 80))

    def fresh(self):
        self.next += 1
        return f"{self.number}.{self.next}@kill"

    def step(self, wire):
        self.random.choice([self.append, self.append, self.store, self.store, self.copy, self.move, self.expunge])(wire)

    def some(self):
        mine = [m for m, what in self.messages.items() if what["uid"] and what["sure"]]
        return self.random.choice(mine) if mine else None

    def validity(self, answers):
        for line in answers:
            if match := re.search(rb"UIDVALIDITY (\d+)", line):
                return int(match[1])
        raise AssertionError(answers)

    def append(self, wire):
        message, box = self.fresh(), self.random.choice(BOXES)
        self.messages[message] = {"box": box, "uid": None, "flags": set(), "sure": False}
        answer = self.command(wire, f"APPEND {box} (\\Seen)", self.text(message))[-1]
        match = re.search(rb"APPENDUID (\d+) (\d+)", answer)
        self.world.told(box, int(match[1]), int(match[2]), message)
        self.messages[message] = {"box": box, "uid": int(match[2]), "flags": {"\\Seen"}, "sure": True}

    def store(self, wire):
        message = self.some()
        if not message:
            return
        what = self.messages[message]
        flag = self.random.choice(["\\Flagged", "\\Answered", "Word", "Other"])
        sign = self.random.choice("+-")
        self.command(wire, f"SELECT {what['box']}")
        what["open"] = what.get("open", set()) | {flag}
        self.command(wire, f"UID STORE {what['uid']} {sign}FLAGS.SILENT ({flag})")
        what["open"] -= {flag}
        what["flags"] = what["flags"] | {flag} if sign == "+" else what["flags"] - {flag}

    def transfer(self, wire, verb):
        message = self.some()
        if not message:
            return
        what = self.messages[message]
        to = self.random.choice([b for b in BOXES if b != what["box"]])
        self.command(wire, f"SELECT {what['box']}")
        what["sure"] = verb == "COPY"
        answers = self.command(wire, f"UID {verb} {what['uid']} {to}")
        match = re.search(rb"COPYUID (\d+) (\d+) (\d+)\]", b"".join(answers))
        assert match, answers
        assert int(match[2]) == what["uid"]
        self.world.told(to, int(match[1]), int(match[3]), message)
        if verb == "COPY":
            self.copies.setdefault(message, set()).add((to, int(match[3])))
        else:
            what.update(box=to, uid=int(match[3]), sure=True)

    def copy(self, wire):
        self.transfer(wire, "COPY")

    def move(self, wire):
        self.transfer(wire, "MOVE")

    def expunge(self, wire):
        message = self.some()
        if not message or self.random.random() < 0.5:
            return
        what = self.messages[message]
        self.command(wire, f"SELECT {what['box']}")
        what["sure"] = False
        self.command(wire, f"UID STORE {what['uid']} +FLAGS.SILENT (\\Deleted)")
        self.command(wire, f"UID EXPUNGE {what['uid']}")
        what.update(gone=(what["box"], what["uid"]), uid=None)


class Batcher(Writer):
    """Several messages with one command: APPEND of four, then MOVE of the four, again and again."""

    COUNT = 4

    def __init__(self, *args):
        self.groups = []  # {"messages", "box", "uids" (None: unknown)}
        super().__init__(*args)

    def step(self, wire):
        known = [g for g in self.groups if g["uids"]]
        if known and self.random.random() < 0.6:
            self.move_all(wire, self.random.choice(known))
        else:
            self.append_all(wire)

    def append_all(self, wire):
        group = {"messages": [self.fresh() for _ in range(self.COUNT)], "box": self.random.choice(BOXES), "uids": None}
        self.groups.append(group)
        texts = [self.text(m) for m in group["messages"]]
        wire.send(f"t APPEND {group['box']}".encode() + b"".join(b" {%d+}\r\n%b" % (len(t), t) for t in texts[:-1]))
        answer = self.command(wire, "", texts[-1], tag=False)[-1]
        match = re.search(rb"APPENDUID (\d+) (\d+):(\d+)", answer)
        self.told_all(group, group["box"], int(match[1]), list(range(int(match[2]), int(match[3]) + 1)))

    def told_all(self, group, box, validity, uids):
        assert len(uids) == self.COUNT
        for uid, message in zip(uids, group["messages"]):
            self.world.told(box, validity, uid, message)
        group.update(box=box, uids=uids)

    def move_all(self, wire, group):
        to = self.random.choice([b for b in BOXES if b != group["box"]])
        self.command(wire, f"SELECT {group['box']}")
        uids, group["uids"] = group["uids"], None
        answers = self.command(wire, f"UID MOVE {','.join(map(str, uids))} {to}")
        match = re.search(rb"COPYUID (\d+) \S+ (\d+):(\d+)\]", b"".join(answers))
        self.told_all(group, to, int(match[1]), list(range(int(match[2]), int(match[3]) + 1)))


class Deliverer(Writer):
    """The same by LMTP."""

    def connect(self):
        wire = Lines(self.roost.ports["lmtp"])
        try:
            self.reply(wire)
            wire.send(b"LHLO client.example.org\r\n")
            self.reply(wire)
        except BaseException:
            wire.close()
            raise
        return wire

    def reply(self, wire):
        while (line := wire.line())[3:4] == b"-":
            pass
        assert line[:1] in b"234", line
        if line[:1] == b"4":
            raise Refused
        return line

    def step(self, wire):
        message = self.fresh()
        self.messages[message] = {"box": "INBOX", "uid": None, "flags": set(), "sure": False}
        wire.send(f"MAIL FROM:<a@example.org>\r\nRCPT TO:<{USER}>\r\nDATA\r\n".encode())
        for _ in range(3):
            self.reply(wire)
        wire.send(self.text(message) + b".\r\n")
        self.reply(wire)
        self.messages[message].update(delivered=True)


def look(roost):
    """box -> (UIDVALIDITY, {uid: (message, flags)}), as a fresh session sees it."""
    probe = Writer.__new__(Writer)
    probe.roost = roost

    def connect():
        with contextlib.suppress(Refused):
            return probe.connect()

    wire = wait_until(connect, what="log-in")
    found = {}
    for box in BOXES:
        validity = probe.validity(probe.command(wire, f"SELECT {box}"))
        found[box] = validity, {}
        for line in probe.command(wire, "UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"):
            if b"BODY[" not in line:
                continue
            uid = int(re.search(rb"UID (\d+)", line)[1])
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", line)[1].decode().split()) - {"\\Recent"}
            found[box][1][uid] = re.search(rb"<([^>]+)>", line)[1].decode(), flags
    wire.close()
    return found


def check(world, writers, found):
    for box, (validity, messages) in found.items():
        for uid, (message, _) in messages.items():
            world.told(box, validity, uid, message)
    here = {}  # message -> [(box, uid, flags)]
    for box, (_, messages) in found.items():
        for uid, (message, flags) in messages.items():
            here.setdefault(message, []).append((box, uid, flags))
    for writer in writers:
        for message, what in writer.messages.items():
            places = here.get(message, [])
            if what.get("delivered") and not places:
                world.faults.append(f"{message}: delivered and lost")
            if what["sure"] and what["uid"]:
                flags = [f for box, uid, f in places if (box, uid) == (what["box"], what["uid"])]
                if not flags:
                    world.faults.append(f"{message}: lost, was {what}, is at {places}")
                elif flags[0] ^ what["flags"] - what.get("open", set()) - {"\\Deleted"}:
                    wrong = (flags[0] ^ what["flags"]) - what.get("open", set())
                    if wrong:
                        world.faults.append(f"{message}: flags {flags[0]}, were {what}")
            if what.get("gone") and any((box, uid) == what["gone"] for box, uid, _ in places):
                world.faults.append(f"{message}: expunged and back at {what['gone']}")
        for group in getattr(writer, "groups", []):
            places = [tuple(box for box, _, _ in here.get(m, [])) for m in group["messages"]]
            if len(set(places)) > 1 or len(places[0]) > 1:
                world.faults.append(f"{group}: in part, {places}")
            elif group["uids"] and places[0] != (group["box"],):
                world.faults.append(f"{group}: lost, {places}")
        for message, copies in writer.copies.items():
            for place in copies - {(box, uid) for box, uid, _ in here.get(message, [])}:
                world.faults.append(f"{message}: the copy {place} is lost")


def test_the_index_is_killed_under_eight_writers():
    roost = Roost(settings=SETTINGS)
    try:
        world = World()
        setup = Writer.__new__(Writer)
        setup.roost = roost
        wire = setup.connect()
        for box in BOXES[1:]:
            setup.command(wire, f"CREATE {box}")
        wire.close()
        writers = [kind(roost, world, n) for n, kind in enumerate([Deliverer, Writer, Batcher, Writer] * 2)]
        moments = random.Random(1)
        begin = time.monotonic()
        for number in range(KILLS):
            wait_until(lambda: daemons(roost, "roost-index"), what="roost-index runs")
            done = world.operations
            time.sleep(moments.expovariate(20))
            for pid in daemons(roost, "roost-index"):
                kill(pid)
            # Work goes on in between.
            wait_until(lambda: world.operations > done or world.faults, 60, "some operation succeeds")
            assert not world.faults, world.faults[:5]
            if number % 100 == 99:
                print(f"{number + 1} kills, {world.operations} operations, {world.refused} refused", flush=True)
        seconds = time.monotonic() - begin
        for writer in writers:
            writer.stopping = True
        for writer in writers:
            writer.thread.join(60)
            assert not writer.thread.is_alive()
        found = look(roost)
        check(world, writers, found)
        assert world.faults == [], world.faults[:20]
        print(f"{KILLS} kills in {seconds:.0f} s: {world.operations} operations done, {world.refused} refused for the "
              f"moment, {len(world.uids)} UIDs given, {sum(len(m) for _, m in found.values())} messages left")
        check_all_running(roost)
        assert world.operations > KILLS
    finally:
        roost.close()
