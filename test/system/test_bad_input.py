# SPDX-License-Identifier: MIT
"""Bytes that no honest client sends. Each gets its protocol's answer, and the server lives on.

Every case opens a connection of its own, says what it has to say and then asks for a sign of life.
The connection may answer that or end with a farewell; it may neither hang nor break off without a word.
After each test a normal client still works and no process has died.
"""

import base64
import contextlib
import imaplib
import os
import random
import re
import select
import socket
import ssl
import time

import pytest
from conftest import tls_context
from roost_instance import PASSWORD, Roost, wait_until
from faults import WORKING, answers, as_expected, no_crash
from test_kill import DAEMONS, daemons
from test_proxy import Line

ALICE, BOB = "alice@example.test", "bob@example.test"
GARBAGE = random.Random(1).randbytes(5000)


@pytest.fixture(scope="module")
def bad_roost():
    roost = Roost(settings={"login_delay_max": "0s", "smtpd_recipient_limit": 5, "lmtp_max_recipients": 5,
                            "smtpd_hard_error_limit": 50, "max_message_size": "20M", "login_attempts": 50})
    yield roost
    roost.close()


@pytest.fixture(scope="module")
def start_of_daemons(bad_roost):
    return {program: daemons(bad_roost, program) for program in DAEMONS}


@pytest.fixture
def roost(bad_roost, start_of_daemons):
    """Behind a table of cases normal clients are served by the same daemons as before."""
    yield bad_roost
    wait_until(lambda: as_expected(answers(bad_roost, ALICE), WORKING), what="normal clients are served")
    assert {program: daemons(bad_roost, program) for program in DAEMONS} == start_of_daemons
    no_crash(bad_roost)


def run_table(cases, check):
    """All cases of a table; tells every one that fails."""
    failures = {}
    for case, (data, expected) in cases.items():
        began = time.monotonic()
        try:
            check(data, expected)
        except (AssertionError, OSError, imaplib.IMAP4.error) as e:
            failures[case] = f"{type(e).__name__}: {e}"[:600]
        if time.monotonic() - began > 20:
            failures.setdefault(case, f"took {time.monotonic() - began:.1f} s")
    assert failures == {}


def talk(roost, name, data, until, timeout=30):
    """Sends data (bytes, or pieces of them) and reads until the pattern has come or the server hung up."""
    deadline = time.monotonic() + timeout
    pieces = iter([data] if isinstance(data, bytes) else data)
    out, sending = b"", True
    heard = bytearray()
    with socket.create_connection(("127.0.0.1", roost.ports[name]), timeout=timeout) as sock:
        sock.setblocking(False)
        while True:
            assert time.monotonic() < deadline, f"no answer within {timeout} s; heard {bytes(heard)[-300:]}"
            if sending and not out:
                out = next(pieces, b"")
                sending = bool(out)
            readable, writable, _ = select.select([sock], [sock] if out else [], [], 1)
            if readable:
                try:
                    more = sock.recv(65536)
                except ConnectionError:
                    more = b""
                heard += more
                if not more or re.search(until, heard):
                    return bytes(heard)
            if writable:
                try:
                    out = out[sock.send(out[:65536]):]
                except BlockingIOError:
                    pass
                except OSError:
                    out, sending = b"", False  # hung up; what it said is still to be read


# ---- IMAP ----

MANY_PARENTHESES = b"(" * 10000
MILLION = b",".join(b"%d" % n for n in range(1, 1000000, 2))


def endless(start, size=30 << 20):
    yield start
    for _ in range(size >> 16):
        yield b"x" * 65536
    yield b"\r\n"


