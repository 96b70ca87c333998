# SPDX-License-Identifier: MIT
"""Searches by words (fts_search = words) and SEARCH=FUZZY (RFC 6203): the same with an index and without."""

import contextlib
import fcntl
import os
import random
import re
from email.message import EmailMessage
from email.policy import SMTP

import fts_mail
import pytest
from roost_instance import wait_until
from test_fts import connect, search, wait_indexed

SEED = int(os.environ.get("ROOST_TEST_SEED", "20"))
COUNT = 160
FILLERS = 20  # below that many messages the index is not asked


def set_settings(instance, **settings):
    """New sessions have them; roost-fts runs, or not, when this returns."""
    fts = settings.get("fts", "yes") == "yes"
    instance.settings.update({"fts": "yes", "fts_search": "substring", **settings})
    instance.write_conf()
    instance.reload()
    wait_until(lambda: bool(instance.pids("roost-fts")) == fts, what="roost-fts starts or ends")


def send(client, parts):
    """Runs a command of text and byte strings, which are sent as literals. Its untagged lines and its end."""
    tag = client._new_tag()
    line = tag
    for part in parts:
        line += b" " + (part.encode() if isinstance(part, str) else b"{%d+}\r\n%s" % (len(part), part))
    client.send(line + b"\r\n")
    said = []
    while True:
        line = client.readline().decode()
        assert line, (parts, "the server closed the connection")
        line = line.rstrip("\r\n")
        if line.startswith(tag.decode() + " "):
            return [s.replace(f'(TAG "{tag.decode()}") ', "") for s in said], line[len(tag) + 1:]
        said.append(line)


def ok(client, *parts):
    said, end = send(client, parts)
    assert end.startswith("OK"), (parts, end)
    return said


def append(client, text, subject="x", mailbox="INBOX", sender="sender@example.org"):
    m = EmailMessage()
    m["From"], m["Subject"] = sender, subject
    m.set_content(text)
    status, _ = client.append(mailbox, None, None, m.as_bytes(policy=SMTP))
    assert status == "OK"


@pytest.fixture(scope="module")
def mail(request):
    """(instance, user): messages in many scripts and charsets, all indexed."""
    from conftest import make_roost

    instance = make_roost("sqlite", request, settings={"fts_delay": "0s"})
    user = instance.add_user("reader")
    rng = random.Random(SEED + 7)
    client = connect(instance, user)
    for n in range(COUNT):
        status, _ = client.append("INBOX", None, None, fts_mail.message(rng, n))
        assert status == "OK"
    client.logout()
    wait_indexed(instance, user, COUNT)
    yield instance, user
    instance.close()


def compare(mail, commands, **settings):
    """The answers to the commands, which are the same with the index and without."""
    instance, user = mail
    answers = []
    for fts in ("yes", "no"):
        set_settings(instance, fts=fts, **settings)
        client = connect(instance, user)
        said_before = len(instance.log())
        answers.append([ok(client, *c) for c in commands])
        client.logout()
        assert "imap.fts unavailable" not in instance.log()[said_before:]
    set_settings(instance)
    differ = [(c, a, b) for c, a, b in zip(commands, *answers) if a != b]
    assert not differ, differ[:3]
    return answers[0]


KEYS = ["BODY", "TEXT", "NOT BODY", "OR TEXT x BODY", "SUBJECT e TEXT", "SUBJECT", "HEADER X-Number n1 TEXT",
        "HEADER Content-Type", "FROM"]


def test_words_with_and_without_an_index(mail):
    rng = random.Random(SEED + 8)
    commands = [("UID SEARCH CHARSET UTF-8 " + rng.choice(KEYS), fts_mail.words_needle(rng).encode())
                for _ in range(500)]
    answers = compare(mail, commands, fts_search="words")
    assert sum(1 for said in answers if len(said[0].split()) > 2) > 150


