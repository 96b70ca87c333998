# SPDX-License-Identifier: MIT
"""SEARCH, SORT and THREAD of random mailboxes, compared with a second implementation of the RFCs."""

import imaplib
import os
import random
import re
import socket
import time

import imap_reference as ref
import pytest
from conftest import make_roost
from roost_instance import PASSWORD, wait_until

SEED = int(os.environ.get("ROOST_TEST_SEED", "20"))
COUNT = int(os.environ.get("ROOST_TEST_MESSAGES", "160"))


def command(client, text, literal=None):
    """All untagged lines of one command, and its tagged line."""
    tag = client._new_tag()
    client.send(tag + b" " + text.encode() + b"\r\n")
    lines = []
    while True:
        line = client.readline().decode()
        assert line, (text, "the server closed the connection")
        line = line.rstrip("\r\n")
        if line.startswith(tag.decode()):
            return lines, line[len(tag) + 1:]
        lines.append(line)


def untagged(client, text, name):
    lines, done = command(client, text)
    assert done.startswith("OK"), (text, done)
    found = [line for line in lines if line.startswith(f"* {name}")]
    assert len(found) == 1, (text, lines)
    return found[0][len(name) + 2:].strip()


def numbers(text):
    return [int(n) for n in text.split()]


@pytest.fixture(scope="module")
def mailbox(request):
    """(instance, user, messages) with numbers and UIDs apart."""
    instance = make_roost("sqlite", request)
    messages = ref.make_messages(COUNT, SEED)
    user = instance.add_user("searcher")
    client = connect(instance, user)
    for m in messages:
        date = time.strftime('"%d-%b-%Y %H:%M:%S +0000"', time.gmtime(m.internal))
        status, _ = client.append("INBOX", f"({' '.join(sorted(m.flags))})", date, m.text())
        assert status == "OK"
    client.select("INBOX")
    for m in messages:
        m.uid = m.n + 1
    gone = [m for m in messages if m.n % 11 == 3]
    client.uid("STORE", ",".join(str(m.uid) for m in gone), "+FLAGS", "\\Deleted")
    client.expunge()
    messages = [m for m in messages if m not in gone]
    for n, m in enumerate(messages, 1):
        m.number = n
    client.logout()
    yield instance, user, messages
    instance.close()


def connect(instance, user):
    client = imaplib.IMAP4("127.0.0.1", instance.ports["imap"], timeout=30)
    client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.login(user, PASSWORD)
    return client


@pytest.fixture
def client(mailbox):
    instance, user, _ = mailbox
    c = connect(instance, user)
    c.select("INBOX")
    yield c
    c.logout()


def test_search(mailbox, client):
    rng = random.Random(SEED)
    for _ in range(150):
        text, test = ref.random_key(rng)
        want = [m for m in mailbox[2] if test(m)]
        assert numbers(untagged(client, f"SEARCH CHARSET UTF-8 {text}", "SEARCH")) == [m.number for m in want], text
        assert numbers(untagged(client, f"UID SEARCH CHARSET UTF-8 {text}", "SEARCH")) == [m.uid for m in want], text


def expand(text):
    found = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found