IMAP_BEFORE = {
    "unknown command": (b"a FLY ME\r\n", rb"a BAD"),
    "empty line": (b"\r\n", rb"\* BAD"),
    "tag alone": (b"a\r\n", rb"BAD"),
    "odd tag": (b"+a NOOP\r\n", rb"BAD"),
    "long tag": (b"t" * 5000 + b" NOOP\r\n", rb"BAD|BYE"),
    "over-long line": (b"a NOOP " + b"x" * 300000 + b"\r\n", rb"BAD|BYE"),
    "NUL": (b"a NO\0OP\r\n", rb"a BAD|\* B"),
    "NUL in a password": (b'a LOGIN u "p\0q"\r\n', rb"a BAD|\* B"),
    "bare CR": (b"a NOOP\ra NOOP\r\n", rb"BAD"),
    "8 bit": (b"a \xff\xfe\r\n", rb"BAD"),
    "garbage": (GARBAGE + b"\r\n", rb"BAD|BYE"),
    "wrong state": (b"a SELECT INBOX\r\na FETCH 1 UID\r\n", rb"a (BAD|NO)[\s\S]*?a (BAD|NO)"),
    "nested parentheses": (b"a LOGIN " + MANY_PARENTHESES + b"\r\n", rb"BAD|BYE"),
    "nested in ID": (b"a ID " + MANY_PARENTHESES + b"\r\n", rb"BAD|BYE"),
    "nested in an unknown command": (b"a X " + MANY_PARENTHESES + b")" * 10000 + b"\r\n", rb"BAD|BYE"),
    "huge literal": (b"a LOGIN {99999999999}\r\n", rb"BAD|BYE"),
    "huge non-synchronising literal": (b"a LOGIN {4294967295+}\r\nx", rb"BAD|BYE"),
    "literal of 2^63": (b"a LOGIN {9223372036854775808}\r\n", rb"BAD|BYE"),
    "literal of 2^64+1": (b"a LOGIN {18446744073709551617+}\r\nx", rb"BAD|BYE"),
    "negative literal": (b"a LOGIN {-1}\r\n", rb"BAD|BYE"),
    "broken literal": (b"a LOGIN {5\r\n", rb"BAD|BYE"),
    "many literals": (b"a LOGIN " + b"{1+}\r\nx " * 5000 + b"\r\n", rb"BAD|BYE"),
    "literal in an unknown command": (b"a FLY {3+}\r\nabc\r\n", rb"BAD|BYE"),
    "cancelled AUTHENTICATE": (b"a AUTHENTICATE PLAIN\r\n*\r\n", rb"a BAD"),
    "bad base64": (b"a AUTHENTICATE PLAIN\r\n!!!!\r\n", rb"a (BAD|NO)"),
    "half base64": (b"a AUTHENTICATE PLAIN AAA\r\n", rb"a (BAD|NO)"),
    "empty response": (b"a AUTHENTICATE PLAIN =\r\n", rb"a (BAD|NO)"),
    "unknown mechanism": (b"a AUTHENTICATE ROT13\r\n", rb"a NO"),
    "two NULs missing": (b"a AUTHENTICATE PLAIN " + base64.b64encode(b"user") + b"\r\n", rb"a (BAD|NO)"),
    "user that is not UTF-8": (b"a AUTHENTICATE PLAIN " + base64.b64encode(b"\0\xff\xfe\0pw") + b"\r\n", rb"a (BAD|NO)"),
    "long response": (b"a AUTHENTICATE PLAIN\r\n" + b"A" * 300000 + b"\r\n", rb"BAD|BYE|NO"),
    "commands in an exchange": (b"a AUTHENTICATE LOGIN\r\nb NOOP\r\n", rb"a (BAD|NO)"),
    "SQL in a name": (b"a LOGIN \"' OR 1=1; --\" x\r\n", rb"a NO \[AUTH"),
    "endless line": (lambda: endless(b"a NOOP "), rb"BAD|BYE"),
    "endless literal": (lambda: endless(b"a LOGIN {5000+}\r\n"), rb"BAD|BYE"),
}