def test_fuzzy_with_and_without_an_index(mail):
    """The relevancy too."""
    rng = random.Random(SEED + 9)
    commands = [("UID SEARCH RETURN (ALL RELEVANCY) CHARSET UTF-8 FUZZY " + rng.choice(KEYS),
                 fts_mail.words_needle(rng).encode()) for _ in range(500)]
    answers = compare(mail, commands)
    scores = [int(n) for said in answers for m in re.findall(r"RELEVANCY \((.*)\)", said[0]) for n in m.split()]
    assert sum(1 for said in answers if " ALL " in said[0]) > 150
    assert min(scores) >= 1 and max(scores) == 100 and len(set(scores)) > 10


def test_substring_of_header_fields(mail):
    """Fields that no cache record has: the index says in which messages they need not be looked for."""
    rng = random.Random(SEED + 10)
    names = ["HEADER X-Number", "NOT HEADER X-Number", "HEADER Content-Transfer-Encoding", "HEADER X-None"]
    needles = ["n", "n1", "n15", "1", "base", "se64", "8bit", "", "zzz"]
    commands = [(f"UID SEARCH CHARSET UTF-8 {rng.choice(names)}", rng.choice(needles).encode()) for _ in range(100)]
    answers = compare(mail, commands)
    assert sum(1 for said in answers if len(said[0].split()) > 2) > 30


def test_a_field_without_a_needle(mail):
    """Nothing is asked of the index, and the session goes on."""
    instance, user = mail
    client = connect(instance, user)
    for command in ('SEARCH HEADER X-None ""', 'SEARCH HEADER References "" SEEN', 'SEARCH SUBJECT zzzz'):
        assert ok(client, command) == ["* SEARCH"]
    client.logout()


@pytest.fixture
def reader(make_instance):
    """(instance, user, client): few words, all indexed."""
    instance = make_instance(settings={"fts_delay": "0s"})
    user = instance.add_user("reader")
    client = connect(instance, user)
    for n in range(FILLERS):
        append(client, f"filler {n}", subject=f"number {n}")
    append(client, "say hello to everybody", subject="greetings")  # 21
    append(client, "nothing", subject="Hello again")  # 22
    append(client, "please help me, señor", subject="question")  # 23
    append(client, "the helicopter", subject="flight")  # 24
    wait_indexed(instance, user, FILLERS + 4)
    yield instance, user, client
    client.logout()


def test_capability(reader):
    instance, user, client = reader
    assert "SEARCH=FUZZY" in ok(client, "CAPABILITY")[0].split()
    set_settings(instance, fts="no")
    assert "SEARCH=FUZZY" not in ok(connect(instance, user), "CAPABILITY")[0].split()


def test_fuzzy_everywhere(reader):
    """SEARCH, UID SEARCH, SORT, THREAD and ESEARCH, as RFC 6203 shows them."""
    instance, user, client = reader
    assert ok(client, 'SEARCH RETURN (RELEVANCY ALL) FUZZY TEXT "Helo"') == [
        "* ESEARCH ALL 21:23 RELEVANCY (26 33 26)"]
    assert ok(client, 'SORT (RELEVANCY) UTF-8 FUZZY TEXT "Helo"') == ["* SORT 22 21 23"]
    assert ok(client, 'SORT (REVERSE RELEVANCY ARRIVAL) UTF-8 FUZZY TEXT "Helo"') == ["* SORT 21 23 22"]
    assert ok(client, 'SORT RETURN (RELEVANCY ALL) (RELEVANCY) UTF-8 FUZZY TEXT "Helo"') == [
        "* ESEARCH ALL 22,21,23 RELEVANCY (33 26 26)"]
    assert ok(client, 'SORT RETURN (PARTIAL 1:2 RELEVANCY) (RELEVANCY) UTF-8 FUZZY TEXT "Helo"') == [
        "* ESEARCH PARTIAL (1:2 22,21) RELEVANCY (33 26)"]
    assert ok(client, 'UID SEARCH RETURN (COUNT) FUZZY TEXT "senor"') == ["* ESEARCH UID COUNT 1"]
    assert ok(client, 'THREAD ORDEREDSUBJECT UTF-8 FUZZY SUBJECT "helo"') == ["* THREAD (22)"]
    assert ok(client, "SEARCH FUZZY SUBJECT helo FROM sender@example.org") == ["* SEARCH 22"]
    client.create("Other")
    append(client, "hello there", mailbox="Other")
    found = ok(client, 'ESEARCH IN (personal) RETURN (ALL RELEVANCY) FUZZY BODY "hello"')
    assert len(found) == 2
    assert any("MAILBOX INBOX" in line and "UID ALL 21 RELEVANCY (100)" in line for line in found)
    assert any("MAILBOX Other" in line and "UID ALL 1 RELEVANCY (100)" in line for line in found)
    for bad in ["SEARCH RETURN (RELEVANCY) TEXT hello", "SORT (RELEVANCY) UTF-8 TEXT hello",
                "ESEARCH IN (personal) RETURN (RELEVANCY) TEXT hello", "SEARCH FUZZY"]:
        assert send(client, [bad])[1].startswith("BAD"), bad