def test_return_options(mailbox, client):
    rng = random.Random(SEED + 1)
    for _ in range(40):
        text, test = ref.random_key(rng)
        want = [m.uid for m in mailbox[2] if test(m)]
        line = untagged(client, f"UID SEARCH RETURN (MIN MAX COUNT ALL) CHARSET UTF-8 {text}", "ESEARCH")
        assert re.match(r'\(TAG "[^"]+"\) UID\b', line)
        assert int(re.search(r"COUNT (\d+)", line)[1]) == len(want)
        found = dict(re.findall(r"(MIN|MAX|ALL) (\S+)", line))
        if want:
            assert int(found["MIN"]) == want[0] and int(found["MAX"]) == want[-1]
            assert expand(found["ALL"]) == want
        else:
            assert not found
        first, last = sorted((rng.randrange(1, 60), rng.randrange(1, 60)))
        line = untagged(client, f"UID SEARCH RETURN (PARTIAL {first}:{last}) CHARSET UTF-8 {text}", "ESEARCH")
        part = re.search(r"PARTIAL \((\S+) (\S+)\)", line)
        assert part[1] == f"{first}:{last}"
        assert (part[2] == "NIL") == (len(want) < first)
        assert ([] if part[2] == "NIL" else expand(part[2])) == want[first - 1:last]
        line = untagged(client, f"UID SEARCH RETURN (PARTIAL -{first}:-{last}) CHARSET UTF-8 {text}", "ESEARCH")
        part = re.search(r"PARTIAL \((\S+) (\S+)\)", line)
        tail = want[::-1][first - 1:last][::-1]
        assert ([] if part[2] == "NIL" else expand(part[2])) == tail


@pytest.mark.parametrize("name", sorted(ref.SORT_KEYS))
def test_sort(mailbox, client, name):
    rng = random.Random(f"{SEED}{name}")
    others = [k for k in ref.SORT_KEYS if k != name]
    for more in (0, 1, 2):
        program = [(name, rng.random() < 0.5)] + [(k, rng.random() < 0.5) for k in rng.sample(others, more)]
        text = " ".join(f"REVERSE {k}" if reverse else k for k, reverse in program)
        key, test = ref.random_key(rng, 1)
        for keys, chosen in (("ALL", mailbox[2]), (key, [m for m in mailbox[2] if test(m)])):
            want = ref.sort(chosen, program)
            assert numbers(untagged(client, f"SORT ({text}) UTF-8 {keys}", "SORT")) == [m.number for m in want]
            assert numbers(untagged(client, f"UID SORT ({text}) UTF-8 {keys}", "SORT")) == [m.uid for m in want]
            line = untagged(client, f"UID SORT RETURN (ALL MIN MAX) ({text}) UTF-8 {keys}", "ESEARCH")
            if want:
                assert expand(re.search(r"ALL (\S+)", line)[1]) == [m.uid for m in want]
                assert f"MIN {want[0].uid} MAX {want[-1].uid}" in line
            line = untagged(client, f"SORT RETURN (PARTIAL 3:7) ({text}) UTF-8 {keys}", "ESEARCH")
            part = re.search(r"PARTIAL \(3:7 (\S+)\)", line)[1]
            assert ([] if part == "NIL" else expand(part)) == [m.number for m in want[2:7]]


@pytest.mark.parametrize("algorithm", ["ORDEREDSUBJECT", "REFERENCES", "REFS"])
def test_thread(mailbox, client, algorithm):
    rng = random.Random(SEED + 2)
    cases = [("ALL", mailbox[2])]
    for _ in range(10):
        text, test = ref.random_key(rng, 2)
        cases.append((text, [m for m in mailbox[2] if test(m)]))
    for text, chosen in cases:
        want = ref.thread(chosen, algorithm)
        assert untagged(client, f"THREAD {algorithm} UTF-8 {text}", "THREAD") == want, text
        want = ref.thread(chosen, algorithm, lambda m: m.uid)
        assert untagged(client, f"UID THREAD {algorithm} UTF-8 {text}", "THREAD") == want, text


# ---- contexts (RFC 5267) ----