IMAP_AFTER = {
    "unknown command": (b"a FLY ME\r\n", rb"a BAD"),
    "over-long line": (b"a NOOP " + b"x" * 300000 + b"\r\n", rb"BAD|BYE"),
    "endless line": (lambda: endless(b"a NOOP "), rb"BAD|BYE"),
    "NUL": (b"a NO\0OP\r\n", rb"BAD|BYE"),
    "garbage": (GARBAGE + b"\r\n", rb"BAD|BYE"),
    "log-in again": (f'a LOGIN {ALICE} "{PASSWORD}"\r\n'.encode(), rb"a (BAD|NO)"),
    "STARTTLS too late": (b"a STARTTLS\r\n", rb"a (BAD|NO)"),
    "APPEND of 2^63": (b"a APPEND INBOX {9223372036854775808}\r\n", rb"a (NO|BAD)|BYE"),
    "APPEND of 2^63-1": (b"a APPEND INBOX {9223372036854775807+}\r\nx", rb"a (NO|BAD)|BYE"),
    "APPEND over the limit": (b"a APPEND INBOX {99999999999}\r\n", rb"a NO \[TOOBIG\]|a BAD|BYE"),
    "endless APPEND": (lambda: endless(b"a APPEND INBOX {4294967295+}\r\n"), rb"a (NO|BAD)|BYE"),
    "APPEND with a NUL": (b"a APPEND INBOX {3+}\r\na\0b\r\n", rb"a (NO|BAD|OK)|BYE"),
    "APPEND with an odd date": (b'a APPEND INBOX "99-Foo-2026 99:99:99 +9999" {1+}\r\nx\r\n', rb"a BAD"),
    "literal for a name": (b"a SELECT {4294967295}\r\n", rb"a (BAD|NO)|BYE"),
    "deep section": (b"a FETCH 1 BODY[" + b"1." * 1000 + b"1]\r\n", rb"a (OK|BAD|NO)"),
    "section 0": (b"a FETCH 1 BODY[0]\r\n", rb"a BAD"),
    "huge section": (b"a FETCH 1 BODY[99999999999]\r\n", rb"a BAD"),
    "huge partial": (b"a FETCH 1 BODY[]<4294967295.4294967295>\r\n", rb"a OK"),
    "partial of nothing": (b"a FETCH 1 BODY[]<0.0>\r\n", rb"a BAD"),
    "unknown item": (b"a FETCH 1 (FLAGS FLIGHTS)\r\n", rb"a BAD"),
    "open parenthesis": (b"a FETCH 1 (FLAGS\r\n", rb"a BAD"),
    "nested items": (b"a FETCH 1 " + MANY_PARENTHESES + b"\r\n", rb"a BAD|BYE"),
    "many items": (b"a FETCH 1 (" + b"ENVELOPE " * 5000 + b"UID)\r\n", rb"a (OK|BAD|NO)"),
    "set of the largest": (b"a UID FETCH 4294967295:* UID\r\n", rb"a OK"),
    "sequence of the largest": (b"a FETCH 4294967295:* UID\r\n", rb"a (OK|BAD)"),
    "set of 0": (b"a FETCH 0 UID\r\n", rb"a BAD"),
    "UID set of 0": (b"a UID FETCH 0:5 UID\r\n", rb"a BAD"),
    "number too large": (b"a UID FETCH 4294967296 UID\r\n", rb"a BAD"),
    "broken sets": (b"".join(b"a FETCH %b UID\r\n" % s for s in (b",", b"1,", b":", b"1:", b"1::2", b"-1", b"**")),
                    rb"(a BAD[^\n]*\n){7}"),
    "a million items": (b"a UID FETCH " + MILLION + b" UID\r\n", rb"BAD|BYE"),
    "many ranges": (b"a UID FETCH " + MILLION[:60000].rsplit(b",", 1)[0] + b" UID\r\n", rb"a OK"),
    "overlapping ranges": (b"a UID FETCH " + b",".join([b"1:*"] * 10000) + b" UID\r\n", rb"a OK"),
    "STORE of 0": (b"a STORE 0 +FLAGS (\\Seen)\r\n", rb"a BAD"),
    "COPY of 0": (b"a COPY 0 Trash\r\n", rb"a BAD"),
    "odd flags": (b"a STORE 1 +FLAGS (\\Nonsense)\r\na STORE 1 +FLAGS (\\)\r\n", rb"a (BAD|NO|OK)[\s\S]*?a BAD"),
    "many flags": (b"a STORE 1 FLAGS (" + b" ".join(b"flag%d" % n for n in range(5000)) + b")\r\n", rb"a (BAD|NO|OK)"),
    "long flag": (b"a STORE 1 +FLAGS (" + b"f" * 50000 + b")\r\n", rb"a (BAD|NO)"),
    "evil pattern": (b'a LIST "" "*%*%*%*%*%*%*%*%*%*%*%*%*%*%*%*%x"\r\n', rb"a OK"),
    "long evil pattern": (b'a LIST "" "' + b"*%" * 5000 + b'x"\r\n', rb"a (OK|BAD|NO)"),
    "nested search": (b"a SEARCH " + MANY_PARENTHESES + b"ALL" + b")" * 10000 + b"\r\n", rb"a (BAD|NO)"),
    "NOT NOT NOT": (b"a SEARCH " + b"NOT " * 10000 + b"ALL\r\n", rb"a (OK|BAD|NO)"),
    "OR OR OR": (b"a SEARCH " + b"OR ALL " * 8000 + b"ALL\r\n", rb"a (OK|BAD|NO)"),
    "search for bad dates": (b"a SEARCH SINCE 99-Foo-0000\r\na SEARCH ON 31-Feb-2026\r\n", rb"a BAD[\s\S]*?a (BAD|OK)"),
    "search with a bad charset": (b"a SEARCH CHARSET \xff ALL\r\n", rb"a (BAD|NO)"),
    "search for bad UTF-8": (b"a SEARCH CHARSET UTF-8 TEXT {2+}\r\n\xff\xfe\r\n", rb"a (BAD|NO|OK)"),
    "DONE that is none": (b"a IDLE\r\nnonsense\r\n", rb"a BAD"),
    "endless IDLE": (lambda: endless(b"a IDLE\r\n"), rb"BAD|BYE"),
    "ENABLE of nonsense": (b"a ENABLE X-NONSENSE\r\n", rb"a OK"),
    "REPLACE of 0": (b"a REPLACE 0 INBOX {1+}\r\nx\r\na UID REPLACE 0 INBOX {1+}\r\nx\r\n", rb"a BAD[\s\S]*?a BAD"),
    "REPLACE of *": (b"a REPLACE * \"..\" {1+}\r\nx\r\n", rb"a (BAD|NO)"),
    "REPLACE of none": (b"a UID REPLACE 4294967295 INBOX {1+}\r\nx\r\n", rb"a NO"),
    "REPLACE of a set": (b"a REPLACE 1:2 INBOX {1+}\r\nx\r\n", rb"a BAD"),
    "REPLACE of 2^63": (b"a REPLACE 1 INBOX {9223372036854775808}\r\n", rb"a (NO|BAD)|BYE"),
    "PARTIAL that overflows": (b"".join(b"a UID SEARCH RETURN (PARTIAL %b) ALL\r\n" % s for s in (
        b"4294967295:4294967296", b"-9223372036854775809:-1", b"1:18446744073709551617", b"0:1", b"1:-1", b"-1:1", b"1")),
        rb"(a BAD[^\n]*\n){7}"),
    "PARTIAL of the largest": (b"a UID SEARCH RETURN (PARTIAL 4294967295:4294967295) ALL\r\n"
                               b"b UID SEARCH RETURN (PARTIAL -4294967295:-4294967294) ALL\r\n", rb"a OK[\s\S]*?b OK"),
    "PARTIAL of a fetch": (b"a UID FETCH 1:* UID (PARTIAL 0:0)\r\nb UID FETCH 1:* UID (PARTIAL 1:4294967295)\r\n",
                           rb"a BAD[\s\S]*?b OK"),
    "deep binary": (b"a FETCH 1 BINARY.PEEK[" + b"1." * 1000 + b"1]\r\nb FETCH 1 BINARY.SIZE[" + b"9." * 400 + b"9]\r\n",
                    rb"a (OK|BAD|NO)[\s\S]*?b (OK|BAD|NO)"),
    "binary partial": (b"a FETCH 1 BINARY.PEEK[1]<4294967295.4294967295>\r\n", rb"a (OK|NO)"),
    "URL of another user": (b"a APPEND INBOX CATENATE (URL \"/../bob/INBOX/;UID=1\" URL \"imap://h/x\")\r\n", rb"a (BAD|NO)"),
    "URLs that are none": (b"a URLFETCH imap:// " + b"x " * 80 + b'"imap://u@h/' + b"%00" * 1000 + b'/;UID=1"\r\n', rb"a OK"),
    "many URLs": (b"a URLFETCH" + b' ""' * 20000 + b"\r\n", rb"a (BAD|NO)"),
    "URL of much": (b"a GENURLAUTH {300000+}\r\n" + b"imap://u@h/" + b"/;UID=1" * 42855 + b"abcd INTERNAL\r\n", rb"a BAD"),
    "URL to sign of another": (b'a GENURLAUTH "imap://root@h/../../etc/passwd/;UID=1;URLAUTH=anonymous" INTERNAL\r\n', rb"a BAD"),
    "URL to sign with literals": (b"a GENURLAUTH {9223372036854775808}\r\n", rb"a BAD|BYE"),
    "nested in GENURLAUTH": (b"a GENURLAUTH " + MANY_PARENTHESES + b"\r\n", rb"a BAD|BYE"),
    "key of what is not": (b'a RESETKEY "../x"\r\nb RESETKEY "" INTERNAL\r\n', rb"a NO[\s\S]*?b NO"),
    "nested catenate": (b"a APPEND INBOX CATENATE " + MANY_PARENTHESES + b"\r\n", rb"a BAD|BYE"),
    "sort by much": (b"a SORT (" + b"REVERSE SUBJECT " * 5000 + b") UTF-8 ALL\r\n", rb"a (OK|BAD|NO)"),
    "sort by nothing": (b"a SORT () UTF-8 ALL\r\na SORT (REVERSE) UTF-8 ALL\r\n", rb"a BAD[\s\S]*?a BAD"),
    "thread by what is not": (b"a THREAD X-NONE UTF-8 ALL\r\na THREAD REFERENCES UTF-8\r\n", rb"a BAD[\s\S]*?a BAD"),
    "mod-sequence too large": (b"a FETCH 1 FLAGS (CHANGEDSINCE 18446744073709551616)\r\n"
                               b"a STORE 1 (UNCHANGEDSINCE 99999999999999999999) FLAGS ()\r\n", rb"a BAD[\s\S]*?a BAD"),
    "resync with nonsense": (b"a ENABLE QRESYNC\r\nb SELECT INBOX (QRESYNC (0 0))\r\n"
                             b"b SELECT INBOX (QRESYNC (1 1 4294967295:* (1:* 1)))\r\n", rb"b (BAD|NO)[\s\S]*?b (OK|BAD|NO)"),
    "annotation of much": (b"a SETMETADATA INBOX (/private/" + b"x/" * 30000 + b"y \"v\")\r\n", rb"a (BAD|NO)"),
    "annotation with ..": (b'a SETMETADATA INBOX (/private/../../x "v")\r\n', rb"a (OK|BAD|NO)"),
    "notify nested": (b"a NOTIFY SET " + MANY_PARENTHESES + b"\r\n", rb"a BAD|BYE"),
    "list of many patterns": (b'a LIST "" (' + b'"*%*%*%x" ' * 3000 + b'"y")\r\n', rb"a (OK|BAD|NO)"),
    "ID of too much": (b"a ID (" + b'"k" "v" ' * 5000 + b")\r\n", rb"a (OK|BAD|NO)"),
}

