# SPDX-License-Identifier: MIT
"""What a power cut may leave of recorded file operations.

The file system is one that journals its own structures and promises no more than POSIX does: what
fsync covered is there; a change of a directory entry that no fsync of the directory covered is there
or not, each for itself; data that was not synced are lost, kept, torn or zeros. A rename happens as
a whole or not at all. A change that takes an entry away presupposes the one that made it.
"""

import os
import random
import struct
from dataclasses import dataclass, field

MARK, CREATE, OPEN, WRITE, SYNC, TRUNCATE, TIMES, RENAME, LINK, UNLINK, MKDIR, DUP = range(12)
NAMES = ["mark", "create", "open", "write", "sync", "truncate", "times", "rename", "link", "unlink", "mkdir", "dup"]
HEADER = struct.Struct("=IIQQQQqqqqIIII")
LOG_START = 4096


@dataclass
class Record:
    call: int
    ino: int
    dir: int
    dir2: int
    off: int
    mtime: tuple
    dir_mtime: tuple
    name: str
    name2: str
    data: bytes


def read_log(path):
    records = []
    with open(path, "rb") as f:
        end = struct.unpack("=QQ", f.read(16))[1]
        f.seek(LOG_START)
        log = f.read(end)
    at = 0
    while at < end:
        size, call, ino, dir1, dir2, off, sec, nsec, dsec, dnsec, n1, n2, n3, _ = HEADER.unpack_from(log, at)
        p = at + HEADER.size
        records.append(Record(call, ino, dir1, dir2, off, (sec, nsec), (dsec, dnsec), os.fsdecode(log[p:p + n1]),
                              os.fsdecode(log[p + n1:p + n1 + n2]), log[p + n1 + n2:p + n1 + n2 + n3]))
        at += size
    return records


class Node:
    """A file or directory; a number that is used again is another node."""

    def __init__(self, label, is_dir):
        self.label = label
        self.is_dir = is_dir
        self.durable = b""
        self.current = bytearray()
        self.writes = []  # not synced: (offset, data), or (length, None) for a truncation
        self.mtime = self.durable_mtime = (0, 0)
        self.entries = {}  # what is certain, of a directory: name -> (number of the change, node or None)

    def change(self, content, off, data):
        if data is None:
            del content[off:]
            content.extend(bytes(off - len(content)))
        else:
            if len(content) < off:
                content.extend(bytes(off - len(content)))
            content[off:off + len(data)] = data

    def write(self, off, data, mtime):
        self.change(self.current, off, data)
        self.writes.append((off, data))
        self.mtime = mtime

    def sync(self, mtime):
        self.durable = bytes(self.current)
        self.writes = []
        self.durable_mtime = self.mtime = mtime

    def after_cut(self, choice):
        """Content and modification time that a cut leaves."""
        if not self.writes:
            return self.durable, choice.choice((self.mtime, self.durable_mtime)) if choice else self.mtime
        how = choice.choice(("all", "none", "prefix", "zeros", "some")) if choice else "all"
        content = bytearray(self.durable)
        if how == "all":
            return bytes(self.current), self.mtime
        if how == "zeros":
            content.extend(bytes(max(0, len(self.current) - len(content))))
        elif how == "prefix":
            kept = choice.randrange(len(self.writes))
            for off, data in self.writes[:kept]:
                self.change(content, off, data)
            off, data = self.writes[kept]
            if data:
                self.change(content, off, data[:choice.randrange(len(data) + 1)])
        elif how == "some":
            for off, data in self.writes:
                if choice.random() < 0.5:
                    self.change(content, off, data)
        return bytes(content), choice.choice((self.mtime, self.durable_mtime))


@dataclass
class Change:
    """Of directory entries, not yet certain."""
    number: int
    text: str
    effects: list  # (directory, name, node or None)
    needs: list = field(default_factory=list)