def test_fuzzy_filter_and_update(reader):
    """FUZZY in a filter (RFC 5466), and in a search that is kept up to date (RFC 5267)."""
    instance, user, client = reader
    ok(client, 'SETMETADATA "" (/private/filters/values/near "FUZZY TEXT helo")')
    assert ok(client, "SEARCH RETURN (ALL RELEVANCY) FILTER near") == ["* ESEARCH ALL 21:23 RELEVANCY (26 33 26)"]
    said, _ = send(client, ["UID SEARCH RETURN (UPDATE COUNT) FUZZY TEXT helo"])
    assert said == ["* ESEARCH UID COUNT 3"]
    append(connect(instance, user), "helo as well")
    wait_until(lambda: any("ADDTO (0 25)" in line for line in ok(client, "NOOP")), what="the new message is told")


def test_stems(make_instance):
    """Inflected words, in what is indexed and in what is not yet."""
    instance = make_instance(settings={"fts_delay": "0s", "fts_languages": ["english", "de", "klingon"],
                                       "fts_search": "words"})
    user = instance.add_user("reader")
    client = connect(instance, user)
    texts = ["he was running away", "die alten Häuser", "two mailboxes", "cats and dogs", "generously given"]
    for n in range(FILLERS):
        append(client, f"filler {n}")
    for text in texts:
        append(client, text)
    wait_indexed(instance, user, FILLERS + len(texts))
    with held_index(instance):
        check_stems(instance, user, texts)
    assert "fts.language unknown name=klingon" in instance.log()


@contextlib.contextmanager
def held_index(instance):
    """Nobody can write into the index of reader: what comes now is not indexed."""
    with open(instance.home("reader") / "index" / "fts" / "words" / "flintlock", "r+b") as lock:
        wait_until(lambda: try_lock(lock), what="nobody writes into the index")
        yield


def try_lock(file):
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def check_stems(instance, user, texts):
    client = connect(instance, user)
    for text in texts:
        append(client, text)
    queries = {"runs": 1, "hauses": 2, "mailboxing": 3, "cat": 4, "generous": 5}
    for query, n in queries.items():
        assert search(client, "BODY", query) == [b"%d" % (FILLERS + n), b"%d" % (FILLERS + len(texts) + n)], query
        [said] = ok(client, f"UID SEARCH RETURN (ALL RELEVANCY) FUZZY BODY {query}")
        assert f" ALL {FILLERS + n},{FILLERS + len(texts) + n} " in said, said
        first, second = re.search(r"RELEVANCY \((\d+) (\d+)\)", said).groups()
        assert first == second
    assert search(client, "BODY", "rung") == []
    assert instance.ctl("fts", "status", user)[0]["documents"] == FILLERS + len(texts)