for number, odd in enumerate([b'"../../etc"', b'"a/../../b"', b'"/etc"', b'".."', b'"."', b'"a//b"', b'"a/"', b'""',
                              b'"a\0b"', b'"a\rb"', b'"&"', b'"&AB"', b'"&!!!-"', b'"&2AA-"', b'"&AGE-"', b'"\xff\xfe"',
                              b'"%b"' % (b"x" * 300), b'"%b"' % (b"d/" * 3000 + b"x"), b'"a%"', b'"*"', b'"~root"',
                              b'"cur"', b'".Sent"', b'"INBOX/../x"', b'"|sh"', b'"#shared"']):
    # Whatever is allowed here must come back as it was said; nothing may leave the Maildir (checked below).
    IMAP_AFTER[f"name {number}"] = (b"".join(b"a %b %b\r\n" % (verb, odd) for verb in (
        b"CREATE", b"SELECT", b"SUBSCRIBE", b"STATUS", b"DELETE")).replace(b"STATUS " + odd, b"STATUS " + odd + b" (MESSAGES)")
        + b'a RENAME Nowhere %b\r\na LIST "" %b\r\na LIST %b "*"\r\n' % (odd, odd, odd), rb"a (OK|BAD|NO)|BYE")


def say(data):
    return data() if callable(data) else [data]


def check_imap(roost, data, expected, log_in):
    start = b""
    if log_in:
        start = f'l LOGIN {ALICE} "{PASSWORD}"\r\ns SELECT INBOX\r\n'.encode()

    def pieces():
        if start:
            yield start
        yield from say(data)
        yield b"\r\nzz9 NOOP\r\n"

    heard = talk(roost, "imap", pieces(), rb"zz9 OK")
    if start:
        assert b"s OK" in heard, heard[-500:]
        heard = heard[re.search(rb"s OK.*\r\n", heard).end():]
    else:
        heard = heard.split(b"\r\n", 1)[1]
    assert re.search(expected, heard), heard[-500:]
    assert re.search(rb"zz9 (OK|BAD)|\* BYE", heard), heard[-500:]


def test_imap_before_log_in(roost):
    run_table(IMAP_BEFORE, lambda data, expected: check_imap(roost, data, expected, log_in=False))


