# SPDX-License-Identifier: MIT
"""Annotations (RFC 5464, RFC 9590), quota (RFC 9208) and object ids (RFC 8474), over raw IMAP."""

import re

import pytest

from test_imap_append import Raw, literal


@pytest.fixture
def raw(imap, user):
    client = imap(user)
    assert client.create("Box")[0] == "OK"
    return Raw(client)


def answer(raw, *pieces):
    lines = raw.command(*pieces)
    return [line for line in lines if line.startswith(b"* ")], lines[-1]


def test_annotations_of_a_mailbox(raw):
    assert answer(raw, 'x SETMETADATA Box (/private/comment "mine" /shared/Comment ', literal(b"two\r\nlines"),
                  ")\r\n")[1].startswith(b"x OK")
    untagged, tagged = answer(raw, "x GETMETADATA Box (/private/comment /shared/comment /private/none)\r\n")
    assert tagged.startswith(b"x OK")
    assert untagged == [b'* METADATA Box (/private/comment "mine" /shared/comment {10}\r\ntwo\r\nlines'
                        b" /private/none NIL)\r\n"]
    answer(raw, "x SETMETADATA Box (/private/comment NIL)\r\n")
    assert answer(raw, "x GETMETADATA Box /private/comment\r\n")[0] == [b"* METADATA Box (/private/comment NIL)\r\n"]


def test_depth_and_maxsize(raw):
    answer(raw, 'x SETMETADATA Box (/private/v/small "12" /private/v/long "12345678" /private/v/a/b "1")\r\n')
    assert answer(raw, "x GETMETADATA Box (DEPTH 1) /private/v\r\n")[0] == [
        b'* METADATA Box (/private/v/long "12345678" /private/v/small "12")\r\n']
    assert answer(raw, "x GETMETADATA (DEPTH infinity MAXSIZE 4) Box (/private/v)\r\n") == (
        [b'* METADATA Box (/private/v/a/b "1" /private/v/small "12")\r\n'],
        b"x OK [METADATA LONGENTRIES 8] Getmetadata completed\r\n")
    assert answer(raw, "x GETMETADATA Box (DEPTH 0) /private/v\r\n")[0] == [b"* METADATA Box (/private/v NIL)\r\n"]


def test_annotations_of_the_server(raw):
    assert answer(raw, 'x SETMETADATA "" (/private/vendor/x "y")\r\n')[1].startswith(b"x OK")
    assert answer(raw, 'x GETMETADATA "" /private/vendor/x\r\n')[0] == [b'* METADATA "" (/private/vendor/x "y")\r\n']
    assert answer(raw, 'x SETMETADATA "" (/shared/admin "me")\r\n')[1].startswith(b"x NO [NOPERM]")


@pytest.mark.parametrize("command, reply", [
    ("GETMETADATA Nowhere /private/a", b"x NO [NONEXISTENT]"),
    ("GETMETADATA Box comment", b"x BAD"),
    ("GETMETADATA Box /private/*", b"x BAD"),
    ("GETMETADATA Box (DEPTH 2) /private/a", b"x BAD"),
    ("SETMETADATA Box (/other/a b)", b"x BAD"),
    ('SETMETADATA Box (/other/a "b")', b"x NO [CANNOT]"),
    ("SETMETADATA Box ()", b"x BAD"),
])
def test_bad_annotations(raw, command, reply):
    assert answer(raw, f"x {command}\r\n")[1].startswith(reply)


def test_values_with_any_bytes_and_too_long_ones(raw):
    data = bytes(range(256))
    assert answer(raw, "x SETMETADATA Box (/private/raw ", literal(data, "~"), ")\r\n")[1].startswith(b"x OK")
    assert answer(raw, "x GETMETADATA Box /private/raw\r\n")[0] == [
        b"* METADATA Box (/private/raw ~{256}\r\n" + data + b")\r\n"]
    long = literal(b"x" * 65537)
    assert b"x NO [METADATA MAXSIZE 65536]" in answer(
        raw, 'x SETMETADATA Box (/private/a "b" /private/long ', long, ")\r\n")[1]
    assert answer(raw, "x GETMETADATA Box /private/a\r\n")[0] == [b"* METADATA Box (/private/a NIL)\r\n"]


