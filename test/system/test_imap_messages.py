# SPDX-License-Identifier: MIT
"""FETCH and SEARCH of hand-made odd messages, compared with what Python's email package sees in them."""

import contextlib
import email
import email.policy
import re
from pathlib import Path

import pytest

FIXTURES = sorted((Path(__file__).resolve().parents[1] / "fixtures").glob("*.eml"))
COMPAT = email.policy.compat32


def crlf(data):
    return re.sub(rb"\r?\n", b"\r\n", data)


@pytest.fixture(params=FIXTURES, ids=lambda path: path.stem)
def stored(request, imap, user):
    """A client with one message in INBOX, and the message's bytes as they must come back."""
    data = crlf(request.param.read_bytes())
    client = imap(user)
    status, _ = client.append("INBOX", None, None, data)
    assert status == "OK"
    client.select("INBOX")
    return client, data


def fetch(client, item):
    """The literal or value of one item of message 1; None for NIL."""
    status, data = client.fetch("1", f"({item})")
    assert status == "OK", data
    if isinstance(data[0], tuple):
        head, body = data[0]
        length = int(re.search(rb"\{(\d+)\}$", head)[1])
        assert len(body) == length
        return body
    assert data[0].endswith(b" NIL)"), data
    return None


def section(client, spec, partial=""):
    return fetch(client, f"BODY.PEEK[{spec}]{partial}")


def raw_headers(data):
    return email.message_from_bytes(data, policy=COMPAT).items()


def payload_bytes(part):
    """The undecoded body; get_payload() would decode what is 8bit."""
    return part._payload.encode("ascii", "surrogateescape")


def leaves(message):
    """(path, part) of every part with a number, and (path, inner) of messages inside."""

    def walk(part, path, is_message):
        if part.get_content_maintype() == "multipart" and not part.is_multipart():
            return  # without a boundary line there is nothing to compare
        if part.get_content_maintype() == "multipart":
            for number, child in enumerate(part.get_payload(), 1):
                here = [*path, number]
                yield here, child, part
                yield from walk(child, here, False)
        elif is_message:
            here = [*path, 1]
            yield here, part, None
            yield from inner(part, here)
        else:
            yield from inner(part, path)

    def inner(part, path):
        if part.get_content_type() == "message/rfc822" and part.is_multipart():
            yield from walk(part.get_payload(0), path, True)

    yield from walk(message, [], True)


def test_whole_message_and_its_two_halves(stored):
    client, data = stored
    assert section(client, "") == data
    assert section(client, "HEADER") + section(client, "TEXT") == data
    assert fetch(client, "RFC822.HEADER") == section(client, "HEADER")
    status, answer = client.fetch("1", "(RFC822.SIZE)")
    assert int(re.search(rb"RFC822.SIZE (\d+)", answer[0])[1]) == len(data)
    assert fetch(client, "RFC822") == data
    assert fetch(client, "RFC822.TEXT") == section(client, "TEXT")


def test_pieces_join_to_the_whole(stored):
    client, data = stored
    for step in (1, 7, 100):
        if len(data) / step > 300:
            continue
        got = b""
        for off in range(0, len(data), step):
            got += section(client, "", f"<{off}.{step}>")
        assert got == data
    assert section(client, "", f"<{len(data)}.10>") == b""
    assert section(client, "", f"<{len(data) + 5}.10>") == b""
    assert section(client, "", "<0.4000000000>") == data


def test_every_part_is_what_python_finds(stored):
    client, data = stored
    message = email.message_from_bytes(data, policy=COMPAT)
    for path, part, parent in leaves(message):
        spec = ".".join(map(str, path))
        body = section(client, spec)
        assert body is not None, spec
        if not part.is_multipart():
            # Behind the last boundary line Python drops the last line end of a part that is not closed.
            assert body in (payload_bytes(part), payload_bytes(part) + b"\r\n"), spec
        elif part.get_content_type() == "message/rfc822":
            inside = part.get_payload(0)
            assert section(client, spec + ".HEADER") + section(client, spec + ".TEXT") == body
            assert raw_headers(section(client, spec + ".HEADER")) == inside.items()
        if parent is not None:
            assert raw_headers(section(client, spec + ".MIME")) == part.items()
    assert section(client, "99") is None
    assert section(client, "1.99.1") is None


def test_header_fields(stored):
    client, data = stored
    items = raw_headers(section(client, "HEADER"))
    for names in (["Subject"], ["from", "X-EMPTY", "Date"], ["x-colons", "content-type"], ["nothing"]):
        wanted = [n.lower() for n in names]
        got = section(client, f"HEADER.FIELDS ({' '.join(names)})")
        assert got.endswith(b"\r\n")
        assert sorted(raw_headers(got)) == sorted((k, v) for k, v in items if k.lower() in wanted)
        got = section(client, f"HEADER.FIELDS.NOT ({' '.join(names)})")
        assert raw_headers(got) == [(k, v) for k, v in items if k.lower() not in wanted]


