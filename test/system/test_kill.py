# SPDX-License-Identifier: MIT
"""kill -9 of every process while mail flows: what was accepted stays, and stays what it was.

Mail comes by LMTP and by SMTP. A client that got no 250 sends the message again, as SMTP prescribes
(RFC 5321 section 4.2.5), so a copy more is allowed for each time that a final dot was sent and its
answer lost: by the client, or by Roost itself between its smtpd, its queue and its LMTP. The trace
fields tell these transactions apart, so each copy must come from a transaction of its own.
"""

import contextlib
import email
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from roost_instance import PASSWORD, Roost, wait_until

DAEMONS = ["roost-proxy", "roost-auth", "roost-index", "roost-imap", "roost-lmtp", "roost-smtpd", "roost-qmgr",
           "roost-smtp", "roost-lmtp-client", "roost-pop3", "roost-idle"]
SETTINGS = {"log_level": "info", "minimal_backoff_time": "1s", "maximal_backoff_time": "2s",
            "imap_max_errors": 1000, "max_connections_per_ip": 1000, "max_idle": "1h"}
ALICE, BOB = "alice@example.test", "bob@example.test"
ROUNDS = 5


class Refused(Exception):
    """Anything that means: later, over a new connection."""


class Lines:
    """A connection in lines; whatever goes wrong with it is Refused."""

    def __init__(self, port):
        try:
            self.sock = socket.create_connection(("127.0.0.1", port), timeout=120)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as e:
            raise Refused from e
        self.file = self.sock.makefile("rb")

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Refused from e

    def line(self):
        try:
            line = self.file.readline()
        except OSError as e:
            raise Refused from e
        if not line.endswith(b"\n"):
            raise Refused
        return line

    def exactly(self, size):
        try:
            data = self.file.read(size)
        except OSError as e:
            raise Refused from e
        if len(data) != size:
            raise Refused
        return data

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
            self.sock.close()