@pytest.fixture
def one_message(roost):
    client = imaplib.IMAP4("localhost", roost.ports["imap"])
    client.login(ALICE, PASSWORD)
    client.select()
    if not client.search(None, "ALL")[1][0]:
        client.append("INBOX", None, None, b"From: a@example.test\r\nSubject: one\r\n\r\nbody\r\n")
    client.logout()


def test_imap_after_log_in(roost, one_message):
    home = roost.home("alice")

    def check(data, expected):
        check_imap(roost, data, expected, log_in=True)
        # Nothing was made outside the user's Maildir.
        assert sorted(os.listdir(home.parent)) in (["alice"], ["alice", "bob"])
        assert set(os.listdir(home)) <= {"Maildir", "index"}
        assert not set(os.listdir(roost.state)) - before

    before = set(os.listdir(roost.state))
    run_table(IMAP_AFTER, check)
    client = imaplib.IMAP4("localhost", roost.ports["imap"])
    client.login(ALICE, PASSWORD)
    assert client.list()[0] == "OK" and client.lsub()[0] == "OK"
    client.logout()


# ---- POP3 ----

POP3_BEFORE = {
    "unknown command": (b"FLY\r\n", rb"-ERR"),
    "empty line": (b"\r\n", rb"-ERR"),
    "wrong state": (b"STAT\r\nRETR 1\r\n", rb"-ERR[\s\S]*?-ERR"),
    "PASS first": (b"PASS x\r\n", rb"-ERR"),
    "over-long line": (b"USER " + b"x" * 300000 + b"\r\n", rb"-ERR"),
    "endless line": (lambda: endless(b"USER "), rb"-ERR"),
    "NUL": (b"US\0ER x\r\n", rb"-ERR"),
    "garbage": (GARBAGE + b"\r\n", rb"-ERR"),
    "cancelled AUTH": (b"AUTH PLAIN\r\n*\r\n", rb"\+ [\s\S]*?-ERR"),
    "bad base64": (b"AUTH PLAIN\r\n!!!!\r\n", rb"-ERR"),
    "empty response": (b"AUTH PLAIN =\r\n", rb"-ERR"),
    "unknown mechanism": (b"AUTH ROT13\r\n", rb"-ERR"),
    "APOP": (b"APOP u 00000000000000000000000000000000\r\n", rb"-ERR"),
}

POP3_AFTER = {
    "unknown command": (b"FLY\r\n", rb"-ERR"),
    "RETR 0": (b"RETR 0\r\nRETR -1\r\nRETR 99999999999999999999\r\nRETR x\r\nRETR\r\n", rb"(-ERR[^\n]*\n){5}"),
    "TOP": (b"TOP 1\r\nTOP 1 -1\r\nTOP 0 0\r\nTOP 1 99999999999999999999\r\n", rb"(-ERR[^\n]*\n){3}"),
    "TOP of all": (b"TOP 1 4294967295\r\n", rb"\+OK"),
    "DELE twice": (b"DELE 1\r\nDELE 1\r\nRETR 1\r\nRSET\r\n", rb"\+OK[\s\S]*?-ERR[\s\S]*?-ERR[\s\S]*?\+OK"),
    "LIST of what is not there": (b"LIST 99\r\nUIDL 0\r\n", rb"-ERR[\s\S]*?-ERR"),
    "over-long line": (b"RETR " + b"1" * 300000 + b"\r\n", rb"-ERR"),
    "endless line": (lambda: endless(b"RETR "), rb"-ERR"),
    "NUL": (b"ST\0AT\r\n", rb"-ERR"),
    "garbage": (GARBAGE + b"\r\n", rb"-ERR"),
    "log-in again": (b"USER x\r\nPASS y\r\n", rb"-ERR[\s\S]*?-ERR"),
    "STLS too late": (b"STLS\r\n", rb"-ERR"),
}


def check_pop3(roost, data, expected, log_in):
    start = f"USER {ALICE}\r\nPASS {PASSWORD}\r\n".encode() if log_in else b""

    def pieces():
        if start:
            yield start
        yield from say(data)
        yield b"\r\nCAPA\r\nQUIT\r\n"

    heard = wait_until(lambda: not_in_use(talk(roost, "pop3", pieces(), rb"^$")), what="the maildrop is free")
    heard = heard.split(b"\r\n", 3 if start else 1)[-1]
    assert re.search(expected, heard), heard[-500:]
    assert b"UIDL" in heard or re.search(rb"-ERR[^\n]*\n$", heard), heard[-500:]


def not_in_use(heard):
    return None if b"[IN-USE]" in heard else heard


def test_pop3_before_log_in(roost):
    run_table(POP3_BEFORE, lambda data, expected: check_pop3(roost, data, expected, log_in=False))


def test_pop3_after_log_in(roost, one_message):
    run_table(POP3_AFTER, lambda data, expected: check_pop3(roost, data, expected, log_in=True))


# ---- SMTP, submission, LMTP ----

LOG_IN = b"AUTH PLAIN " + base64.b64encode(f"\0{ALICE}\0{PASSWORD}".encode()) + b"\r\n"
MAIL = b"MAIL FROM:<%b>\r\n" % ALICE.encode()
RCPT = b"RCPT TO:<%b>\r\n" % ALICE.encode()
HELLO = {"smtp": b"EHLO client.example.org\r\n", "submission": b"EHLO client.example.org\r\n" + LOG_IN,
         "lmtp": b"LHLO client.example.org\r\n"}