class Context:
    """A result that is kept by what the server says of it."""

    def __init__(self, client, text, form):
        self.client, self.uid, self.is_sorted = client, form.startswith("UID"), "SORT" in form
        lines, done = command(client, f"{form} RETURN (ALL UPDATE) {text}")
        assert done.startswith("OK"), done
        line = next(line for line in lines if line.startswith("* ESEARCH"))
        self.tag = re.search(r'TAG "([^"]+)"', line)[1]
        found = re.search(r"ALL (\S+)", line)
        self.result = expand(found[1]) if found else []
        self.text, self.form = text, form

    def take(self, lines):
        for line in lines:
            if (gone := re.match(r"\* (\d+) EXPUNGE", line)) and not self.uid:
                assert int(gone[1]) not in self.result, "REMOVEFROM must come in front of EXPUNGE"
                self.result = [n - (n > int(gone[1])) for n in self.result]
            if not line.startswith(f'* ESEARCH (TAG "{self.tag}")'):
                continue
            assert (") UID " in line) == self.uid
            for item, pairs in re.findall(r"(ADDTO|REMOVEFROM) \(([^)]*)\)", line):
                words = pairs.split()
                for place, numbers_text in zip(words[::2], words[1::2]):
                    self.change(item, int(place), expand(numbers_text))

    def change(self, item, place, found):
        if item == "ADDTO":
            assert not set(found) & set(self.result)
            if place == 0:
                self.result = sorted(self.result + found)
            else:
                self.result[place - 1:place - 1] = found
        elif place == 0:
            assert set(found) <= set(self.result)
            self.result = [n for n in self.result if n not in found]
        else:
            assert self.result[place - 1:place - 1 + len(found)] == found
            del self.result[place - 1:place - 1 + len(found)]

    def check(self):
        line, name = f"{self.form} {self.text}", "SORT" if self.is_sorted else "SEARCH"
        assert self.result == numbers(untagged(self.client, line, name)), (line, self.result)


def test_contexts(mailbox):
    instance = mailbox[0]
    user = instance.add_user("watcher")
    rng = random.Random(SEED + 3)
    one, two = connect(instance, user), connect(instance, user)
    fresh = ref.make_messages(60, SEED + 4)
    two.select("INBOX")

    def append():
        m = fresh.pop()
        assert two.append("INBOX", f"({' '.join(sorted(m.flags))})", None, m.text())[0] == "OK"

    for _ in range(20):
        append()
    one.select("INBOX")
    contexts = [Context(one, text, form) for text, form in (
        ("ALL", "UID SEARCH"), ("UNSEEN", "SEARCH"), ("OR FLAGGED KEYWORD $Work", "UID SEARCH"),
        ("UID 15:* UNSEEN", "UID SEARCH"), ("1:5 UNSEEN", "UID SEARCH"), ("SUBJECT re NOT SEEN", "UID SEARCH"),
        ("(DATE) UTF-8 UNSEEN", "UID SORT"), ("(REVERSE SUBJECT FROM) UTF-8 ALL", "SORT"))]
    fixed = contexts[4]
    for _ in range(60):
        count = int(two.status("INBOX", "(MESSAGES)")[1][0].split()[-1].rstrip(b")"))
        who = rng.choice([one, two])
        kind = rng.random()
        if kind < 0.25 and fresh:
            append()
        elif kind < 0.85 and count:
            sign, flag = rng.choice("+-"), rng.choice(["\\Seen", "\\Flagged", "$Work"])
            lines, _ = command(who, f"STORE {rng.randrange(1, count + 1)} {sign}FLAGS ({flag})")
            if who is one:
                for context in contexts:
                    context.take(lines)
        elif count:
            two.noop()
            two.store(str(rng.randrange(1, count + 1)), "+FLAGS", "\\Deleted")
            two.expunge()
        # A command that may not tell EXPUNGE, then one that may.
        for text in rng.choice((["NOOP"], ["FETCH 1 UID", "NOOP"])):
            lines, _ = command(one, text)
            for context in contexts:
                context.take(lines)
        two.noop()
        for context in contexts:
            if context is not fixed:
                context.check()
    # Its message numbers meant what they did then: nothing but those five can be in it.
    assert set(fixed.result) <= {1, 2, 3, 4, 5}
    tag = contexts[0].tag
    assert command(one, f'CANCELUPDATE "{tag}"')[1].startswith("OK")
    assert command(one, f'CANCELUPDATE "{tag}"')[1].startswith("BAD")
    append()
    lines, _ = command(one, "NOOP")
    assert not any(f'"{tag}"' in line for line in lines)
    assert any("ADDTO" in line for line in lines)
    one.logout()
    two.logout()


