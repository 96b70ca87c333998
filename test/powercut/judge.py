# SPDX-License-Identifier: MIT
"""Whether what is there after a power cut keeps what had been promised before it."""

import os
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

from drive import REPORT, TOKEN


class Promises:
    """What the marks up to some point say."""

    def __init__(self, texts):
        self.texts = texts
        self.wanted = {}  # instance -> (key, token)
        self.have = set()
        self.told = defaultdict(dict)  # key -> uid -> (token, date)
        self.may_go = defaultdict(set)  # key -> uids
        self.moved = defaultdict(set)
        self.names = {}  # key -> names it may have now
        self.box_user = {}
        self.box_gone = set()
        self.validity = {}  # key -> UIDVALIDITY
        self.next = Counter()
        self.modseq = Counter()
        self.groups = []  # marks of what is done as a whole or not at all
        self.trees = []
        self.queued = {}  # token -> (id, recipients)
        self.sent = defaultdict(set)

    def apply(self, e):
        kind = e["e"]
        if "k" in e:
            self.box_user[e["k"]] = e["user"]
        if kind == "want":
            self.wanted[e["i"]] = (e["k"], e["t"])
            self.names.setdefault(e["k"], {"INBOX"})
        elif kind == "have":
            self.have.add(e["i"])
        elif kind == "told":
            old = self.told[e["k"]].get(e["u"])
            assert old is None or old[0] == e["t"], f"UID {e['u']} was {old} and is {e['t']} without a power cut"
            self.told[e["k"]][e["u"]] = (e["t"], e["date"] or (old and old[1]))
            self.validity[e["k"]] = e["v"]
        elif kind == "maygo":
            self.may_go[e["k"]].update(e["u"])
        elif kind == "moved":
            self.moved[e["k"]].update(e["u"])
        elif kind == "box":
            self.names[e["k"]] = {e["name"]}
            self.validity[e["k"]] = e["v"]
        elif kind == "boxmay":
            self.names[e["k"]] = set(e["names"])
            if e["gone"]:
                self.box_gone.add(e["k"])
        elif kind == "boxis":
            self.names[e["k"]] = set(e["names"])
            self.box_gone.discard(e["k"])
        elif kind == "boxgone":
            self.box_gone.add(e["k"])
        elif kind == "seq":
            at = e["user"], e["v"]
            self.next[at] = max(self.next[at], e["next"])
            self.modseq[at] = max(self.modseq[at], e["modseq"])
        elif kind == "group":
            self.groups.append(e)
        elif kind == "tree":
            self.trees.append(e)
        elif kind == "queued":
            self.queued[e["t"]] = (e["id"], e["rcpts"])
        elif kind == "sent":
            self.sent[e["t"]].update(e["rcpts"])


def compare(p, key, seen):
    """Faults of a mailbox as a client sees it: seen is uid -> token."""
    faults = []
    told = p.told[key]
    for uid, (token, _) in told.items():
        if uid not in seen and uid not in p.may_go[key]:
            faults.append(f"{key}: UID {uid}, {token} is lost")
    strangers = Counter(token for uid, token in seen.items() if uid not in told)
    kept = Counter(t for i, (k, t) in p.wanted.items() if k == key and i in p.have)
    wanted = Counter(t for k, t in p.wanted.values() if k == key)
    for counter in (kept, wanted):
        counter.subtract(Counter(t for t, _ in told.values()))
    faults += [f"{key}: {token} is lost" for token, count in kept.items() if strangers[token] < count]
    faults += [f"{key}: {token} came from nowhere" for token, n in strangers.items() if token and n > wanted[token]]
    return faults


