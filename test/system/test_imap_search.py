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
from roost_instance import PASSWORD

SEED = int(os.environ.get("ROOST_TEST_SEED", "20"))
COUNT = int(os.environ.get("ROOST_TEST_MESSAGES", "160"))


def command(client, text, literal=None):
    """All untagged lines of one command, and its tagged line."""
    tag = client._new_tag()
    client.send(tag + b" " + text.encode() + b"\r\n")
    lines = []
    while True:
        line = client.readline().rstrip(b"\r\n").decode()
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
