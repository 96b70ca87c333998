# SPDX-License-Identifier: MIT
"""SEARCH, SORT and THREAD written a second time, as plainly as the RFCs read, over messages made at random."""

import base64
import datetime
import quopri
import random
import re
import unicodedata
from email.header import Header

MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
WORDS = ["lunch", "Budget", "report", "größe", "ÉTÉ", "Отчёт", "meeting", "Ｗide", "plan-b", "zebra", "Ωmega", "list"]
NAMES = ["Ann Lee", "bob", "Zoë", "Émile", "carol", "Дарья", "", "dan"]
BOXES = ["ann", "Bob", "zoe", "emile", "CAROL", "dan", "eve"]


def fold(text):
    """i;unicode-casemap (RFC 5051) for the characters used here."""
    return "".join(unicodedata.normalize("NFKD", c.title() if len(c.title()) == 1 else c) for c in text)


def key(text):
    return fold(text).encode()


class Message:
    def __init__(self, rng, n, earlier):
        self.n = n
        self.number = self.uid = 0
        self.flags = {f for f in ("\\Seen", "\\Flagged", "\\Answered", "$Work") if rng.random() < 0.3}
        self.internal = 1600000000 + rng.randrange(0, 40 * 86400)
        self.sent = None if rng.random() < 0.08 else self.internal - rng.randrange(-20, 20) * 43200
        self.zone = rng.choice([0, 60, 330, -300, 720])
        self.id = None if rng.random() < 0.1 else f"{n}.{rng.randrange(1000)}@ref.example"
        if earlier and rng.random() < 0.05:
            self.id = rng.choice(earlier).id
        self.references = self.make_references(rng, earlier)
        self.in_reply_to = rng.choice(earlier).id if earlier and rng.random() < 0.2 else None
        words = " ".join(rng.sample(WORDS, rng.choice([0, 1, 1, 1, 2])))
        self.subject = rng.choice(["", "", "Re: ", "[list] ", "fwd: ", "RE[2]: ", "[list] re: [x] "]) + words
        self.subject += rng.choice(["", "", "", " (fwd)"])
        if rng.random() < 0.05:
            self.subject = f"[Fwd: {words}]"
        self.sender = self.make_address(rng)
        self.to = [self.make_address(rng) for _ in range(rng.choice([0, 1, 1, 2]))]
        self.cc = [self.make_address(rng) for _ in range(rng.choice([0, 0, 1]))]
        self.body = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 40))) + "\r\n"
        self.coding = rng.choice(["8bit", "base64", "quoted-printable", "html"])

    @staticmethod
    def make_address(rng):
        return rng.choice(NAMES), rng.choice(BOXES), rng.choice(["a.example", "b.example"])

    @staticmethod
    def make_references(rng, earlier):
        if not earlier or rng.random() < 0.4:
            return []
        parent = rng.choice(earlier[-12:])
        found = [*parent.references[-rng.randrange(1, 6):], parent.id]
        if rng.random() < 0.15:
            found.append(f"nobody{rng.randrange(6)}@ref.example")
        if rng.random() < 0.1:
            found.insert(0, f"nobody{rng.randrange(6)}@ref.example")
        if rng.random() < 0.05:
            rng.shuffle(found)
        return [i for i in found if i]

    def address_text(self, address):
        name, box, host = address
        if not name:
            return f"{box}@{host}"
        return f"{name if name.isascii() else Header(name, 'utf-8').encode()} <{box}@{host}>"

    def text(self):
        lines = [f"From: {self.address_text(self.sender)}"]
        if self.to:
            lines.append("To: " + ",\r\n ".join(map(self.address_text, self.to)))
        if self.cc:
            lines.append("Cc: " + ", ".join(map(self.address_text, self.cc)))
        subject = self.subject if self.subject.isascii() else Header(self.subject, "utf-8", maxlinelen=60).encode(
            linesep="\r\n")
        lines.append(f"Subject: {subject}")
        if self.sent is not None:
            t = datetime.datetime.fromtimestamp(self.sent, datetime.timezone(datetime.timedelta(minutes=self.zone)))
            lines.append(f"Date: {t.day} {MONTHS[t.month - 1]} {t:%Y %H:%M:%S %z}")
        if self.id:
            left, right = self.id.split("@")
            lines.append(f'Message-ID: <"{left}"@{right}>' if self.n % 7 == 0 else f"Message-ID: <{self.id}>")
        if self.references:
            lines.append("References: " + "\r\n ".join(f"<{i}>" for i in self.references))
        if self.in_reply_to:
            lines.append(f"In-Reply-To: <{self.in_reply_to}>")
        kind = "text/html" if self.coding == "html" else "text/plain"
        lines += ["MIME-Version: 1.0", f"Content-Type: {kind}; charset=utf-8"]
        body = self.body.encode()
        if self.coding == "base64":
            body = base64.encodebytes(body).replace(b"\n", b"\r\n")
        elif self.coding == "quoted-printable":
            body = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        elif self.coding == "html":
            body = b"<html><b>" + body.replace(b" ", b" <i></i>") + b"</b></html>\r\n"
        coding = "8bit" if self.coding == "html" else self.coding
        lines.append(f"Content-Transfer-Encoding: {coding}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    @property
    def date(self):
        return self.internal if self.sent is None else self.sent

    @property
    def refs(self):
        return self.references or ([self.in_reply_to] if self.in_reply_to else [])

    @property
    def base(self):
        return base_subject(self.subject)


def base_subject(subject):
    """RFC 5256 section 2.1: (base subject, whether it is a reply or forward)."""
    text = re.sub(r"[ \t]+", " ", subject)
    blob, reply = r"\[[^][]*\] *", False
    while True:
        before_all = text
        while (cut := re.sub(r"( |\(fwd\))$", "", text, flags=re.I)) != text:
            reply |= text.lower().endswith("(fwd)")
            text = cut
        while True:
            before = text
            if match := re.match(rf"({blob})*(re|fwd?) *({blob})?:", text, re.I):
                text, reply = text[match.end():], True
            elif text.startswith(" "):
                text = text[1:]
            elif (match := re.match(blob, text)) and match.end() < len(text):
                text = text[match.end():]
            if text == before:
                break
        if match := re.fullmatch(r"\[fwd:(.*)\]", text, re.I):
            text, reply = match[1], True
        elif text == before_all or not re.search(r"( |\(fwd\))$", text, re.I):
            return text, reply


# ---- SORT ----

def display(addresses):
    if not addresses:
        return b""
    name, box, host = addresses[0]
    return key(name or f"{box}@{host}")


SORT_KEYS = {
    "ARRIVAL": lambda m: m.internal,
    "CC": lambda m: key(m.cc[0][1]) if m.cc else b"",
    "DATE": lambda m: m.date,
    "DISPLAYFROM": lambda m: display([m.sender]),
    "DISPLAYTO": lambda m: display(m.to),
    "FROM": lambda m: key(m.sender[1]),
    "SIZE": lambda m: len(m.text()),
    "SUBJECT": lambda m: key(m.base[0]),
    "TO": lambda m: key(m.to[0][1]) if m.to else b"",
}


def sort(messages, program):
    """program: [(key, reverse)]"""
    found = sorted(messages, key=lambda m: m.number)
    for name, reverse in reversed(program):
        # Python's sort keeps the order of equals also when it is reversed.
        found.sort(key=SORT_KEYS[name], reverse=reverse)
    return found


# ---- SEARCH ----

def contains(text, needle):
    return key(needle) in key(text)


def headers(m):
    return {"FROM": [m.sender], "TO": m.to, "CC": m.cc}


def day(text):
    d, month, y = text.split("-")
    return datetime.date(int(y), MONTHS.index(month) + 1, int(d))


def utc_day(seconds, zone=0):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone(datetime.timedelta(minutes=zone))).date()