class Flow:
    """Client threads that hand over numbered messages until each was accepted."""

    def __init__(self, roost, count, clients=6):
        self.roost = roost
        self.count = count
        self.lock = threading.Lock()
        self.may_go_on = threading.Condition(self.lock)
        self.next = 0
        self.allowed = count
        self.accepted = 0
        self.dots = Counter()  # (message, recipient) -> final dots sent for it
        self.failures = []
        self.replies = Counter()
        self.threads = [threading.Thread(target=self.run, args=(("lmtp", "smtp")[n % 2],), daemon=True)
                        for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def recipients(self, number):
        return [ALICE, BOB] if number % 8 == 0 else [ALICE]

    def run(self, protocol):
        try:
            connection = None
            while True:
                with self.lock:
                    self.may_go_on.wait_for(lambda: self.next < self.allowed or self.next >= self.count)
                    number = self.next
                    self.next += 1
                if number >= self.count:
                    break
                left = self.recipients(number)
                while left:
                    with contextlib.suppress(Refused):
                        connection = connection or self.open(protocol)
                        left = self.send(connection, protocol, number, left)
                    if left or connection is None:
                        if connection:
                            connection.close()
                        connection = None
                        time.sleep(0.05)
                with self.lock:
                    self.accepted += 1
        except BaseException as e:
            self.failures.append(e)
            raise

    def open(self, protocol):
        connection = Lines(self.roost.ports[protocol])
        try:
            self.expect(connection, b"2")
            connection.send(b"%b client.example.org\r\n" % {"lmtp": b"LHLO", "smtp": b"EHLO"}[protocol])
            self.expect(connection, b"2")
        except Refused:
            connection.close()
            raise
        return connection

    def expect(self, connection, *starts):
        """A whole reply."""
        while True:
            line = connection.line()
            if line[3:4] != b"-":
                break
        with self.lock:
            self.replies[line[:3].decode()] += 1
        assert line[:1] in (b"2", b"3", b"4"), f"a refusal for good: {line}"
        if line[:1] not in starts:
            raise Refused
        return line

    def send(self, connection, protocol, number, recipients):
        """One transaction; returns the recipients for whom it has to be repeated."""
        mid = f"<{number}.kill@example.org>"
        text = (f"From: sender@example.org\r\nTo: {ALICE}\r\nSubject: message {number}\r\nMessage-ID: {mid}\r\n"
                f"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n\r\n") + "A line of the body.\r\n" * (1 + number % 200)
        connection.send(b"MAIL FROM:<sender@example.org>\r\n")
        self.expect(connection, b"2")
        taken = []
        for recipient in recipients:
            connection.send(f"RCPT TO:<{recipient}>\r\n".encode())
            with contextlib.suppress(Refused):
                self.expect(connection, b"2")
                taken.append(recipient)
        if not taken:
            raise Refused
        connection.send(b"DATA\r\n")
        self.expect(connection, b"3")
        connection.send(text.encode())
        with self.lock:
            for recipient in taken:
                self.dots[number, recipient] += 1
        connection.send(b".\r\n")
        left = list(recipients)
        for recipient in taken if protocol == "lmtp" else [None]:
            try:
                self.expect(connection, b"2")
            except Refused:
                if protocol == "smtp":
                    raise
                continue
            left = [r for r in left if r != recipient] if recipient else [r for r in left if r not in taken]
        return left

    def allow(self, count):
        """So many in all may be sent; else the mail would be through before the last daemon was killed."""
        with self.lock:
            self.allowed = count
            self.may_go_on.notify_all()

    def wait(self, accepted, timeout=240):
        wait_until(lambda: self.accepted >= accepted or self.failures, timeout, f"{accepted} messages accepted")
        assert not self.failures, self.failures

    def join(self):
        self.wait(self.count)
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures


class Watcher:
    """An IMAP client that looks at the INBOX all the time and remembers which UID was which message."""

    def __init__(self, roost, user):
        self.roost = roost
        self.user = user
        self.seen = {}  # uid -> Message-ID
        self.largest = 0
        self.validity = None
        self.faults = []
        self.log_ins = 0
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping:
            try:
                connection = Lines(self.roost.ports["imap"])
                try:
                    connection.line()
                    self.command(connection, f'LOGIN {self.user} "{PASSWORD}"')
                    self.log_ins += 1
                    self.watch(connection)
                finally:
                    connection.close()
            except Refused:
                time.sleep(0.1)
            except Exception as e:
                self.faults.append(repr(e))
                raise

    def watch(self, connection):
        self.select(connection)
        self.look(connection, 1)
        for _ in range(30):
            if self.stopping:
                break
            self.look(connection, self.largest + 1)
            time.sleep(0.05)

    def command(self, connection, text):
        """Untagged lines of a command, with their literals."""
        connection.send(f"t {text}\r\n".encode())
        answers = []
        while True:
            line = connection.line()
            if line.startswith(b"t OK"):
                return answers
            if line.startswith(b"t "):
                assert b"[UNAVAILABLE]" in line or b"[SERVERBUG]" in line, line
                raise Refused
            if line.startswith(b"* BYE"):
                raise Refused
            while match := re.search(rb"\{(\d+)\}\r\n$", line):
                line += connection.exactly(int(match[1]))
                line += connection.line()
            answers.append(line)

    def select(self, connection):
        answers = b"".join(self.command(connection, "SELECT INBOX"))
        validity = int(re.search(rb"UIDVALIDITY (\d+)", answers)[1])
        if self.validity not in (None, validity):
            self.faults.append(f"UIDVALIDITY went from {self.validity} to {validity}")
        self.validity = validity

    def look(self, connection, first):
        found = {}
        previous = 0
        for answer in self.command(connection,
                                   f"UID FETCH {first}:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"):
            uid = re.search(rb"UID (\d+)", answer)
            mid = re.search(rb"<(\d+)\.kill@", answer)
            if not uid or not mid:
                if b" FETCH (" in answer and b"BODY" in answer:
                    self.faults.append(f"odd answer {answer}")
                continue
            uid = int(uid[1])
            if uid <= previous:
                self.faults.append(f"UID {uid} after {previous} in one answer")
            previous = uid
            found[uid] = int(mid[1])
        for uid, number in found.items():
            if uid in self.seen:
                if self.seen[uid] != number:
                    self.faults.append(f"UID {uid} was message {self.seen[uid]} and is {number}")
            elif uid < self.largest:
                self.faults.append(f"new UID {uid} (message {number}) below {self.largest}, which was seen before")
        if first == 1:
            gone = self.seen.keys() - found.keys()
            if gone:
                self.faults.append(f"gone: UIDs {sorted(gone)[:20]}")
        self.seen.update(found)
        self.largest = max(self.seen, default=0)

    def stop(self):
        self.stopping = True
        self.thread.join(60)
        assert not self.thread.is_alive()
        assert self.faults == []


def fetch_all(roost, user):
    """uid -> (number, trace) of the INBOX, from the whole headers, as a fresh session sees it."""
    connection = wait_until(lambda: fresh_login(roost, user), what="log-in")
    watcher = Watcher.__new__(Watcher)
    found = {}
    watcher.validity, watcher.faults = None, []
    watcher.select(connection)
    for answer in watcher.command(connection, "UID FETCH 1:* (UID BODY.PEEK[HEADER])"):
        uid = re.search(rb"UID (\d+)", answer)
        if b"BODY[HEADER]" not in answer:
            continue
        header = email.message_from_bytes(answer.split(b"}\r\n", 1)[1])
        number = int(re.match(r"<(\d+)\.kill@", header["Message-ID"])[1])
        trace = tuple(re.search(r"\bid (\S+?)[;\s]", line)[1] for line in header.get_all("Received"))
        found[int(uid[1])] = (number, trace)
    connection.close()
    return watcher.validity, found


def fresh_login(roost, user):
    try:
        connection = Lines(roost.ports["imap"])
        connection.line()
        connection.send(f'l LOGIN {user} "{PASSWORD}"\r\n'.encode())
        while not (line := connection.line()).startswith(b"l "):
            pass
        return connection if line.startswith(b"l OK") else None
    except Refused:
        return None


def family(roost):
    """All processes of the instance: daemons and sessions, by program."""
    found = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if int(stat[3]) == roost.process.pid and stat[0] != "Z":
                found[Path(os.readlink(entry / "exe")).name].append(int(entry.name))
    return found


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def daemons(roost, program):
    """The daemon itself: sessions of a parent that died are the master's children too."""
    found = set()
    for pid in roost.pids(program):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == pid:
                found.add(pid)
    return found


def kill_daemon(roost, program, with_sessions):
    """Kills a daemon and waits until the master has started it again."""
    parents = wait_until(lambda: daemons(roost, program), what=f"{program} runs")
    for pid in family(roost)[program] if with_sessions else parents:
        kill(pid)
    wait_until(lambda: len(daemons(roost, program) - parents) >= len(parents), 60, f"{program} is back")


def wait_until_all_is_delivered(roost):
    def empty():
        status, rows, _ = roost.ctl("queue", "list", check=False)
        return status == 0 and rows == []

    wait_until(empty, 120, "the queue is empty")


def check_mailboxes(roost, flow, watcher):
    copies = 0
    for user in (ALICE, BOB):
        _, found = fetch_all(roost, user)
        by_number = defaultdict(list)
        for uid, (number, trace) in found.items():
            by_number[number].append((uid, trace))
        expected = {n for n in range(flow.count) if user in flow.recipients(n)}
        assert by_number.keys() == expected, (
            f"lost: {sorted(expected - by_number.keys())[:20]}, "
            f"from nowhere: {sorted(by_number.keys() - expected)[:20]}")
        for number, messages in by_number.items():
            traces = [trace for _, trace in messages]
            assert len(set(traces)) == len(traces), f"message {number}: one transaction, two copies: {messages}"
            # What the client sent us: an LMTP session (one trace field) or a message of smtpd.
            sent = {trace[-1] for trace in traces}
            assert len(sent) <= flow.dots[number, user], (number, flow.dots[number, user], messages)
            copies += len(messages) - 1
        assert list(found) == sorted(found)
        if user == watcher.user:
            assert watcher.seen.items() <= {uid: number for uid, (number, _) in found.items()}.items()
    repeated = sum(flow.dots.values()) - len(flow.dots)
    print(f"{flow.count} messages, {repeated} final dots repeated, {copies} copies more, "
          f"{watcher.log_ins} log-ins of the watcher, replies {dict(flow.replies)}")


def check_all_running(roost):
    def running():
        status, services, _ = roost.ctl("status", check=False)
        names = Counter(s["service"] for s in services or [] if s["state"] == "running")
        return status == 0 and all(s["state"] == "running" for s in services) and all(
            names[program.removeprefix("roost-")] for program in DAEMONS)

    wait_until(running, 60, "all services run")


@pytest.fixture
def instance():
    roost = Roost(settings=SETTINGS)
    yield roost
    roost.close()


def test_every_daemon_is_killed_in_turn_during_5000_deliveries(instance):
    roost = instance
    watcher = Watcher(roost, ALICE)
    flow = Flow(roost, 5000)
    step = flow.count // (ROUNDS * len(DAEMONS))
    kills = 0
    for number in range(ROUNDS):
        for program in DAEMONS:
            flow.allow((kills + 1) * step)
            flow.wait(kills * step + step // 5)
            kills += 1
            kill_daemon(roost, program, with_sessions=number % 2 == 1)
    flow.allow(flow.count)
    flow.join()
    wait_until_all_is_delivered(roost)
    wait_until(lambda: fetch_all(roost, ALICE)[1].keys() == watcher.seen.keys() or watcher.faults,
               what="the watcher has seen all")
    watcher.stop()
    check_mailboxes(roost, flow, watcher)
    check_all_running(roost)
    assert watcher.log_ins >= ROUNDS
    assert roost.log().count("master.child crash") >= kills


def kill_everything(roost):
    """Master, daemons and sessions at once, like the OOM killer at its worst."""
    roost.process.send_signal(signal.SIGKILL)
    for pids in family(roost).values():
        for pid in pids:
            kill(pid)
    roost.process.wait()
    wait_until(lambda: not family(roost), what="every process is gone")


@pytest.mark.parametrize("index_is_lost", [False, True], ids=["index kept", "index removed"])
def test_everything_is_killed_at_once(instance, index_is_lost):
    roost = instance
    watcher = Watcher(roost, ALICE)
    flow = Flow(roost, 1200)
    for part in (1, 2, 3):
        flow.wait(part * 300)
        kill_everything(roost)
        if index_is_lost:
            roost.remove_index("alice")
            shutil.rmtree(roost.home("bob") / "index", ignore_errors=True)
        roost.start()
    flow.join()
    wait_until_all_is_delivered(roost)
    watcher.stop()
    check_mailboxes(roost, flow, watcher)
    before = fetch_all(roost, ALICE)
    # And once more at rest: nothing may change at all.
    kill_everything(roost)
    if index_is_lost:
        roost.remove_index("alice")
    roost.start()
    assert fetch_all(roost, ALICE) == before
    check_all_running(roost)
