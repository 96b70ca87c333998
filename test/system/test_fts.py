# SPDX-License-Identifier: MIT
"""The full-text index: the answers are those of a search without it, whatever happens to it."""

import imaplib
import os
import random

import fts_mail
import pytest
from roost_instance import PASSWORD, wait_until

SEED = int(os.environ.get("ROOST_TEST_SEED", "20"))


def connect(instance, user, mailbox="INBOX"):
    client = imaplib.IMAP4("127.0.0.1", instance.ports["imap"], timeout=60)
    client.login(user, PASSWORD)
    if mailbox:
        client.select(mailbox)
    return client


def search(client, key, needle, command=b"UID SEARCH CHARSET UTF-8"):
    """UIDs, as text."""
    raw = needle.encode()
    tag = client._new_tag()
    client.send(tag + b" " + command + b" " + key.encode() + b" {%d+}\r\n" % len(raw) + raw + b"\r\n")
    found = None
    while True:
        line = client.readline()
        if line.startswith(b"* SEARCH") or line.startswith(b"* SORT"):
            found = line.split()[2:]
        elif line.startswith(tag):
            assert b" OK " in line, (key, needle, line)
            return found


def fts_log(instance):
    return [line for line in instance.log().splitlines() if " fts." in line]


def indexed(instance, user):
    return instance.ctl("fts", "status", user)[0]


def wait_indexed(instance, user, messages, timeout=60):
    def ready():
        row = indexed(instance, user)
        return row["state"] == "idle" and row["messages"] == messages and row["missing"] == 0

    wait_until(ready, timeout, f"{messages} messages are indexed")


@pytest.fixture(scope="module")
def mail(request):
    """(instance, user): 160 messages, all indexed."""
    from conftest import make_roost

    instance = make_roost("sqlite", request, settings={"fts_delay": "0s"})
    user = instance.add_user("reader")
    rng = random.Random(SEED)
    client = connect(instance, user)
    for n in range(160):
        status, _ = client.append("INBOX", None, None, fts_mail.message(rng, n))
        assert status == "OK"
    client.logout()
    wait_indexed(instance, user, 160)
    yield instance, user
    instance.close()


def test_answers_are_those_without_an_index(mail):
    instance, user = mail
    rng = random.Random(SEED + 1)
    queries = [(rng.choice(["BODY", "TEXT", "NOT BODY", "OR TEXT x BODY", "SUBJECT e TEXT"]), fts_mail.needle(rng))
               for _ in range(500)]
    client = connect(instance, user)
    with_index = [search(client, *q) for q in queries]
    client.logout()
    assert not [line for line in instance.log().splitlines() if "imap.fts unavailable" in line]
    instance.settings["fts"] = "no"
    instance.write_conf()
    instance.reload()
    wait_until(lambda: not instance.pids("roost-fts"), what="roost-fts ends")
    client = connect(instance, user)
    without = [search(client, *q) for q in queries]
    client.logout()
    instance.settings["fts"] = "yes"
    instance.write_conf()
    instance.reload()
    wait_until(lambda: instance.pids("roost-fts"), what="roost-fts starts")
    differ = [(q, len(a), len(b)) for q, a, b in zip(queries, with_index, without) if a != b]
    assert not differ
    assert sum(1 for a in without if a) > 200
