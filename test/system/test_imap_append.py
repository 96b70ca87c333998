# SPDX-License-Identifier: MIT
"""APPEND in its richer forms: CATENATE (RFC 4469), BINARY (RFC 3516), REPLACE (RFC 8508)."""

import re

import pytest

FIRST = (b"Subject: first\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xx\r\n\r\n"
         b"--xx\r\n\r\nold text\r\n--xx\r\nContent-Type: application/zip\r\n"
         b"Content-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n--xx--\r\n")


class Raw:
    """A connection of imaplib's, spoken to by hand."""

    def __init__(self, client):
        self.client = client

    def command(self, *pieces):
        """Sends text and, as bytes, literals (each announced in the text before it). The lines of the
        answer, the tagged one last, with literals inside."""
        sock, lines = self.client, []
        for piece in pieces:
            sock.send(piece if isinstance(piece, bytes) else piece.encode())
        while True:
            line = sock.readline()
            assert line, lines
            while (size := re.search(rb"\{(\d+)\}\r\n$", line)):
                line += sock.read(int(size[1])) + sock.readline()
            lines.append(line)
            if line.startswith((b"x ", b"+ ")):
                return lines


def literal(data, head=""):
    return f"{head}{{{len(data)}+}}\r\n".encode() + data


@pytest.fixture
def raw(imap, user):
    client = imap(user)
    assert client.append("INBOX", None, None, FIRST)[0] == "OK"
    assert client.create("Drafts2")[0] == "OK"
    client.select("INBOX")
    return Raw(client)


def body(raw, mailbox, item="BODY.PEEK[]", uid=None):
    raw.client.select(mailbox)
    lines = raw.command(f"x UID FETCH {uid or '*'} ({item})\r\n")
    return re.match(rb"^\* \d+ FETCH .*?\{\d+\}\r\n(.*)\)\r\n$", lines[0], re.S)[1]


def test_catenate_replaces_the_text_and_keeps_the_attachment(raw):
    new_text = b"\r\n--xx\r\n\r\nnew text\r\n--xx\r\n"
    lines = raw.command(
        'x APPEND Drafts2 (\\Seen) CATENATE (URL "/INBOX/;UID=1/;SECTION=HEADER" TEXT ', literal(new_text[2:]),
        ' URL "/INBOX/;UID=1/;SECTION=2.MIME" URL ";UID=1/;SECTION=2" TEXT ', literal(b"\r\n--xx--\r\n"),
        ")\r\n")
    assert re.match(rb"x OK \[APPENDUID \d+ 1\]", lines[-1]), lines
    assert body(raw, "Drafts2") == FIRST.replace(b"old", b"new")


@pytest.mark.parametrize("url, code", [
    ("/INBOX/;UID=9", b"BADURL /INBOX/;UID=9"),
    ("/Nowhere/;UID=1", b"BADURL"),
    ("/INBOX;UIDVALIDITY=1/;UID=1", b"BADURL"),
    ("/INBOX/;UID=1/;SECTION=7", b"BADURL"),
    ("/INBOX", b"BADURL"),
    ("imap://other.test/INBOX/;UID=1", b"BADURL"),
    ("/INBOX/;UID=1]", b"BADURL /INBOX/;UID=1?"),
])
def test_catenate_with_a_bad_url_stores_nothing(raw, url, code):
    lines = raw.command(f'x APPEND Drafts2 CATENATE (TEXT ', literal(b"A: b\r\n\r\n"),
                        f' URL "{url}" TEXT ', literal(b"more"), ")\r\n")
    assert lines[-1].startswith(b"x NO [" + code), lines
    assert raw.client.status("Drafts2", "(MESSAGES)")[1] == [b"Drafts2 (MESSAGES 0)"]


def test_catenate_takes_a_range_and_several_messages(raw):
    lines = raw.command('x APPEND Drafts2 CATENATE (URL "/INBOX/;UID=1/;PARTIAL=0.16" TEXT ',
                        literal(b"\r\nbody\r\n"), ") (\\Flagged) ", literal(b"B: c\r\n\r\nplain\r\n"), "\r\n")
    assert re.match(rb"x OK \[APPENDUID \d+ 1:2\]", lines[-1]), lines
    assert body(raw, "Drafts2", uid=1) == b"Subject: first\r\n\r\nbody\r\n"
    assert body(raw, "Drafts2", uid=2) == b"B: c\r\n\r\nplain\r\n"


def test_catenate_refuses_what_it_cannot_read(raw):
    assert b"expected TEXT or URL" in raw.command("x APPEND Drafts2 CATENATE (WHAT 1)\r\n")[-1]
    assert b"cannot be empty" in raw.command("x APPEND Drafts2 CATENATE ()\r\n")[-1]
    lines = raw.command("x APPEND Drafts2 CATENATE (TEXT ", literal(b"a\0b"), ")\r\n")
    assert lines[-1].startswith(b"x BAD"), lines
    assert b"[TOOBIG]" in raw.command("x APPEND Drafts2 CATENATE (TEXT {9223372036854775807}\r\n")[-1]