def atom_key(rng):
    """A random key: (text, predicate)."""
    word = rng.choice(WORDS)
    date = datetime.date(2020, 9, 13) + datetime.timedelta(days=rng.randrange(45))
    date_text = f"{date.day}-{MONTHS[date.month - 1]}-{date.year}"
    size = rng.randrange(200, 900)
    box = rng.choice(["an", "BOB", "@a.example", "zo", "Émi"])
    low = rng.randrange(1, 100)
    kinds = [
        (f'SUBJECT "{word}"', lambda m: contains(m.subject, word)),
        (f'BODY "{word}"', lambda m: contains(m.body, word)),
        (f'TEXT "{word}"', lambda m: contains(m.body, word) or contains(m.subject, word)),
        (f'FROM "{box}"', lambda m: contains(f"{m.sender[0]} <{m.sender[1]}@{m.sender[2]}>", box)),
        (f'TO "{box}"', lambda m: any(contains(f"{a[0]} <{a[1]}@{a[2]}>", box) for a in m.to)),
        (f'CC "{box}"', lambda m: any(contains(f"{a[0]} <{a[1]}@{a[2]}>", box) for a in m.cc)),
        ('HEADER References ""', lambda m: bool(m.references)),
        ("SEEN", lambda m: "\\Seen" in m.flags),
        ("UNFLAGGED", lambda m: "\\Flagged" not in m.flags),
        ("KEYWORD $work", lambda m: "$Work" in m.flags),
        ("UNKEYWORD $none", lambda m: True),
        (f"LARGER {size}", lambda m: len(m.text()) > size),
        (f"SMALLER {size}", lambda m: len(m.text()) < size),
        (f"SINCE {date_text}", lambda m: utc_day(m.internal) >= date),
        (f"BEFORE {date_text}", lambda m: utc_day(m.internal) < date),
        (f"ON {date_text}", lambda m: utc_day(m.internal) == date),
        (f"SENTSINCE {date_text}", lambda m: m.sent is not None and utc_day(m.sent, m.zone) >= date),
        (f"SENTBEFORE {date_text}", lambda m: m.sent is not None and utc_day(m.sent, m.zone) < date),
        (f"SENTON {date_text}", lambda m: m.sent is not None and utc_day(m.sent, m.zone) == date),
        (f"{low}:{low + 30}", lambda m: low <= m.number <= low + 30),
        (f"UID {low}:{low + 40}", lambda m: low <= m.uid <= low + 40),
        ("OLDER 86400", lambda m: True),
        ("YOUNGER 86400", lambda m: False),
    ]
    return rng.choice(kinds)