class Recovery:
    """The program that opens the states."""

    def __init__(self, program):
        self.program = program
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)

    def ask(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        rows = []
        while True:
            answer = self.process.stdout.readline()
            if not answer:
                self.process.wait()
                status = self.process.returncode
                self.start()
                return [["error", f"crash, status {status}"]]
            if answer == b"end\n":
                return rows
            rows.append(os.fsdecode(answer).rstrip("\n").split("\t"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Judge:
    def __init__(self, promises, recovery, state, keeps=0):
        self.keeps = keeps  # seconds that expunged messages are kept
        self.seen = defaultdict(dict)  # key -> uid -> (token, path)
        self.p = promises
        self.recovery = recovery
        self.state = Path(state)
        self.faults = []

    def fault(self, text):
        self.faults.append(text)

    def mail(self, user):
        home = self.state / "mail" / "example.test" / user
        keys = [k for k, u in self.p.box_user.items() if u == user]
        if not keys:
            return
        boxes, messages, following = {}, defaultdict(dict), {}
        for row in self.recovery.ask(f"mail {home}/Maildir {home}/index {self.keeps}"):
            if row[0] == "error":
                self.fault(f"{user}: the mail cannot be opened: {row[1]}")
            elif row[0] == "mailbox":
                box = row[1]
                boxes[box] = [int(n) for n in row[2:]]
            elif row[0] == "message":
                messages[box][int(row[1])] = (int(row[3]), int(row[5]), row[6])
            elif row[0] == "next":
                following[int(row[1])] = (int(row[2]), int(row[3]))
        if len({b[0] for b in boxes.values()}) != len(boxes):
            self.fault(f"{user}: two mailboxes have one UIDVALIDITY: {boxes}")
        for key in keys:
            self.mailbox(user, key, boxes, messages, following)
        for group in [g for g in self.p.groups if g["user"] == user]:
            self.group(group, boxes, messages)
        for tree in [t for t in self.p.trees if t["user"] == user]:
            self.tree(tree["names"], boxes)
        if self.keeps:
            self.kept(user, keys)

    def group(self, group, boxes, messages):
        """All of its messages are there, or none; and what they were moved from, or replace, is not, or is."""
        key, name = group["k"], self.find_box(group["k"], boxes)
        tokens = [self.p.wanted[i][1] for i in group["i"]]
        open_instances = [t for i, (k, t) in self.p.wanted.items() if k == key and i not in self.p.have]
        if name is None or all(i in self.p.have for i in group["i"]) or len(set(open_instances)) < len(open_instances):
            return  # all of it was promised anyway, or others of the same text cannot be told from them
        told = self.p.told[key]
        new = Counter(token for uid, (token, _) in self.seen[key].items() if uid not in told or token in tokens)
        there = [new[token] > 0 for token in tokens]
        if len(set(there)) > 1:
            self.fault(f"{key} {name}: of one change {tokens} are there: {there}")
        source = self.find_box(group["src"], boxes) if "src" in group else None
        for uid in group["uids"] if source else []:
            if (uid in messages[source]) == all(there):
                self.fault(f"{group['src']} {source}: UID {uid} is {'there too' if all(there) else 'gone'}")

    def tree(self, names, boxes):
        if any(len(self.p.names[key]) < 2 for key in names):
            return
        new = {key: self.find_box(key, boxes) == pair[1] for key, pair in names.items()}
        if len(set(new.values())) > 1:
            self.fault(f"a tree was renamed in part: {new}, {names}")

    def kept(self, user, keys):
        """Expunged messages are kept: each that was ever told is somewhere."""
        somewhere = {token for key in keys for token, _ in self.seen[key].values()}
        maildir = self.state / "mail" / "example.test" / user / "Maildir"
        for path in maildir.glob("..roost-expunged/*/*"):
            if path.name != "keywords":
                somewhere.add(self.read(path, path.stat().st_size, f"{user}, kept"))
        for key in keys:
            for uid, (token, _) in self.p.told[key].items():
                if token not in somewhere:
                    self.fault(f"{key}: {token}, UID {uid}, is nowhere")

    def find_box(self, key, boxes):
        validity = self.p.validity.get(key)
        names = self.p.names[key]
        if validity is None:
            found = [n for n in names if n in boxes]
        else:
            found = [n for n, b in boxes.items() if b[0] == validity]
        if not found:
            if key not in self.p.box_gone and (validity or self.must_have(key)):
                self.fault(f"{key}: no mailbox {names} with UIDVALIDITY {validity}: {boxes}")
            return None
        if found[0] not in names:
            self.fault(f"{key}: called {found[0]}, not {names}")
        return found[0]

    def must_have(self, key):
        """token -> how often, of the messages whose UID nobody was told."""
        counts = Counter(t for i, (k, t) in self.p.wanted.items() if k == key and i in self.p.have)
        counts.subtract(Counter(t for t, _ in self.p.told[key].values()))
        return +counts

    def mailbox(self, user, key, boxes, messages, following):
        name = self.find_box(key, boxes)
        if name is None:
            return
        validity, next_uid, modseq, _ = boxes[name]
        told = self.p.told[key]
        there = messages[name]
        strangers = Counter()
        for uid, (date, size, path) in there.items():
            token = self.read(path, size, f"{key} {name} UID {uid}")
            if token is None:
                continue
            self.seen[key][uid] = token, path
            if uid in told:
                if told[uid][0] != token:
                    self.fault(f"{key} {name}: UID {uid} was {told[uid][0]} and is {token}")
                if told[uid][1] and int(told[uid][1]) != date:
                    self.fault(f"{key} {name}: UID {uid}, {token}: date {told[uid][1]} became {date}")
            else:
                strangers[token] += 1
        for uid, (token, _) in told.items():
            if uid not in there and uid not in self.p.may_go[key] and key not in self.p.box_gone:
                self.fault(f"{key} {name}: UID {uid}, {token} is lost")
        for uid in self.p.moved[key]:
            if uid in there:
                self.fault(f"{key} {name}: UID {uid} was moved away and is there")
        for token, count in self.must_have(key).items():
            if strangers[token] < count and key not in self.p.box_gone:
                self.fault(f"{key} {name}: {token} is lost")
        wanted = Counter(t for k, t in self.p.wanted.values() if k == key)
        wanted.subtract(Counter(t for t, _ in told.values()))
        for token, count in strangers.items():
            if count > wanted[token]:
                self.fault(f"{key} {name}: {token} is there {count} times as a new message")
        self.numbers(user, key, name, boxes[name], told, following)

    def numbers(self, user, key, name, box, told, following):
        validity, next_uid, modseq, _ = box
        least = max([self.p.next[user, validity], *(uid + 1 for uid in told)])
        if next_uid < least:
            self.fault(f"{key} {name}: UIDNEXT {next_uid} after {least}")
        if modseq < self.p.modseq[user, validity]:
            self.fault(f"{key} {name}: HIGHESTMODSEQ {modseq} after {self.p.modseq[user, validity]}")
        if validity not in following:
            self.fault(f"{key} {name}: takes no further message")
            return
        uid, after = following[validity]
        if uid < least or uid < next_uid:
            self.fault(f"{key} {name}: the next message has UID {uid} after {least}, {next_uid}")
        if after <= self.p.modseq[user, validity]:
            self.fault(f"{key} {name}: the next MODSEQ is {after}")

    def read(self, path, size, what):
        try:
            content = Path(path).read_bytes()
        except OSError as e:
            self.fault(f"{what}: {e}")
            return None
        if len(content) != size:
            self.fault(f"{what}: {len(content)} bytes, not {size}")
        if REPORT in content or b"after the power came back" in content:
            return None
        found = TOKEN.search(content)
        text = self.p.texts.get(found[1].decode()) if found else None
        if text is None or not content.replace(b"\r\n", b"\n").endswith(text.replace(b"\r\n", b"\n")):
            self.fault(f"{what}: half a message: {content[:60]!r}... {len(content)} bytes")
            return None
        return found[1].decode()

    # ---- the queue ----

    def queue(self, durable):
        """durable(id) -> content of the queue file that is certain, or None."""
        found = {}
        reports = []
        for path in sorted((self.state / "queue").glob("*/*")):
            if path.name.startswith("."):
                continue
            rows = self.recovery.ask(f"queue {path} {path.name}")
            if rows[0][0] == "error":
                found.setdefault(path.name, rows[0][1])
                continue
            content = path.read_bytes()[int(rows[0][2]):][:int(rows[0][3])]
            if REPORT in content:
                reports.append(content)
                continue
            if path.name in found:
                self.fault(f"{path.name} is in the queue twice")
            found[path.name] = {r[1]: r[2:] for r in rows[1:]}
            token = TOKEN.search(content)
            if not token or not content.endswith(self.p.texts[token[1].decode()]):
                self.fault(f"{path.name}: half a message is in the queue")
            self.statuses(path, found[path.name], durable(path.name))
        mail = self.reports_in_mail()
        for token, (queue_id, recipients) in self.p.queued.items():
            entry = found.get(queue_id)
            if isinstance(entry, str):
                self.fault(f"{token}, {queue_id} cannot be read: {entry}")
                continue
            for recipient in recipients:
                if recipient.endswith("@example.test") or recipient in self.p.sent[token]:
                    continue
                if entry and recipient in entry:
                    continue
                if any(recipient.encode() in r and token.encode() in r for r in reports + mail):
                    continue
                self.fault(f"{token}, {queue_id}: nothing is known of {recipient}")

    def statuses(self, path, now, certain):
        if not certain:
            return
        before = path.with_name("." + path.name)
        before.write_bytes(certain)
        rows = self.recovery.ask(f"queue {before} {path.name}")
        before.unlink()
        for row in rows[1:]:
            if row[2] != "pending" and now[row[1]][0] == "pending":
                self.fault(f"{path.name}: {row[1]} was {row[2]} and is pending")
            if row[3] == "1" and now[row[1]][1] != "1":
                self.fault(f"{path.name}: the report about {row[1]} would be written again")

    def reports_in_mail(self):
        found = []
        for path in (self.state / "mail").glob("*/*/Maildir/*/*"):
            if path.is_file():
                content = path.read_bytes()
                if REPORT in content:
                    found.append(content)
        return found