def test_context_limits(mailbox, client):
    one = client._new_tag().decode()
    for text, reply in ((f"{one} SEARCH RETURN (UPDATE COUNT) ALL", "OK"), (f"{one} SEARCH RETURN (UPDATE) ALL", "BAD"),
                        (f"{one} SORT RETURN (UPDATE) (DATE) UTF-8 ALL", "BAD")):
        client.send(text.encode() + b"\r\n")
        while not (line := client.readline().decode()).startswith(one):
            pass
        assert line.split()[1] == reply
    refused = []
    for _ in range(20):
        lines, done = command(client, "UID SEARCH RETURN (UPDATE COUNT) SEEN")
        assert done.startswith("OK")
        assert any("COUNT" in line for line in lines)
        refused.append(any(re.match(r'\* NO \[NOUPDATE "', line) for line in lines))
    assert not refused[0] and refused[-1]
    # They end with the selection.
    client.select("INBOX")
    lines, _ = command(client, "SEARCH RETURN (UPDATE) SEEN")
    assert not any("NOUPDATE" in line for line in lines)


def test_saved_result(mailbox, client):
    """$ stands for messages, not for numbers."""
    instance = mailbox[0]
    user = instance.add_user("saver")
    one, two = connect(instance, user), connect(instance, user)
    for n in range(6):
        one.append("INBOX", None, None, f"Subject: {n}\r\n\r\nx\r\n".encode())
    one.select("INBOX")
    two.select("INBOX")
    assert command(one, "SEARCH RETURN (SAVE) 2:5") == ([], "OK SEARCH completed")
    two.store("1,3", "+FLAGS", "\\Deleted")
    two.expunge()
    # Not told yet: the message is in the set, and gone.
    assert numbers(untagged(one, "SEARCH $", "SEARCH")) == [2, 4, 5]
    command(one, "NOOP")
    assert numbers(untagged(one, "SEARCH $", "SEARCH")) == [1, 2, 3]
    assert numbers(untagged(one, "UID SEARCH UID $", "SEARCH")) == [2, 4, 5]
    lines, done = command(one, "STORE $ +FLAGS (\\Flagged)")
    assert done.startswith("OK") and [line.split()[1] for line in lines if "FETCH" in line] == ["1", "2", "3"]
    one.create("Other")
    assert command(one, "UID COPY $ Other")[1].startswith("OK")
    assert int(one.status("Other", "(MESSAGES)")[1][0].split()[-1].rstrip(b")")) == 3
    assert command(one, "UID MOVE $ Other")[1].startswith("OK")
    assert numbers(untagged(one, "SEARCH $", "SEARCH")) == []
    assert command(one, "FETCH $ UID")[0] == []
    one.select("INBOX")
    assert numbers(untagged(one, "SEARCH $", "SEARCH")) == []
    one.logout()
    two.logout()


def found_in(lines):
    """{mailbox: UIDs} of the ESEARCH responses, each with all three correlators."""
    found = {}
    for line in lines:
        m = re.fullmatch(r'\* ESEARCH \(TAG "[^"]+" MAILBOX (\S+) UIDVALIDITY \d+\) UID ALL (\S+)', line)
        assert m, line
        assert m[1] not in found
        found[m[1].strip('"')] = expand(m[2])
    return found