SMTP_CASES = {
    "unknown command": (b"FLY\r\n", rb"500 5"),
    "empty line": (b"\r\n", rb"500 5"),
    "8 bit": (b"\xff\xfe\r\n", rb"50[012] 5"),
    "garbage": (GARBAGE.replace(b"\n", b"") + b"\r\n", rb"50[012] 5|421"),
    "NUL": (b"NO\0OP\r\n", rb"50[01] 5"),
    "over-long line": (b"NOOP " + b"x" * 300000 + b"\r\n", rb"500 5|421"),
    "endless line": (lambda: endless(b"NOOP "), rb"500 5|421"),
    "bare LF": (b"NOOP\nNOOP\r\n", rb"[25]\d\d [25]"),
    "RCPT first": (RCPT, rb"503 5"),
    "DATA first": (b"DATA\r\n", rb"503 5"),
    "DATA without RCPT": (MAIL + b"DATA\r\n", rb"503 5"),
    "DATA without a good RCPT": (MAIL + b"RCPT TO:<nobody@example.test>\r\nDATA\r\n", rb"550 5.1.1[\s\S]*?(554|503) 5"),
    "MAIL twice": (MAIL + MAIL, rb"503 5"),
    "no brackets": (b"MAIL FROM:x@example.test\r\n", rb"501 5|555 5|250 2|553 5"),
    "no address": (b"MAIL FROM:\r\nMAIL\r\nMAIL FROM:<\r\nMAIL FROM:<a@>\r\nMAIL FROM:<@>\r\n", rb"(50[0-9] 5[^\n]*\n){5}"),
    "blank address": (MAIL + b"RCPT TO:<>\r\nRCPT TO:<@>\r\nRCPT TO:< >\r\n", rb"(5\d\d 5[^\n]*\n){3}"),
    "empty local part": (MAIL + b'RCPT TO:<""@example.test>\r\n', rb"5\d\d 5"),
    "shell in an address": (MAIL + b"RCPT TO:<`id`|;x$(id)@example.test>\r\n", rb"5\d\d 5"),
    "path in an address": (MAIL + b"RCPT TO:<../bob@example.test>\r\nRCPT TO:<a/b@example.test>\r\nNOOP\r\n",
                           rb"(5\d\d 5[^\n]*\n){2}250"),
    "long local part": (MAIL + b"RCPT TO:<" + b"x" * 900 + b"@example.test>\r\n", rb"5\d\d 5"),
    "long domain": (MAIL + b"RCPT TO:<x@" + b"d." * 400 + b"test>\r\n", rb"5\d\d 5"),
    "unclosed quote": (MAIL + b'RCPT TO:<"abc@example.test>\r\n', rb"5\d\d 5"),
    "huge SIZE": (b"MAIL FROM:<%b> SIZE=99999999999\r\n" % ALICE.encode(), rb"552 5.3.4"),
    "SIZE beyond 64 bits": (b"MAIL FROM:<%b> SIZE=99999999999999999999999\r\n" % ALICE.encode(), rb"5\d\d 5"),
    "SIZE that is none": (b"MAIL FROM:<%b> SIZE=abc\r\n" % ALICE.encode(), rb"5\d\d 5"),
    "SIZE without value": (b"MAIL FROM:<%b> SIZE\r\n" % ALICE.encode(), rb"5\d\d 5"),
    "negative SIZE": (b"MAIL FROM:<%b> SIZE=-1\r\n" % ALICE.encode(), rb"5\d\d 5"),
    "unknown parameter": (b"MAIL FROM:<%b> FLY=1\r\n" % ALICE.encode(), rb"5\d\d 5"),
    "unknown RCPT parameter": (MAIL + RCPT.replace(b">\r", b"> FLY=1\r"), rb"5\d\d 5"),
    "odd BODY": (b"MAIL FROM:<%b> BODY=9BIT\r\n" % ALICE.encode(), rb"5\d\d 5"),
    "VRFY resets nothing": (MAIL + b"VRFY alice\r\n" + RCPT + b"DATA\r\nSubject: vrfy\r\n\r\nx\r\n.\r\n", rb"252 2[\s\S]*?354[\s\S]*?250 2"),
    "VRFY tells nothing": (b"VRFY nobody@example.test\r\n", rb"252 2|502 5|550 5"),
    "EXPN": (b"EXPN list\r\n", rb"50[02] 5"),
    "TURN": (b"TURN\r\nETRN x\r\nDEBUG\r\nWIZ\r\n", rb"(50[012] 5[^\n]*\n){4}"),
    "HELP and more": (b"HELP\r\nNOOP x y\r\nRSET\r\n", rb"250 2"),
    "many errors": (b"FLY\r\n" * 100, rb"421 4|500 5"),
    "pipelined and reset": (MAIL + RCPT + b"RSET\r\nDATA\r\n", rb"503 5"),
    "BDAT": (MAIL + RCPT + b"BDAT 0 LAST\r\n", rb"50[02] 5|250 2|5\d\d 5"),
}

