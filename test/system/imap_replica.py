# SPDX-License-Identifier: MIT
"""A client that keeps a copy of its mailbox from nothing but what the server tells it, and judges each answer."""

import collections
import re
import socket

from roost_instance import PASSWORD


class Message:
    """uid, flags and modseq are None until the server told them."""

    def __init__(self):
        self.uid = self.flags = self.modseq = None


class Command:
    def __init__(self, name, uid=False, silent=None, earlier=False, on_done=None, on_fetch=None, updates=None):
        self.name, self.uid, self.silent, self.earlier, self.on_done = name, uid, silent, earlier, on_done
        self.on_fetch = on_fetch  # called with the message, what was told of it, and its literals
        self.updates = updates  # of a search that is kept up to date: what it says of a message
        self.answers = []  # SEARCH, ESEARCH, SORT, THREAD, STATUS
        self.flags_told = set()  # messages whose FLAGS came while it ran
        self.code_modseq = None
        self.sent_modseq = 0

    def may_expunge(self):
        """RFC 9051 section 7.5.1."""
        return self.uid or self.name not in ("FETCH", "STORE", "SEARCH", "SORT", "THREAD")


def parse_set(text):
    numbers = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        assert first.isdigit() and (not last or last.isdigit()), text
        assert not last or int(first) < int(last), text
        numbers.extend(range(int(first), int(last or first) + 1))
    assert numbers == sorted(set(numbers)), text
    return numbers


def expand(answer):
    """The UIDs behind ALL in an ESEARCH response."""
    found = re.search(r" ALL ([0-9:,]+)", answer)
    return parse_set(found[1]) if found else []


def format_set(numbers):
    ranges = []
    for n in sorted(numbers):
        if ranges and ranges[-1][1] == n - 1:
            ranges[-1][1] = n
        else:
            ranges.append([n, n])
    return ",".join(str(a) if a == b else f"{a}:{b}" for a, b in ranges)


def parse_list(text, at=0):
    """A parenthesized list, literals already replaced: (list, offset behind it)."""
    assert text[at] == "(", text
    items, at = [], at + 1
    while text[at] != ")":
        if text[at] == " ":
            at += 1
        elif text[at] == "(":
            inner, at = parse_list(text, at)
            items.append(inner)
        else:
            word = re.compile(r'"(?:[^"\\]|\\.)*"|[^ ()\[]+(?:\[[^\]]*\])?(?:<\d+>)?').match(text, at)
            items.append(word.group())
            at = word.end()
    return items, at + 1


# What each kind of client enables.
LEVELS = {
    "plain": "",
    "condstore": "CONDSTORE",
    "qresync": "QRESYNC",
    "rev2": "IMAP4rev2",
    "rev2+qresync": "IMAP4rev2 QRESYNC",
    "uidonly": "UIDONLY QRESYNC",
}