class Disk:
    def __init__(self, root):
        self.root = Node("", True)
        self.nodes = {os.stat(root).st_ino: self.root}
        self.entries = {}  # (directory, name) -> node, as the running system saw it
        self.setter = {}  # (directory, name) -> the change that made it
        self.pending = {}  # number -> Change, in order
        self.number = 0

    def node(self, ino, label="?", is_dir=False, new=False):
        if new or ino not in self.nodes:
            self.nodes[ino] = Node(label, is_dir)
        return self.nodes[ino]

    def add(self, text, effects, source=None):
        self.number += 1
        change = Change(self.number, text, effects)
        maker = self.setter.get(source)
        if maker and maker.number in self.pending:
            change.needs.append(maker.number)
        for directory, name, node in effects:
            self.entries[directory, name] = node
            self.setter[directory, name] = change
        self.pending[change.number] = change
        if any(directory is self.root for directory, _, _ in effects):
            self.settle(change.number)  # the directories that an administrator made

    def settle(self, number):
        change = self.pending.pop(number, None)
        if not change:
            return
        for other in change.needs:
            self.settle(other)
        for directory, name, node in change.effects:
            if directory.entries.get(name, (0,))[0] < number:
                directory.entries[name] = (number, node)

    def apply(self, r):
        if r.call in (CREATE, MKDIR):
            directory = self.node(r.dir, is_dir=True)
            node = self.node(r.ino, f"{directory.label}/{r.name}", r.call == MKDIR, new=True)
            node.mtime = r.mtime
            self.add(f"{NAMES[r.call]} {node.label}", [(directory, r.name, node)])
            directory.mtime = r.dir_mtime
        elif r.call == LINK:
            directory = self.node(r.dir, is_dir=True)
            self.add(f"link {directory.label}/{r.name}", [(directory, r.name, self.node(r.ino))])
            directory.mtime = r.dir_mtime
        elif r.call == UNLINK:
            directory = self.node(r.dir, is_dir=True)
            self.add(f"unlink {directory.label}/{r.name}", [(directory, r.name, None)], (directory, r.name))
            directory.mtime = r.dir_mtime
        elif r.call == RENAME:
            source, target = self.node(r.dir, is_dir=True), self.node(r.dir2, is_dir=True)
            node = self.node(r.ino)
            self.add(f"rename {source.label}/{r.name} to {target.label}/{r.name2}",
                     [(source, r.name, None), (target, r.name2, node)], (source, r.name))
            node.label = f"{target.label}/{r.name2}"
            source.mtime, target.mtime = r.dir_mtime, r.mtime
        elif r.call == WRITE:
            self.node(r.ino).write(r.off, r.data, r.mtime)
        elif r.call == TRUNCATE:
            self.node(r.ino).write(r.off, None, r.mtime)
        elif r.call == TIMES:
            self.node(r.ino).mtime = r.mtime
        elif r.call == SYNC:
            node = self.node(r.ino)
            if not node.is_dir:
                node.sync(r.mtime)
                return
            for number in [c.number for c in self.pending.values() if any(e[0] is node for e in c.effects)]:
                self.settle(number)

    # ---- states ----

    def closed(self, wanted):
        """Those of the wanted changes whose own makers are wanted too."""
        kept = set()
        for number, change in self.pending.items():
            if number in wanted and all(n in kept or n not in self.pending for n in change.needs):
                kept.add(number)
        return kept

    def choose(self, choice):
        """Changes that the cut left, and a word for how they were chosen."""
        numbers = list(self.pending)
        how = choice.choice(("all", "none", "most", "half", "few", "all but one", "one", "newest"))
        if how == "all" or not numbers:
            return set(numbers), "all"
        if how == "none":
            return set(), how
        if how == "all but one":
            return self.closed(set(numbers) - {choice.choice(numbers[-12:])}), how
        if how == "one":
            wanted, queue = set(), [choice.choice(numbers[-12:])]
            while queue:
                number = queue.pop()
                if number in self.pending and number not in wanted:
                    wanted.add(number)
                    queue += self.pending[number].needs
            return self.closed(wanted), how
        if how == "newest":
            return self.closed(set(numbers[-choice.randrange(1, 8):])), how
        share = {"most": 0.9, "half": 0.5, "few": 0.1}[how]
        return self.closed({n for n in numbers if choice.random() < share}), how

    def tree(self, kept):
        """directory -> {name: node} with the changes kept."""
        found = {}
        latest = {}
        for number in sorted(kept):
            for directory, name, node in self.pending[number].effects:
                if directory.entries.get(name, (0,))[0] < number:
                    latest[directory, name] = node
        for (directory, name), node in latest.items():
            found.setdefault(directory, {})[name] = node
        return found

    def build(self, path, kept, choice, skip=()):
        """Makes the state below path. choice None: data as the system had them. skip: paths left out."""
        changed = self.tree(kept)
        lost = {e[0] for n, c in self.pending.items() if n not in kept for e in c.effects}
        placed = {}
        times = []
        os.mkdir(path)
        queue = [(self.root, path, "")]
        while queue:
            directory, at, label = queue.pop()
            entries = {name: node for name, (_, node) in directory.entries.items()}
            entries.update(changed.get(directory, {}))
            for name, node in entries.items():
                target, inner = f"{at}/{name}", f"{label}/{name}"
                if node is None or inner in skip:
                    continue
                if node.is_dir:
                    os.mkdir(target)
                    queue.append((node, target, inner))
                    if node not in lost:
                        times.append((target, node.mtime))
                elif node in placed:
                    os.link(placed[node], target)
                elif name != "lock.mdb":
                    content, mtime = node.after_cut(choice)
                    with open(target, "wb") as f:
                        f.write(content)
                    if mtime != (0, 0):
                        os.utime(target, ns=(mtime[0] * 10**9 + mtime[1],) * 2)
                    placed[node] = target
        for target, mtime in times:
            if mtime != (0, 0):
                os.utime(target, ns=(mtime[0] * 10**9 + mtime[1],) * 2)

    def describe(self, kept):
        return [f"{'kept' if n in kept else 'LOST'}: {c.text}" for n, c in self.pending.items()]


def chooser(seed, *words):
    return random.Random(f"{seed}/{'/'.join(map(str, words))}")
