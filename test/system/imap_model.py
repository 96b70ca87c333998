# SPDX-License-Identifier: MIT
"""What SEARCH, SORT, THREAD and updating searches must answer about a mailbox whose messages are known."""

import copy
import datetime
import re

import imap_reference as ref

HEADER = "X-Storm"


class Model:
    """Every message that was ever made, found again in any mailbox by the number in its header."""

    def __init__(self, rng):
        self.random, self.made = rng, {}

    def make(self):
        """The bytes of a new message."""
        n = len(self.made) + 1
        m = ref.Message(self.random, n, list(self.made.values())[-20:])
        whole = f"{HEADER}: {n}\r\n".encode() + m.text()
        m.text = lambda: whole
        self.made[n] = m
        return whole

    def date(self):
        """The INTERNALDATE for the last of them."""
        when = datetime.datetime.fromtimestamp(self.made[len(self.made)].internal, datetime.timezone.utc)
        return f'"{when.day:2}-{ref.MONTHS[when.month - 1]}-{when:%Y %H:%M:%S} +0000"'

    def mailbox(self, judge):
        """Its messages as they are now, with numbers, UIDs, flags and dates; judge has it selected."""
        found = []

        def note(m, data, literals):
            message = copy.copy(self.made[int(literals[-1].split(b":")[1])])
            message.uid, message.flags = int(data["UID"]), {flag for flag in data["FLAGS"] if flag != "\\Recent"}
            date = data["INTERNALDATE"].strip('"').strip()
            message.internal = int(datetime.datetime.strptime(date, "%d-%b-%Y %H:%M:%S %z").timestamp())
            found.append(message)

        judge.run("FETCH", f"UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[HEADER.FIELDS ({HEADER})])", uid=True,
                  on_fetch=note)
        for number, message in enumerate(found, 1):
            message.number = number
        return found

    def key(self, numbers=True):
        """A search key and what it says of a message; numbers: message numbers may be in it."""
        while True:
            text, test = ref.random_key(self.random)
            # Some messages are of now, some of years ago.
            if "OLDER" in text or "YOUNGER" in text:
                continue
            if numbers or not re.search(r"(?<!UID )\b\d+:\d+", text):
                return text, test


def numbers_of(answer):
    """The numbers of a SEARCH, SORT or ESEARCH response."""
    if answer.startswith("ESEARCH"):
        every = re.search(r" ALL ([0-9:,]+)", answer)
        return expand(every[1]) if every else []
    return [int(n) for n in re.sub(r" \(MODSEQ \d+\)$", "", answer).split()[1:]]


def expand(text):
    found = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        first, last = int(first), int(last or first)
        found += range(first, last + 1) if first <= last else range(first, last - 1, -1)
    return found


def search(model, messages, client, uid):
    text, test = model.key(numbers=not client.uidonly)
    answers = client.ask("SEARCH", uid, f"SEARCH CHARSET UTF-8 {text}")
    want = [m for m in messages if test(m)]
    assert len(answers) == 1, (text, answers)
    assert numbers_of(answers[0]) == [m.uid if uid else m.number for m in want], (client, text)


def saved(model, messages, client, uid):
    """RFC 5182: the result is used without having been sent."""
    text, test = model.key(numbers=not client.uidonly)
    assert client.ask("SEARCH", True, f"SEARCH RETURN (SAVE) CHARSET UTF-8 {text}") == []
    again, and_test = model.key(numbers=not client.uidonly)
    answers = client.ask("SEARCH", True, f"SEARCH RETURN (ALL) CHARSET UTF-8 $ {again}")
    want = [m.uid for m in messages if test(m) and and_test(m)]
    assert len(answers) == 1 and numbers_of(answers[0]) == want, (client, text, again, answers, want)


def sort(model, messages, client, uid):
    rng = model.random
    text, test = model.key(numbers=not client.uidonly)
    names = rng.sample(sorted(ref.SORT_KEYS), rng.choice([1, 1, 2, 3]))
    program = [(name, rng.random() < 0.4) for name in names]
    written = " ".join("REVERSE " * reverse + name for name, reverse in program)
    answers = client.ask("SORT", uid, f"SORT ({written}) UTF-8 {text}")
    want = ref.sort([m for m in messages if test(m)], program)
    assert len(answers) == 1, (text, answers)
    assert numbers_of(answers[0]) == [m.uid if uid else m.number for m in want], (client, written, text)


def thread(model, messages, client, uid):
    text, test = model.key(numbers=not client.uidonly)
    algorithm = model.random.choice(["ORDEREDSUBJECT", "REFERENCES", "REFS"])
    answers = client.ask("THREAD", uid, f"THREAD {algorithm} UTF-8 {text}")
    want = ref.thread([m for m in messages if test(m)], algorithm, lambda m: m.uid if uid else m.number)
    assert len(answers) == 1 and answers[0][len("THREAD"):].strip() == want, (client, algorithm, text, answers, want)


def contexts(messages, client):
    """RFC 5267: what a search that is kept up to date has come to."""
    for tag, (test, uids) in client.contexts.items():
        want = {m.uid for m in messages if test(m)}
        assert uids == want, (client, tag, sorted(uids ^ want), list(client.trace)[-60:])


def check(model, messages, client):
    """A few questions of each kind, while nobody changes anything."""
    contexts(messages, client)
    for question in model.random.sample([search, search, saved, sort, thread], 3):
        question(model, messages, client, client.uidonly or model.random.random() < 0.5)