def test_list_returns_annotations(raw):
    answer(raw, 'x SETMETADATA Box (/private/color "red")\r\n')
    untagged, _ = answer(raw, 'x LIST "" Box RETURN (METADATA (/private/color))\r\n')
    assert untagged == [b'* LIST (\\HasNoChildren) "/" Box\r\n', b'* METADATA Box (/private/color "red")\r\n']


def test_annotations_follow_a_rename_and_go_with_a_delete(raw):
    answer(raw, 'x SETMETADATA Box (/private/color "red")\r\n')
    raw.client.rename("Box", "Box2")
    assert b'"red"' in answer(raw, "x GETMETADATA Box2 /private/color\r\n")[0][0]
    raw.client.delete("Box2")
    raw.client.create("Box2")
    assert b"NIL" in answer(raw, "x GETMETADATA Box2 /private/color\r\n")[0][0]


def test_quota(roost, imap, user):
    roost.ctl("user", "set", user, "--quota", "100K")
    raw = Raw(imap(user))
    raw.client.append("INBOX", "(\\Deleted)", None, b"Subject: a\r\n\r\n" + b"x" * 3000)
    untagged, tagged = answer(raw, "x GETQUOTAROOT INBOX\r\n")
    assert tagged.startswith(b"x OK")
    root = re.match(rb"\* QUOTAROOT INBOX (\".*\")\r\n$", untagged[0])[1]
    assert re.match(rb"\* QUOTA %s \(STORAGE 3 100\)\r\n$" % root, untagged[1])
    assert answer(raw, b"x GETQUOTA " + root + b"\r\n")[0] == untagged[1:]
    assert answer(raw, "x GETQUOTA nothing\r\n")[1].startswith(b"x NO [NONEXISTENT]")
    assert answer(raw, "x GETQUOTAROOT NotYet\r\n")[0][1] == untagged[1]
    deleted = answer(raw, "x STATUS INBOX (DELETED DELETED-STORAGE)\r\n")[0][0]
    assert re.match(rb"\* STATUS INBOX \(DELETED 1 DELETED-STORAGE 30\d\d\)", deleted)


def test_object_ids_stay(raw):
    created = answer(raw, "x CREATE Other\r\n")[1]
    box_id = re.match(rb"x OK \[MAILBOXID \((F[0-9a-f]{32})\)\]", created)[1]
    raw.client.rename("Other", "Else")
    assert answer(raw, "x STATUS Else (MAILBOXID)\r\n")[0] == [b"* STATUS Else (MAILBOXID (" + box_id + b"))\r\n"]
    selected = answer(raw, "x SELECT Else\r\n")[0]
    assert b"* OK [MAILBOXID (" + box_id + b")] Id of the mailbox\r\n" in selected
    text = b"Message-ID: <root@example.test>\r\n\r\nbody\r\n"
    reply = b"Message-ID: <reply@example.test>\r\nReferences: <root@example.test>\r\n\r\nbody\r\n"
    for message in (text, reply):
        raw.client.append("Else", None, None, message)
    assert answer(raw, "x COPY 1 Box\r\n")[1].startswith(b"x OK")
    ids = [re.search(rb"EMAILID \((M\w+)\) THREADID \((T\w+)\)", line).groups()
           for line in answer(raw, "x FETCH 1:2 (EMAILID THREADID)\r\n")[0] if b"EMAILID" in line]
    assert ids[0][0] != ids[1][0] and ids[0][1] == ids[1][1]
    assert answer(raw, b"x SEARCH EMAILID " + ids[1][0] + b"\r\n")[0] == [b"* SEARCH 2\r\n"]
    raw.client.select("Box")
    copied = answer(raw, "x FETCH 1 (EMAILID)\r\n")[0]
    assert copied == [b"* 1 FETCH (EMAILID (" + ids[0][0] + b"))\r\n"]