SMTP_ONLY = {
    "LHLO": (b"LHLO x\r\n", rb"50[02] 5"),
    "relaying tricks": (b"".join(MAIL + b"RCPT TO:<%b>\r\nRSET\r\n" % a for a in (
        b"x%elsewhere.test@example.test", b'"x@elsewhere.test"@example.test', b"elsewhere.test!x@example.test")),
        rb"(550 5[^\n]*\n(2[^\n]*\n)*){3}"),
    "ENVID with a NUL": (b"MAIL FROM:<%b> ENVID=a+00b\r\n" % ALICE.encode(), rb"501 5"),
    "ENVID with a line end": (b"MAIL FROM:<%b> ENVID=a+0D+0Ab\r\n" % ALICE.encode(), rb"501 5"),
    "ORCPT with a NUL": (MAIL + RCPT.replace(b">\r", b"> ORCPT=rfc822;a+00b\r"), rb"501 5"),
    "odd NOTIFY": (MAIL + RCPT.replace(b">\r", b"> NOTIFY=NEVER,SUCCESS\r"), rb"501 5"),
    "cancelled AUTH": (b"AUTH PLAIN\r\n*\r\n", rb"50[13] 5"),
    "bad base64": (b"AUTH PLAIN !!!!\r\n", rb"50[13] 5|535 5"),
}

LMTP_ONLY = {
    "EHLO": (b"EHLO x\r\nHELO x\r\n", rb"500 5[\s\S]*?500 5"),
    # RFC 2033 section 4.3: the last chunk has as many replies as there were recipients.
    "last BDAT without RCPT": (b"NOOP\r\nBDAT 5 LAST\r\nabc\r\nRSET\r\n", rb"^(250 2[^\n]*\n){2}500"),
    "BDAT without RCPT": (b"BDAT 5\r\nabc\r\n", rb"503 5"),
    "BDAT of nonsense": (MAIL + RCPT + b"BDAT x LAST\r\n", rb"501 5"),
    "BDAT without size": (MAIL + RCPT + b"BDAT\r\n", rb"501 5"),
    "BDAT of -1": (MAIL + RCPT + b"BDAT -1 LAST\r\n", rb"501 5"),
    "BDAT beyond 64 bits": (MAIL + RCPT + b"BDAT 99999999999999999999999 LAST\r\n", rb"5\d\d 5"),
    "BDAT that is too large": (lambda: endless(MAIL + RCPT + b"BDAT %d LAST\r\n" % (30 << 20)), rb"552 5"),
    "BDAT, then DATA": (MAIL + RCPT + b"BDAT 3\r\nabcDATA\r\n", rb"503 5"),
    "DATA, then BDAT": (MAIL + RCPT + b"DATA\r\nBDAT 3\r\n.\r\nBDAT 3 LAST\r\nabc", rb"354[\s\S]*?250 2[^\n]*\n500"),
    "many tiny BDATs": (MAIL + RCPT + b"BDAT 1\r\nx" * 3000 + b"BDAT 0 LAST\r\n", rb"(250 2[^\n]*\n){3003}|421 4"),
    "BDAT behind LAST": (MAIL + RCPT + b"BDAT 1 LAST\r\nxBDAT 1\r\nx", rb"250 2[\s\S]*?503 5"),
    "a dot in BDAT": (MAIL + RCPT + b"BDAT 15 LAST\r\nabc\r\n.\r\nRSET\r\n", rb"250 2"),
}


def cases_of(name):
    return {**SMTP_CASES, **(LMTP_ONLY if name == "lmtp" else SMTP_ONLY)}


def check_smtp(roost, name, data, expected, hello):
    def pieces():
        if hello:
            yield HELLO[name]
        yield from say(data)
        yield b"\r\nNOOP\r\nQUIT\r\n"

    heard = talk(roost, name, pieces(), rb"(^|\n)(221|421) ")
    if hello:
        heard = heard[re.search(rb"\n250 .*\r\n(235.*\r\n)?", heard).end():]
    assert re.search(expected, heard), heard[-500:]
    assert re.search(rb"(^|\n)(221|421|500|501|552) [^\n]*\n$", heard), heard[-500:]
    assert re.fullmatch(rb"(\d\d\d[ -][^\n]*\r\n)*", heard), f"not whole replies: {heard[-500:]}"


@pytest.mark.parametrize("name", list(HELLO))
def test_smtp_and_lmtp(roost, name):
    run_table(cases_of(name), lambda data, expected: check_smtp(roost, name, data, expected, hello=True))


@pytest.mark.parametrize("name", ["smtp", "submission"])
def test_smtp_before_ehlo_or_log_in(roost, name):
    early = {case: (data, expected + rb"|530 5|50[023] 5") for case, (data, expected) in cases_of(name).items()}
    run_table(early, lambda data, expected: check_smtp(roost, name, data, expected, hello=False))


@pytest.mark.parametrize("name", list(HELLO))
def test_recipients_over_the_limit(roost, name):
    local = [roost.add_user(f"many{name}{n}") for n in range(7)]
    client = Line(roost.ports[name])
    client.send(HELLO[name] + MAIL)
    client.until("250 2.1.0")
    for n, user in enumerate(local):
        client.send(f"RCPT TO:<{user}>\r\n")
        assert client.line().startswith("250" if n < 5 else "452"), n
    client.send("DATA\r\nSubject: for five\r\n\r\nx\r\n.\r\n")
    assert client.line().startswith("354")
    for _ in range(5 if name == "lmtp" else 1):
        assert client.line().startswith("250")
    client.close()
    for n, user in enumerate(local):
        wait_until(lambda: count_messages(roost, user) == (n < 5), what="the message arrives")
        roost.ctl("user", "remove", user)


def count_messages(roost, user):
    client = imaplib.IMAP4("localhost", roost.ports["imap"])
    client.login(user, PASSWORD)
    count = int(client.select()[1][0])
    client.logout()
    return count


# ---- smuggling ----