def test_multisearch(mailbox):
    instance = mailbox[0]
    client = connect(instance, instance.add_user("many"))
    for name in ("A", "A/B", "A/B/C", "AB", "Empty"):
        client.create(name)
    for n, name in enumerate(("INBOX", "A", "A/B", "A/B/C", "AB")):
        for k in range(n + 1):
            client.append(name, "(\\Flagged $Work)" if k == 0 else None, None, f"Subject: {name} {k}\r\n\r\nx\r\n".encode())
    client.subscribe("AB")

    def search(text):
        lines, done = command(client, f"ESEARCH {text}")
        assert done.startswith("OK"), (text, done)
        return found_in(lines)

    assert search("IN (mailboxes A) ALL") == {"A": [1, 2]}
    assert search("IN (mailboxes (A AB nowhere)) FLAGGED") == {"A": [1], "AB": [1]}
    assert search("IN (subtree A) ALL") == {"A": [1, 2], "A/B": [1, 2, 3], "A/B/C": [1, 2, 3, 4]}
    assert search("IN (subtree-one A) ALL") == {"A": [1, 2], "A/B": [1, 2, 3]}
    assert search("IN (subscribed) ALL") == {"AB": [1, 2, 3, 4, 5]}
    assert set(search("IN (personal) KEYWORD $work")) == {"INBOX", "A", "A/B", "A/B/C", "AB"}
    assert set(search("IN (inboxes mailboxes A) ALL")) == {"INBOX", "A", "A/B", "A/B/C", "AB"}
    assert search("IN (personal) UID *") == {"INBOX": [1], "A": [2], "A/B": [3], "A/B/C": [4], "AB": [5]}
    assert search("IN (personal) SUBJECT nothing") == {}
    lines, _ = command(client, "ESEARCH IN (subtree A) RETURN (COUNT) ALL")
    assert [line.split(") UID ")[1] for line in lines] == ["COUNT 2", "COUNT 3", "COUNT 4"]
    for text in ("ALL", "IN (selected) ALL", "IN () ALL", "IN (mailboxes ()) ALL", "IN (nothing) ALL", "IN (mailboxes) ALL",
                 "IN (selected-delayed) ALL", "IN (personal) RETURN (SAVE) ALL", "IN (personal) 1:5",
                 "IN (personal) RETURN (UPDATE) ALL", "IN (personal)", "IN (personal (option)) ALL"):
        assert command(client, f"ESEARCH {text}")[1].startswith("BAD"), text
    client.select("A")
    assert search("ALL") == {"A": [1, 2]}
    assert search("IN (selected) 2") == {"A": [2]}
    assert set(search("IN (selected mailboxes AB) FLAGGED")) == {"A", "AB"}
    assert command(client, "ESEARCH RETURN (SAVE) FLAGGED") == ([], "OK ESEARCH completed")
    assert numbers(untagged(client, "SEARCH $", "SEARCH")) == [1]
    lines, done = command(client, "ESEARCH IN (selected subtree AB) RETURN (COUNT UPDATE) UNSEEN")
    assert done.startswith("OK") and len(lines) == 2
    lines, _ = command(client, "STORE 1 +FLAGS (\\Seen)")
    assert any(re.search(r"UID REMOVEFROM \(0 1\)", line) for line in lines)
    client.logout()


def test_client_gone(make_instance):
    """A search for somebody who has left ends: long before it would have been done."""
    instance = make_instance(users=["slow"], settings={"fts": "no"})
    client = connect(instance, "slow@example.test")
    body = (b"Lorem ipsum dolor sit amet, nothing here to find at all.\r\n" * 18000)
    client.append("INBOX", None, None, b"Subject: big\r\n\r\n" + body)
    client.select("INBOX")
    for _ in range(9):
        client.copy("1:*", "INBOX")
    assert client.noop()[0] == "OK"
    keys = " ".join(f'NOT BODY "{n:04} not in any message"' for n in range(64))
    client.sock.settimeout(300)
    began = time.monotonic()
    assert client.search(None, keys)[0] == "OK"
    whole = time.monotonic() - began
    client.send(b"z SEARCH " + keys.encode() + b"\r\n")
    time.sleep(whole / 10)
    client.socket().close()
    client.file.close()
    began = time.monotonic()
    wait_until(lambda: re.search(r"imap.logout .*user=slow@", instance.log()), 300, "the session ends")
    assert time.monotonic() - began < whole / 2, whole
    print(f"{whole:.1f} s, and {time.monotonic() - began:.1f} s where nobody listens")