def test_binary_message_comes_back_octet_for_octet(raw):
    data = bytes(range(256)) * 40 + b"\r\n.\n\r--xx\n"
    message = (b"Subject: binary\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=yy\r\n"
               b"Content-Transfer-Encoding: binary\r\n\r\n--yy\r\n\r\ntext\r\n--yy\r\n"
               b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
               + data + b"\r\n--yy--\r\n")
    lines = raw.command("x APPEND INBOX ", literal(message, "~"), "\r\n")
    assert b"x OK [APPENDUID" in lines[-1], lines
    raw.client.select("INBOX")
    line = raw.command("x FETCH 2 (BINARY.SIZE[2] BINARY.PEEK[2])\r\n")[0]
    head = b"* 2 FETCH (BINARY.SIZE[2] %d BINARY[2] ~{%d}\r\n" % (len(data), len(data))
    assert line.startswith(head)
    assert line[len(head):len(head) + len(data)] == data
    # Other clients see base64, and the structure says so (RFC 3516 section 6).
    structure = raw.command("x FETCH 2 BODYSTRUCTURE\r\n")[0].lower()
    assert b'"base64"' in structure and b'"binary"' not in structure


def test_nul_outside_of_a_part_is_refused(raw):
    lines = raw.command("x APPEND INBOX ", literal(b"Subject: a\0b\r\n\r\ntext\r\n", "~"), "\r\n")
    assert lines[-1].startswith(b"x NO [UNKNOWN-CTE]"), lines
    assert raw.client.status("INBOX", "(MESSAGES)")[1] == [b"INBOX (MESSAGES 1)"]


NEW = b"Subject: second\r\n\r\nnew\r\n"


@pytest.mark.parametrize("command, uid", [("REPLACE 1", 2), ("REPLACE *", 2), ("UID REPLACE 1", 2)])
def test_replace_puts_one_message_in_place_of_another(raw, command, uid):
    lines = raw.command(f"x {command} INBOX (\\Draft) ", literal(NEW), "\r\n")
    assert re.match(rb"\* OK \[APPENDUID \d+ %d\]" % uid, lines[0]), lines
    assert b"* 1 EXPUNGE\r\n" in lines and lines[-1].startswith(b"x OK"), lines
    assert body(raw, "INBOX", uid=uid) == NEW
    assert raw.client.status("INBOX", "(MESSAGES)")[1] == [b"INBOX (MESSAGES 1)"]


def test_replace_into_another_mailbox_with_catenate(raw):
    lines = raw.command("x UID REPLACE 1 Drafts2 CATENATE (TEXT ", literal(b"To: bob@example.test\r\n"),
                        ' URL "/INBOX/;UID=1")\r\n')
    assert lines[-1].startswith(b"x OK"), lines
    assert body(raw, "Drafts2") == b"To: bob@example.test\r\n" + FIRST
    assert raw.client.status("INBOX", "(MESSAGES)")[1] == [b"INBOX (MESSAGES 0)"]


@pytest.mark.parametrize("command, answer", [
    ("x REPLACE 0 INBOX ", b"x BAD"),
    ("x REPLACE 2 INBOX ", b"x BAD"),
    ("x UID REPLACE 7 INBOX ", b"x NO [NONEXISTENT]"),
    ("x REPLACE 1 Nowhere ", b"x NO [TRYCREATE]"),
])
def test_replace_that_fails_changes_nothing(raw, command, answer):
    lines = raw.command(command, literal(NEW), "\r\n")
    assert lines[-1].startswith(answer), lines
    assert body(raw, "INBOX", uid=1) == FIRST
    assert raw.client.status("INBOX", "(MESSAGES)")[1] == [b"INBOX (MESSAGES 1)"]


def test_replace_counts_the_difference_against_the_quota(roost, imap, user):
    client = imap(user)
    client.append("INBOX", None, None, FIRST + b"x" * 6000)
    roost.ctl("user", "set", user, "--quota", "10000")
    client = imap(user)
    client.select("INBOX")
    raw = Raw(client)
    big = FIRST + b"y" * 7000
    assert raw.command("x APPEND INBOX ", literal(big), "\r\n")[-1].startswith(b"x NO [OVERQUOTA]")
    assert raw.command("x REPLACE 1 INBOX ", literal(big), "\r\n")[-1].startswith(b"x OK")
    assert raw.command("x REPLACE 1 INBOX ", literal(big * 2), "\r\n")[-1].startswith(b"x NO [OVERQUOTA]")
    assert body(raw, "INBOX") == big
