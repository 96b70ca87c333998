# SPDX-License-Identifier: MIT
"""Searches that have a name: FILTERS (RFC 5466)."""

import pytest
from test_imap_session import Wire

MESSAGES = [
    b"From: boss@example.com\r\nSubject: budget\r\n\r\n" + b"long line\r\n" * 1000,
    b"From: friend@example.net\r\nSubject: lunch\r\n\r\nshort\r\n",
    "From: Größe <g@example.net>\r\nSubject: Straße\r\n\r\nviel\r\n".encode() + b"line\r\n" * 2000,
]


@pytest.fixture
def wire(roost, user):
    connection = Wire(roost, user)
    for message in MESSAGES:
        connection.send(b"t APPEND INBOX {%d+}\r\n%b\r\n" % (len(message), message))
        assert connection.until("t ")[-1].startswith("t OK")
    connection.command("SELECT INBOX")
    yield connection
    connection.socket.close()


def keep(wire, name, value):
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    data = quoted.encode()
    if not quoted.isascii():
        wire.send(f"t SETMETADATA \"\" (/private/filters/values/{name} {{{len(value.encode())}+}}\r\n".encode()
                  + value.encode() + b")\r\n")
        return wire.until("t ")[-1]
    return wire.command(f'SETMETADATA "" (/private/filters/values/{name} "{data.decode()}")')[-1]


def found(wire, search):
    lines = wire.command(search)
    assert lines[-1].startswith("t OK"), lines
    return [int(n) for n in lines[0].split()[2:]]


def test_a_filter_stands_for_its_keys(wire):
    assert "FILTERS" in wire.command("CAPABILITY")[0].split()
    assert keep(wire, "on-the-road", 'OR SMALLER 5000 FROM "boss@example.com"').startswith("t OK")
    assert found(wire, "SEARCH FILTER on-the-road") == [1, 2]
    assert found(wire, "SEARCH FILTER ON-THE-ROAD") == [1, 2]
    assert found(wire, "SEARCH 2:3 FILTER on-the-road") == [2]
    assert found(wire, "SEARCH NOT FILTER on-the-road") == [3]
    assert found(wire, "SEARCH OR FILTER on-the-road SUBJECT budget") == [1, 2]
    assert found(wire, "UID SORT (REVERSE ARRIVAL) UTF-8 FILTER on-the-road SUBJECT n") == [2]
    assert wire.command("THREAD ORDEREDSUBJECT UTF-8 FILTER on-the-road")[0].count("(") == 2
    # Several keys are one.
    assert keep(wire, "two", 'SMALLER 5000 SUBJECT "lunch"').startswith("t OK")
    assert found(wire, "SEARCH OR FILTER two SUBJECT budget") == [1, 2]
    # In UTF-8, whatever the rest is in.
    assert keep(wire, "size", 'FROM "größe"').startswith("t OK")
    assert found(wire, "SEARCH CHARSET US-ASCII FILTER size") == [3]
    assert found(wire, "SEARCH CHARSET UTF-8 FILTER size") == [3]
    assert wire.command("SEARCH CHARSET ISO-8859-1 FILTER size")[-1].startswith("t BAD [BADCHARSET ")
    # Another session, and one after the filter was changed and removed.
    assert keep(wire, "on-the-road", "SUBJECT lunch").startswith("t OK")
    assert found(wire, "SEARCH FILTER on-the-road") == [2]
    wire.command('SETMETADATA "" (/private/filters/values/on-the-road NIL)')
    assert wire.command("SEARCH FILTER on-the-road")[-1].startswith("t NO [UNDEFINED-FILTER on-the-road] ")


def test_filters_in_filters(wire):
    keep(wire, "f0", "SUBJECT lunch")
    for n in range(1, 6):
        assert keep(wire, f"f{n}", f"FILTER f{n - 1}").startswith("t OK")
    assert found(wire, "SEARCH FILTER f5") == [2]
    # A loop is as good as nothing, and ends.
    assert keep(wire, "f0", "OR FILTER f5 FILTER f5").startswith("t OK")
    assert wire.command("SEARCH FILTER f3")[-1].startswith("t NO [UNDEFINED-FILTER f")
    assert wire.command("ESEARCH IN (mailboxes INBOX) FILTER f3")[-1].startswith("t NO [UNDEFINED-FILTER f")
    assert found(wire, "SEARCH SUBJECT lunch") == [2]


def test_what_is_no_search_is_no_filter(wire):
    for value in ("OR SMALLER 5000", "", "SUBJECT", "x-unknown 5", "SEEN)", "(SEEN", "SUBJECT {5}", "SEEN  UNSEEN",
                  "RETURN (ALL) SEEN", "(" * 100 + "SEEN" + ")" * 100):
        assert keep(wire, "bad", value).startswith("t NO [CANNOT]"), value
    for wrong in ("FILTER", "FILTER a/b", "FILTER (a)", 'FILTER "a"', "FILTER *"):
        assert wire.command(f"SEARCH {wrong}")[-1].startswith("t BAD"), wrong
    # A description may be anything, and so may the filters of mailboxes, which are none.
    assert wire.command('SETMETADATA "" (/private/filters/descriptions/bad "Not a search")')[-1].startswith("t OK")
    assert wire.command('SETMETADATA INBOX (/private/filters/values/bad "SUBJECT")')[-1].startswith("t OK")