def random_key(rng, depth=3):
    kind = rng.random()
    if depth == 0 or kind < 0.5:
        return atom_key(rng)
    text, test = random_key(rng, depth - 1)
    if kind < 0.65:
        return f"NOT {text}", lambda m: not test(m)
    text2, test2 = random_key(rng, depth - 1)
    if kind < 0.85:
        return f"OR {text} {text2}", lambda m: test(m) or test2(m)
    return f"({text} {text2})", lambda m: test(m) and test2(m)


# ---- THREAD ----

class Node:
    def __init__(self, message=None):
        self.message, self.parent, self.children = message, None, []

    def attach(self, parent):
        if self.parent:
            self.parent.children.remove(self)
        self.parent = parent
        if parent:
            parent.children.append(self)

    def above(self, other):
        while other:
            if other is self:
                return True
            other = other.parent
        return False

    def lead(self):
        return self.message or self.children[0].message

    def order(self):
        return self.lead().date, self.lead().number

    def sort(self):
        for child in self.children:
            child.sort()
        self.children.sort(key=Node.order)

    def latest(self):
        """When the last of its messages arrived."""
        return max([c.latest() for c in self.children] + ([self.message.internal] if self.message else []))

    def prune(self, top):
        for child in list(self.children):
            child.prune(False)
        if self.message:
            return
        if self.children and top and len(self.children) > 1:
            return
        parent = self.parent
        for child in list(self.children):
            child.attach(parent)
        self.attach(None)


def link(messages):
    nodes, root = {}, Node()
    everything = []

    def node_of(i):
        if i not in nodes:
            nodes[i] = Node()
            everything.append(nodes[i])
        return nodes[i]

    for m in messages:
        node = node_of(m.id) if m.id else None
        if node is None or node.message:
            node = Node()
            everything.append(node)
        node.message = m
        last = None
        for i in m.refs:
            ref = node_of(i)
            if last and not ref.parent and not ref.above(last):
                ref.attach(last)
            last = ref
        node.attach(None)
        if last and not node.above(last):
            node.attach(last)
    for node in everything:
        if not node.parent:
            node.attach(root)
    for node in list(root.children):
        node.prune(True)
    return root


def merge(root):
    table = {}

    def subject(node):
        return key(node.lead().base[0])

    def reply(node):
        return node.message is not None and node.message.base[1]

    for node in root.children:
        s = subject(node)
        if not s:
            continue
        old = table.get(s)
        if old is None or (old.message and (not node.message or (reply(old) and not reply(node)))):
            table[s] = node
    for node in list(root.children):
        s = subject(node)
        if not s or table[s] is node:
            continue
        old = table[s]
        if not node.message and not old.message:
            for child in list(node.children):
                child.attach(old)
            node.attach(None)
        elif not old.message or (reply(node) and not reply(old)):
            node.attach(old)
        else:
            dummy = Node()
            dummy.attach(root)
            node.attach(dummy)
            old.attach(dummy)
            table[s] = dummy


def write(node, number):
    out, at = "", node
    while True:
        if at.message:
            out += (" " if out else "") + str(number(at.message))
        if len(at.children) != 1:
            break
        at = at.children[0]
    if at.children:
        out += (" " if out else "") + "".join(write(c, number) for c in at.children)
    return f"({out})"


def thread(messages, algorithm, number=lambda m: m.number):
    messages = sorted(messages, key=lambda m: m.number)
    if algorithm == "ORDEREDSUBJECT":
        threads = {}
        for m in sorted(messages, key=lambda m: (m.date, m.number)):
            threads.setdefault(key(m.base[0]), []).append(m)
        root = Node()
        for first, *rest in threads.values():
            top = Node(first)
            top.attach(root)
            for m in rest:
                Node(m).attach(top)
    else:
        root = link(messages)
        if algorithm == "REFERENCES":
            root.sort()
            merge(root)
    root.sort()
    if algorithm == "REFS":
        root.children.sort(key=lambda n: (n.latest(), n.order()[1]))
    return "".join(write(n, number) for n in root.children)


def make_messages(count, seed):
    rng = random.Random(seed)
    messages = []
    for n in range(count):
        messages.append(Message(rng, n, messages))
    return messages