ENDINGS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n", b"\r\r\n.\r\r\n",
           b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n. \r\n", b"\r\n.\t\r\n", b"\r\n..\r\n", b"\n\n.\r\n", b"\n\n.\n\n",
           b"\r\n.\r\r\n", b"\r\n\x2e\n\r\n", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\r\n\xae\r\n", b"\x0b.\x0b", b"\x0c.\x0c"]


@pytest.mark.parametrize("name", list(HELLO))
def test_smuggling(roost, name):
    """Only <CR><LF>.<CR><LF> ends a message; what looks like it never makes two of one."""
    user = f"victim-{name}@example.test"
    roost.add_user(f"victim-{name}")
    session = imaplib.IMAP4("localhost", roost.ports["imap"])
    session.login(user, PASSWORD)
    failures = {}
    for ending in ENDINGS:
        for in_pieces in (False, True):
            try:
                smuggle(roost, name, user, ending, in_pieces, session)
            except AssertionError as e:
                failures[ending, in_pieces] = str(e)
            if session.select()[1] != [b"0"]:
                session.store("1:*", "+FLAGS", "\\Deleted")
                session.expunge()
    session.logout()
    assert failures == {}


def smuggle(roost, name, user, ending, in_pieces, session):
    to = f"RCPT TO:<{user}>\r\n".encode()
    client = Line(roost.ports[name])
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.send(HELLO[name] + MAIL + to + b"DATA\r\n")
    client.until("354")
    text = (b"Subject: outer\r\n\r\nfirst" + ending + b"MAIL FROM:<admin@example.test>\r\n" + to
            + b"DATA\r\nSubject: smuggled\r\n\r\nsecond\r\n.\r\n")
    if in_pieces:
        start = text.index(b"first")
        client.send(text[:start])
        for byte in text[start:start + 12]:
            client.send(bytes([byte]))
        client.send(text[start + 12:])
    else:
        client.send(text)
    client.send("QUIT\r\n")
    answers = client.rest()
    client.close()
    assert len(answers) == 2 and answers[1].startswith("221"), answers
    taken = answers[0].startswith("250")
    assert taken or answers[0].startswith("550 5."), answers
    if name == "lmtp":
        assert taken, answers
    wait_until(lambda: session.select()[1] == [b"%d" % taken], what="one message or none")
    if taken:
        text = session.fetch("1", "(BODY.PEEK[])")[1][0][1]
        assert b"Subject: outer\r\n" in text and text.endswith(b"second\r\n"), text


# ---- STARTTLS and AUTH ----

STARTTLS = {"imap": (b"a STARTTLS\r\n", b"a OK", b"zz9 NOOP\r\n"), "pop3": (b"STLS\r\n", b"+OK", b"CAPA\r\n"),
            "smtp": (b"EHLO x\r\nSTARTTLS\r\n", b"220 2", b"NOOP\r\n"),
            "submission": (b"EHLO x\r\nSTARTTLS\r\n", b"220 2", b"NOOP\r\n")}
INJECTED = {"imap": [b"b NOOP\r\n", b"b LOGIN {3+}\r\nabc", b'b LOGIN %b "%b"\r\n' % (ALICE.encode(), PASSWORD.encode())],
            "pop3": [b"USER %b\r\nPASS %b\r\n" % (ALICE.encode(), PASSWORD.encode()), b"CAPA\r\n"],
            "smtp": [b"EHLO y\r\n" + MAIL + RCPT + b"DATA\r\nSubject: injected\r\n\r\nx\r\n.\r\n", b"NOOP\r\n"],
            "submission": [b"EHLO y\r\n" + LOG_IN + MAIL + RCPT + b"DATA\r\nSubject: injected\r\n\r\nx\r\n.\r\n"]}


@pytest.mark.parametrize("name,injected", [(n, i) for n, all_ in INJECTED.items() for i in all_],
                         ids=lambda value: value if isinstance(value, str) else value[:10].decode().strip())
def test_what_comes_with_starttls_is_not_executed(roost, name, injected):
    command, go, probe = STARTTLS[name]
    log_ins = roost.log().count("auth.login ok")
    client = Line(roost.ports[name])
    client.line()
    client.send(command + injected)
    client.until(go.decode())
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        client.start_tls(tls_context(roost))
        client.send(probe)
        answer = client.line()
        # The first answer over TLS is the one to the probe.
        assert answer.startswith({"imap": "zz9 OK", "pop3": "+OK", "smtp": "250 2.0.0", "submission": "250 2.0.0"}[name])
        client.send({"imap": "b LOGOUT\r\n"}.get(name, "QUIT\r\n"))
        rest = client.rest()
        assert all(line.startswith(("* BYE", "b OK", "221")) for line in rest) or name == "pop3", rest
    client.close()
    assert roost.log().count("auth.login ok") == log_ins
    assert "injected" not in roost.log()


def test_a_client_that_leaves_in_the_middle_of_a_log_in(roost):
    for _ in range(50):
        for name, words in (("imap", b"a AUTHENTICATE PLAIN\r\n"), ("imap", b"a AUTHENTICATE LOGIN\r\n" + b"eA==\r\n"),
                            ("pop3", b"AUTH LOGIN\r\n"), ("submission", b"EHLO x\r\nAUTH LOGIN\r\n"),
                            ("imap", f'a LOGIN {ALICE} "{PASSWORD}"\r\n'.encode()), ("submission", HELLO["submission"])):
            client = Line(roost.ports[name])
            client.send(words)
            client.close()