def parse_list(text):
    """An IMAP parenthesised list, literals and quoted strings as bytes, NIL as None."""
    at = 0

    def value():
        nonlocal at
        if text[at : at + 1] == b"(":
            at += 1
            found = []
            while text[at : at + 1] != b")":
                if text[at : at + 1] == b" ":
                    at += 1
                found.append(value())
            at += 1
            return found
        if text[at : at + 1] == b'"':
            match = re.compile(rb'"((?:[^"\\]|\\.)*)"').match(text, at)
            at = match.end()
            return re.sub(rb"\\(.)", rb"\1", match[1])
        literal = re.compile(rb"\{(\d+)\}").match(text, at)
        if literal:
            end = literal.end() + int(literal[1])
            found = text[literal.end() : end]
            at = end
            return found
        match = re.compile(rb"[^ ()]+").match(text, at)
        at = match.end()
        return None if match[0] == b"NIL" else match[0]

    return value()


def fetch_list(client, item):
    status, data = client.fetch("1", f"({item})")
    assert status == "OK"
    text = b"".join(part if isinstance(part, bytes) else part[0] + part[1] for part in data)
    return parse_list(text[text.index(b"(") :])[1]


def compare_structure(structure, part):
    if part.get_content_maintype() == "multipart" and not part.is_multipart():
        return
    if isinstance(structure[0], list):
        children = [s for s in structure if isinstance(s, list)]
        subtypes = [s for s in structure if isinstance(s, bytes)]
        assert subtypes[0].decode().lower() == part.get_content_subtype()
        payload = part.get_payload()
        assert all(isinstance(s[0], (bytes, list)) for s in children[: len(payload)])
        for child, inner in zip(structure, payload):
            compare_structure(child, inner)
        return
    kind = f"{structure[0].decode()}/{structure[1].decode()}".lower()
    assert kind == part.get_content_type()
    if kind == "message/rfc822" and part.is_multipart():
        compare_structure(structure[8], part.get_payload(0))
    else:
        body = payload_bytes(part)
        assert int(structure[6]) in (len(body), len(body) + 2)
        if kind.startswith("text/"):
            assert int(structure[7]) in (body.count(b"\n"), body.count(b"\n") + 1)


def test_bodystructure_and_envelope(stored):
    client, data = stored
    message = email.message_from_bytes(data, policy=COMPAT)
    compare_structure(fetch_list(client, "BODYSTRUCTURE"), message)
    compare_structure(fetch_list(client, "BODY"), message)
    envelope = fetch_list(client, "ENVELOPE")
    assert len(envelope) == 10
    subject = message["Subject"]
    if subject is not None and isinstance(subject, str):
        unfolded = re.sub(r"\r?\n(?=[ \t])", "", subject).strip()
        assert envelope[1].decode("utf-8", "replace").strip() == unfolded
    elif subject is None:
        assert envelope[1] is None


SEARCHES = {
    "nested": [
        ('SUBJECT "grüße"', True),
        ('SUBJECT "GRÜSSE and Élance"', False),
        ('SUBJECT "Grüße and élance"', True),
        ('BODY "schöne grüße from"', True),
        ('BODY "enough to be soft-broken"', True),
        ('BODY "Grüße & more"', True),
        ("BODY quicksilver", True),
        ('BODY "the inner one"', True),
        ('BODY "€ rates.txt"', True),
        ('BODY "%PDF"', False),
        ("TEXT nested.1@example.test", True),
        ("BODY nested.1@example.test", False),
        ("FROM eve", False),
        ("TO carol TO bob CC dave", True),
        ("SENTON 7-Feb-1994", True),
        ("SENTSINCE 8-Feb-1994", False),
        ('HEADER Received "by b.example.test"', True),
        ("NOT HEADER Received nowhere", True),
    ],
    "eight_bit": [('FROM "Jörg"', False), ('SUBJECT "café raw"', True), ('BODY "NAÏVE résumé"', True)],
    "odd_charsets": [
        ('SUBJECT "日本語"', True),
        ('SUBJECT "привет"', True),
        ('FROM "Привет"', True),
        ('BODY "ПРИВЕТ, мир"', True),
        ('BODY "日本語 text"', True),
        ('BODY "wide café"', True),
        ('BODY "plain anyway"', True),
    ],
    "folded": [
        ('SUBJECT "over several lines"', True),
        ("SUBJECT several", True),
        ('HEADER X-Empty ""', True),
        ("HEADER X-Empty a", False),
        ('HEADER X-Colons "b: c"', True),
        ("TO two@example.test", True),
        ("SENTON 7-Feb-1994", True),
    ],
    "no_header": [("BODY header", True), ("TEXT subject", False), ("SENTSINCE 1-Jan-1970", False)],
    "digest": [('BODY "first of the digest"', True), ("BODY two", True)],
    "no_parts": [('BODY "no boundary line"', True)],
}


@pytest.mark.parametrize("name", SEARCHES)
def test_search(name, imap, user):
    client = imap(user)
    path = next(p for p in FIXTURES if p.stem == name)
    client.append("INBOX", None, None, crlf(path.read_bytes()))
    client.select("INBOX")
    for keys, matches in SEARCHES[name]:
        # imaplib sends text as it is given; quoted strings with UTF-8 are what clients send.
        status, data = client._simple_command("SEARCH", "CHARSET", "UTF-8", keys.encode())
        assert status == "OK", keys
        _, data = client._untagged_response(status, data, "SEARCH")
        assert (data[0] == b"1") == matches, keys