class Replica:
    """level: one of LEVELS."""

    def __init__(self, port, user, level, mailbox="INBOX"):
        self.port, self.user, self.level, self.mailbox = port, user, level, mailbox
        self.trace = collections.deque(maxlen=400)
        self.tag = 0
        self.messages = []
        self.modseq = 0  # as RFC 7162 section 6 has a client work it out
        self.complete_to = 0  # it knows all messages up to this UID
        self.uidvalidity = None
        self.condstore = self.qresync = False
        self.running = collections.deque()  # (tag, Command), the oldest first
        self.literals = []  # of the last response
        self.contexts = {}  # by tag: what the search says of a message, the UIDs that it has come to
        self.connect()

    def __repr__(self):
        return f"{self.level}@{id(self) & 0xffff:x}"

    # ---- the wire ----

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.lines = self.socket.makefile("rb")
        self.read_response()
        self.running.clear()
        self.contexts.clear()
        self.condstore = self.qresync = self.rev2 = self.uidonly = self.selected = False
        self.run("LOGIN", f'LOGIN {self.user} "{PASSWORD}"')
        enable = LEVELS[self.level]
        if enable:
            self.run("ENABLE", f"ENABLE {enable}")
            self.qresync = "QRESYNC" in enable
            self.condstore = self.qresync or "CONDSTORE" in enable
            self.rev2 = "IMAP4rev2" in enable
            self.uidonly = "UIDONLY" in enable

    def drop(self):
        self.trace.append("-- connection dropped")
        self.socket.close()
        self.lines.close()
        self.running.clear()

    def read_response(self):
        """One response as text, each literal as "~"."""
        whole, self.literals = b"", []
        while True:
            line = self.lines.readline()
            assert line.endswith(b"\r\n"), (self, line, list(self.trace)[-5:])
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                break
            self.literals.append(self.lines.read(int(literal.group(1))))
            whole += line[: literal.start()] + b"~"
        text = (whole + line[:-2]).decode()
        self.trace.append("S: " + text[:300])
        return text

    def send(self, command, text, *literals):
        self.tag += 1
        tag = f"a{self.tag}"
        self.trace.append(f"C: {tag} {text}")
        data = f"{tag} {text}".encode()
        for literal in literals:
            data += b" {%d+}\r\n%b" % (len(literal), literal)
        self.running.append((tag, command))
        self.socket.sendall(data + b"\r\n")
        return tag

    def run(self, name, text, *literals, **options):
        """Sends a command and reads until its answer, which is returned."""
        self.send(Command(name, **options), text, *literals)
        return self.finish()

    def ask(self, name, uid, text):
        """The untagged answers of a command that searches."""
        command = Command(name, uid)
        self.send(command, "UID " * uid + text)
        done = self.finish()
        assert " OK " in done, (text, done)
        return command.answers

    def finish(self):
        """Reads until all commands are answered; the last answer."""
        answer = None
        while self.running:
            answer = self.step() or answer
        return answer

    def step(self):
        """Reads one response and acts on it; the text of a tagged one."""
        text = self.read_response()
        if text.startswith("+"):
            return None
        command = self.running[0][1] if self.running else None
        if text.startswith("* "):
            self.on_untagged(text[2:], command)
            return None
        tag, command = self.running.popleft()
        assert text.startswith(tag + " "), (tag, text)
        if command.updates and not text.startswith(f"{tag} OK"):
            self.contexts.pop(tag, None)
        self.on_tagged(text[len(tag) + 1 :], command)
        return text

    # ---- what it is told ----

    def on_tagged(self, text, command):
        code = re.match(r"OK \[HIGHESTMODSEQ (\d+)\]", text)
        if code:
            command.code_modseq = int(code.group(1))
            assert command.name != "CLOSE", text
        failed = re.search(r"\[MODIFIED ([0-9:,]+)\]", text)
        assert not text.startswith("BAD"), (self, text, list(self.trace)[-12:])
        if command.silent and text.startswith("OK"):
            self.apply_silent(command, parse_set(failed.group(1)) if failed else [])
        if command.code_modseq is not None:
            self.modseq = command.code_modseq
        else:
            self.modseq = max(self.modseq, command.sent_modseq)
        if command.on_done:
            command.on_done(text)

    def apply_silent(self, command, failed):
        """STORE .SILENT: what was stored, where the server said nothing else."""
        messages, operation, flags = command.silent
        refused = {id(m) for m in self.messages if command.uid and m.uid in failed}
        if not command.uid:
            refused = {id(self.messages[n - 1]) for n in failed}
        for m in messages:
            if m.flags is None or id(m) in refused or m in command.flags_told:
                continue
            if operation == "+":
                m.flags = m.flags | flags
            elif operation == "-":
                m.flags = m.flags - flags
            else:
                m.flags = set(flags)

    def on_untagged(self, text, command):
        number = re.match(r"(\d+) (EXISTS|RECENT|EXPUNGE|FETCH|UIDFETCH)", text)
        if number:
            getattr(self, "on_" + number.group(2).lower())(int(number.group(1)), text, command)
        elif text.startswith("VANISHED "):
            self.on_vanished(text, command)
        elif text.startswith("OK [HIGHESTMODSEQ "):
            command.code_modseq = int(re.match(r"OK \[HIGHESTMODSEQ (\d+)\]", text).group(1))
        elif text.startswith("OK [UIDVALIDITY "):
            self.uidvalidity = int(re.match(r"OK \[UIDVALIDITY (\d+)\]", text).group(1))
        elif text.startswith("LIST "):
            self.listed = True
        elif text.startswith("ESEARCH ") and re.search(r" (ADDTO|REMOVEFROM) ", text):
            self.on_update(text, command)
        elif text.startswith("NO [NOUPDATE "):
            self.contexts.pop(self.running[0][0])
            command.updates = None
        elif text.startswith(("SEARCH", "ESEARCH", "SORT", "THREAD", "STATUS")):
            command.answers.append(text)
            if command.updates:
                self.contexts[self.running[0][0]] = (command.updates, set(expand(text)))
        elif text.startswith("BYE"):
            raise AssertionError(text)

    def on_update(self, text, command):
        tag = re.match(r'ESEARCH \(TAG "([^"]+)"\) UID ', text)[1]
        _, uids = self.contexts[tag]
        for item, pairs in re.findall(r"(ADDTO|REMOVEFROM) \(([^)]*)\)", text):
            words = pairs.split(" ")
            for changed in words[1::2]:
                told = set(parse_set(changed))
                if item == "ADDTO":
                    assert not told & uids, text
                    uids |= told
                else:
                    assert told <= uids, text
                    uids -= told

    def on_gone(self, uid, text):
        """RFC 5267 section 4.3.3: what an updating search loses is told before the message is."""
        for tag, (_, uids) in self.contexts.items():
            assert uid not in uids, (tag, text, list(self.trace)[-20:])

    def on_exists(self, count, text, command):
        if command.name == "SELECT":
            self.exists = count
            if not command.earlier:
                self.messages = [Message() for _ in range(count)]
            return
        assert count >= len(self.messages), (text, len(self.messages))
        while len(self.messages) < count:
            self.messages.append(Message())

    def on_recent(self, count, text, command):
        assert not self.rev2, text
        if command.name != "SELECT":
            assert count <= len(self.messages), text

    def on_expunge(self, number, text, command):
        assert command and command.may_expunge(), text
        assert not self.qresync and not self.uidonly, text
        assert 1 <= number <= len(self.messages), text
        self.on_gone(self.messages[number - 1].uid, text)
        del self.messages[number - 1]

    def on_vanished(self, text, command):
        assert self.qresync and command, text
        words = text.split(" ")
        if words[1] == "(EARLIER)":
            assert command.earlier, text
            gone = set(parse_set(words[2]))
            if command.name == "SELECT":
                self.cache = [m for m in self.cache if m.uid not in gone]
            else:
                assert not gone & {m.uid for m in self.messages}, text
            return
        assert command.may_expunge(), text
        for uid in parse_set(words[1]):
            self.on_gone(uid, text)
            self.remove_uid(uid, text)

    def remove_uid(self, uid, text):
        for i, m in enumerate(self.messages):
            if m.uid == uid:
                del self.messages[i]
                return
        if self.uidonly:
            assert uid > self.complete_to, (text, uid)
            self.messages.remove(self.unknown(text))
            return
        # One whose UID was never told: one of those that lie between its neighbours.
        for i, m in enumerate(self.messages):
            behind = [n.uid for n in self.messages[i + 1 :] if n.uid is not None]
            before = [n.uid for n in self.messages[:i] if n.uid is not None]
            if m.uid is None and (not before or before[-1] < uid) and (not behind or behind[0] > uid):
                del self.messages[i]
                return
        raise AssertionError((text, uid, [m.uid for m in self.messages]))

    def unknown(self, text):
        """Any message whose UID it was not told: without message numbers they are all the same."""
        for m in self.messages:
            if m.uid is None:
                return m
        raise AssertionError((text, [m.uid for m in self.messages]))

    def on_uidfetch(self, uid, text, command):
        assert self.uidonly, text
        items, _ = parse_list(text, text.index("("))
        data = dict(zip(items[0::2], items[1::2]))
        assert int(data.get("UID", uid)) == uid, text
        if command.name == "SELECT":
            self.on_resync_fetch(None, uid, data, text, command)
            return
        m = next((m for m in self.messages if m.uid == uid), None) or self.unknown(text)
        m.uid = uid
        self.take(m, data, command)
        if "FLAGS" in data:
            command.flags_told.add(m)
        if command.on_fetch:
            command.on_fetch(m, data, self.literals)

    def on_fetch(self, number, text, command):
        assert not self.uidonly, text
        items, _ = parse_list(text, text.index("("))
        data = dict(zip(items[0::2], items[1::2]))
        uid = int(data["UID"]) if "UID" in data else None
        if command.name == "SELECT":
            self.on_resync_fetch(number, uid, data, text, command)
            return
        assert 1 <= number <= len(self.messages), text
        m = self.messages[number - 1]
        if uid is not None:
            assert m.uid in (None, uid), (text, m.uid)
            m.uid = uid
        if self.condstore and command.name != "FETCH" and "FLAGS" in data:
            assert "MODSEQ" in data and uid is not None, text
        if self.rev2 and command.name != "FETCH":
            assert uid is not None and "\\Recent" not in text, text
        self.take(m, data, command)
        if "FLAGS" in data:
            command.flags_told.add(m)
        if command.on_fetch:
            command.on_fetch(m, data, self.literals)

    def take(self, m, data, command):
        if "FLAGS" in data:
            m.flags = {flag for flag in data["FLAGS"] if flag != "\\Recent"}
        if "MODSEQ" in data:
            m.modseq = int(data["MODSEQ"][0])
            command.sent_modseq = max(command.sent_modseq, m.modseq)

    def on_resync_fetch(self, number, uid, data, text, command):
        assert command.earlier and set(data) == {"UID", "FLAGS", "MODSEQ"}, text
        if number is not None:
            assert 1 <= number <= self.exists, text
            self.told_numbers[uid] = number
        for m in self.cache:
            if m.uid == uid:
                self.take(m, data, command)
                return
        # New to it: it will ask for all of those.

    # ---- selecting ----

    def select(self, verb="SELECT"):
        self.modseq = self.complete_to = 0
        self.contexts.clear()
        self.listed = False
        answer = self.run("SELECT", f"{verb} {self.mailbox}")
        assert " OK " in answer, answer
        assert self.listed == self.rev2
        self.selected = True
        self.learn()

    def known_prefix(self):
        """Messages up to the first that it knows nothing of: what it can speak of when it comes back."""
        if self.uidonly:
            return sorted((m for m in self.messages if (m.uid or 2**32) <= self.complete_to), key=lambda m: m.uid)
        prefix = []
        for m in self.messages:
            if m.uid is None or m.flags is None or (m.modseq is None and self.condstore):
                break
            prefix.append(m)
        return prefix

    def resync(self, with_uids, with_samples):
        """Comes back after a lost connection with nothing but its copy (RFC 7162 section 3.2.5)."""
        self.cache = self.known_prefix()
        modseq, uidvalidity = self.modseq, self.uidvalidity
        self.told_numbers = {}
        params = f"{uidvalidity} {modseq}"
        if with_uids and self.cache:
            params += " " + format_set(m.uid for m in self.cache)
        if with_samples and self.cache and not self.uidonly:
            numbers = sorted({1, len(self.cache) // 2 or 1, len(self.cache)})
            uids = [self.cache[n - 1].uid for n in numbers]
            params += f" ({format_set(numbers)} {format_set(uids)})"
        self.connect()
        answer = self.run("SELECT", f"SELECT {self.mailbox} (QRESYNC ({params}))", earlier=True)
        assert " OK " in answer, answer
        assert self.uidvalidity == uidvalidity
        self.selected = True
        assert len(self.cache) <= self.exists, (len(self.cache), self.exists)
        self.messages = self.cache + [Message() for _ in range(self.exists - len(self.cache))]
        for m in self.cache:
            assert self.told_numbers.get(m.uid, 0) in (0, self.messages.index(m) + 1)
        self.learn()

    def learn(self):
        """Asks for what it does not know of new messages."""
        known = self.known_prefix()
        if len(known) == len(self.messages):
            return
        first = known[-1].uid + 1 if known else 1
        items = "(FLAGS MODSEQ)" if self.condstore else "(FLAGS)"
        self.run("FETCH", f"UID FETCH {max(first, self.complete_to + 1)}:* {items}", uid=True)
        # Of a message that came meanwhile it may know the flags, told unasked, and of one before it nothing.
        if all(m.uid is not None for m in self.messages):
            self.complete_to = max([self.complete_to, *(m.uid for m in self.messages)])

    def settle(self):
        """Catches up; afterwards its copy must be the mailbox."""
        self.run("NOOP", "NOOP")
        self.learn()
        self.run("NOOP", "NOOP")
        self.learn()

    def copy(self):
        whole = [(m.uid, frozenset(m.flags or ["?"]), m.modseq if self.condstore else None) for m in self.messages]
        return sorted(whole, key=lambda m: m[0] or 0) if self.uidonly else whole