def test_seen_is_set_and_told(imap, user):
    client = imap(user)
    client.append("INBOX", None, None, crlf(FIXTURES[0].read_bytes()))
    client.select("INBOX")
    _, data = client.fetch("1", "(BODY.PEEK[] RFC822.HEADER FLAGS)")
    assert b"\\Seen" not in b"".join(p if isinstance(p, bytes) else p[0] for p in data)
    _, data = client.fetch("1", "(BODY[TEXT])")
    assert b"\\Seen" in b"".join(p if isinstance(p, bytes) else p[0] for p in data)
    assert client.search(None, "SEEN")[1] == [b"1"]


def append(client, *bodies):
    for body in bodies:
        assert client.append("INBOX", None, None, crlf(body))[0] == "OK"


def message_files(roost, user):
    """In the order of UIDs (the microseconds in the names have no leading zeroes)."""
    home = roost.home(user.split("@")[0]) / "Maildir"
    return sorted((p for d in ("cur", "new") for p in (home / d).iterdir()),
                  key=lambda path: int(re.search(r",U=(\d+)", path.name).group(1)))


def test_messages_expunged_by_another_session(imap, user):
    one, other = imap(user), imap(user)
    append(one, *(b"Subject: number %d\n\nbody %d\n" % (n, n) for n in range(1, 5)))
    one.select("INBOX")
    other.select("INBOX")
    other.store("2,4", "+FLAGS.SILENT", "(\\Deleted)")
    other.expunge()
    for item in ("UID", "ENVELOPE", "BODY.PEEK[]"):
        status, data = one.fetch("1:4", f"({item})")
        numbers = [int((p[0] if isinstance(p, tuple) else p).split()[0]) for p in data if p != b")"]
        assert (status, numbers) == ("OK", [1, 3])
        assert one.fetch("2", f"({item})")[0] == "NO"
    assert one.search(None, "ALL")[1] == [b"1 3"]
    assert one.search(None, "TEXT body")[1] == [b"1 3"]
    one.noop()
    assert one.response("EXPUNGE")[1] == [b"2", b"3"]
    status, data = one.fetch("1:2", "(UID)")
    assert status == "OK" and len(data) == 2


def test_file_gone_or_unreadable(roost, imap, user):
    client = imap(user)
    append(client, *(b"Subject: number %d\n\nbody %d\n" % (n, n) for n in range(1, 4)))
    client.select("INBOX")
    files = message_files(roost, user)
    files[0].unlink()
    files[1].rename(files[1].with_suffix(".away"))
    files[1].mkdir()
    status, data = client.fetch("1:3", "(BODY.PEEK[TEXT])")
    assert b"body 3\r\n" in [p[1] for p in data if isinstance(p, tuple)]
    assert b"body 1\r\n" not in [p[1] for p in data if isinstance(p, tuple)]
    assert client.noop()[0] == "OK"
    files[1].rmdir()


def children(parents):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) in parents:
                found.append(int(stat.parent.name))
    return found


def test_reader_that_stops_costs_little(roost, imap, user):
    """The server does not collect what a client is slow to take."""
    client = imap(user)
    line = b"x" * 70 + b"\n"
    for n in range(8):
        append(client, b"Subject: large %d\n\n" % n + line * 100000)
    client.select("INBOX")
    sessions = children(roost.pids("roost-imap"))
    assert sessions
    client.send(b"slow FETCH 1:* (BODY.PEEK[])\r\n")
    first = client.read(1000000)
    assert b"large 0" in first
    kilobytes = []
    for pid in sessions:
        # Some are of the test before, and end now.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{pid}/status").read_text()
            kilobytes += map(int, re.findall(r"RssAnon:\s+(\d+)", status))
    assert kilobytes and max(kilobytes) < 20000
    size = len(crlf(line)) * 100000
    got = len(first)
    while not client.readline().startswith(b"slow OK"):
        pass
    assert got < size


def test_file_cut_short_while_it_is_sent(roost, imap, user):
    """A literal that cannot be filled any more ends this connection, and no other."""
    client, other = imap(user), imap(user)
    append(client, b"Subject: large\n\n" + b"a line that is cut off\n" * 600000)
    client.select("INBOX")
    other.select("INBOX")
    client.send(b"cut FETCH 1 (BODY.PEEK[])\r\n")
    got = client.read(100000)
    (path,) = message_files(roost, user)
    with open(path, "r+b") as f:
        f.truncate(50000)
    with contextlib.suppress(OSError):
        while piece := client.file.read1(65536):
            got += piece
    announced = int(re.search(rb"\{(\d+)\}", got)[1])
    assert len(got) < announced
    assert b"cut OK" not in got and b"BYE" not in got
    assert other.noop()[0] == "OK"
    assert imap(user).select("INBOX")[0] == "OK"
