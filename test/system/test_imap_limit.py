# SPDX-License-Identifier: MIT
"""How many messages one command works on, where the administrator limits it: MESSAGELIMIT and SAVELIMIT (RFC 9738)."""

import re

import pytest
from test_imap_session import MESSAGE, Wire

LIMIT = 5


@pytest.fixture(scope="module")
def instances():
    from roost_instance import Roost

    made = {}

    def get(**settings):
        key = str(settings)
        if key not in made:
            made[key] = Roost(settings=settings)
        return made[key]

    yield get
    for instance in made.values():
        instance.close()


numbers = iter(range(1, 1000))


@pytest.fixture
def limited(instances):
    roost = instances(imap_message_limit=str(LIMIT))
    wire = Wire(roost, roost.add_user(f"many{next(numbers)}"))
    for _ in range(16):
        wire.send(b"t APPEND INBOX {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
        assert wire.until("t ")[-1].startswith("t OK")
    wire.command("SELECT INBOX")
    for n in range(2, 17, 2):
        wire.command(rf"UID STORE {n} +FLAGS.SILENT (\Deleted)")
    # EXPUNGE and CLOSE have no limit.
    assert sum(line.endswith("EXPUNGE") for line in wire.command("EXPUNGE")) == 8
    yield wire
    wire.socket.close()


def uids(lines):
    return [int(n) for n in re.findall(r"UID (\d+)", "\n".join(lines))]


def test_it_is_announced(instances):
    for settings, announced in (({}, None), ({"imap_message_limit": "5"}, "MESSAGELIMIT=5"),
                                ({"imap_save_limit": "3"}, "SAVELIMIT=3")):
        roost = instances(**settings)
        wire = Wire(roost, roost.add_user(f"many{next(numbers)}"))
        found = [word for word in wire.command("CAPABILITY")[0].split() if "LIMIT=" in word and "APPEND" not in word]
        assert found == ([announced] if announced else [])
        wire.socket.close()


def test_fetch(limited):
    lines = limited.command("FETCH 1:* UID")
    assert sorted(uids(lines[:-1])) == [7, 9, 11, 13, 15]
    assert lines[-1].startswith("t OK [MESSAGELIMIT 5 7] ")
    lines = limited.command("UID FETCH 1:6 UID")
    assert sorted(uids(lines[:-1])) == [1, 3, 5] and "MESSAGELIMIT" not in lines[-1]
    assert "MESSAGELIMIT" not in limited.command("FETCH 4:8 FLAGS")[-1]
    # A page is taken or refused (RFC 9394).
    assert limited.command("UID FETCH 1:* UID (PARTIAL -1:-6)") == \
        ["t NO [MESSAGELIMIT 5] Too many messages, try a smaller subset"]
    lines = limited.command("UID FETCH 1:* UID (PARTIAL 1:5)")
    assert sorted(uids(lines[:-1])) == [1, 3, 5, 7, 9] and "MESSAGELIMIT" not in lines[-1]
    # Bodies too, and what others expunged meanwhile has its own code.
    assert sum("BODY[]" in line for line in limited.command("FETCH 1:* BODY.PEEK[]")) == 5


def test_fetch_of_what_is_gone(instances, limited):
    roost = instances(imap_message_limit=str(LIMIT))
    user = f"many{next(numbers) - 1}@example.test"
    other = Wire(roost, user)
    other.command("SELECT INBOX")
    other.command(r"UID STORE 15 +FLAGS (\Deleted)")
    other.command("EXPUNGE")
    lines = limited.command("FETCH 1:* UID")
    assert sorted(uids(line for line in lines if "FETCH (UID" in line)) == [7, 9, 11, 13]
    assert any(line.startswith("* NO [MESSAGELIMIT 5 7] ") for line in lines)
    assert lines[-1].startswith("t OK [EXPUNGEISSUED]")
    other.socket.close()


def test_search(limited):
    lines = limited.command("UID SEARCH UNDELETED")
    assert lines[0] == "* SEARCH 7 9 11 13 15" and lines[-1].startswith("t OK [MESSAGELIMIT 5 7] ")
    # The client goes on with what is left.
    lines = limited.command("UID SEARCH UNDELETED UIDBEFORE 7")
    assert lines[0] == "* SEARCH 1 3 5" and "MESSAGELIMIT" not in lines[-1]
    assert limited.command("UID SEARCH UIDAFTER 11 ALL")[0] == "* SEARCH 13 15"
    assert limited.command("UID SEARCH UIDAFTER 15")[0] == "* SEARCH"
    assert limited.command("UID SEARCH UIDBEFORE 1")[0] == "* SEARCH"
    assert limited.command("UID SEARCH UIDAFTER 4294967295")[0] == "* SEARCH"
    assert limited.command("UID SEARCH UID 1:10 UIDAFTER 3 NOT UIDAFTER 8")[0] == "* SEARCH 5 7"
    for wrong in ("UIDAFTER", "UIDAFTER 0", "UIDAFTER *", "UIDBEFORE 1:2", "UIDBEFORE x"):
        assert limited.command(f"UID SEARCH {wrong}")[-1].startswith("t BAD")
    # The saved result is what was found (section 3.4).
    assert limited.command("UID SEARCH RETURN (SAVE) ALL")[-1].startswith("t OK [MESSAGELIMIT 5 7] ")
    assert sorted(uids(limited.command("UID FETCH $ UID")[:-1])) == [7, 9, 11, 13, 15]
    # A search that saw a part only is not kept up to date.
    lines = limited.command("UID SEARCH RETURN (ALL UPDATE) ALL")
    assert '* NO [NOUPDATE "t"] Too many messages' in lines
    # These have their order from the cache.
    assert limited.command("UID SORT (ARRIVAL) UTF-8 ALL")[0] == "* SORT 1 3 5 7 9 11 13 15"
    assert "MESSAGELIMIT" not in limited.command("UID THREAD REFERENCES UTF-8 ALL")[-1]


def test_store_and_move(limited):
    lines = limited.command(r"UID STORE 1:* +FLAGS (\Flagged)")
    assert sorted(uids(lines[:-1])) == [7, 9, 11, 13, 15] and lines[-1].startswith("t OK [MESSAGELIMIT 5 7] ")
    assert limited.command("UID SEARCH FLAGGED UIDBEFORE 7")[0] == "* SEARCH"
    lines = limited.command("UID STORE 1:* (UNCHANGEDSINCE 1) +FLAGS (Work)")
    assert any(line.startswith("* NO [MESSAGELIMIT 5 7] ") for line in lines)
    assert lines[-1].startswith("t OK [MODIFIED ")
    assert limited.command("COPY 1:* Trash") == \
        ["t NO [MESSAGELIMIT 5 7] Too many messages, try a smaller subset"]
    assert "MESSAGES 0" in limited.command("STATUS Trash (MESSAGES)")[0]
    lines = limited.command("UID MOVE 1:* Trash")
    assert re.match(r"\* OK \[COPYUID \d+ 7,9,11,13,15 1:5\]", lines[0])
    assert lines[-1].startswith("t OK [MESSAGELIMIT 5 7] ")
    # The same command again does the rest.
    lines = limited.command("UID MOVE 1:* Trash")
    assert re.match(r"\* OK \[COPYUID \d+ 1,3,5 6:8\]", lines[0]) and "MESSAGELIMIT" not in lines[-1]


def test_uid_expunge(limited):
    for n in (1, 3, 5, 7, 9, 11):
        limited.command(rf"UID STORE {n} +FLAGS.SILENT (\Deleted)")
    lines = limited.command("UID EXPUNGE 1:*")
    assert sum(line.endswith("EXPUNGE") for line in lines) == 5 and lines[-1].startswith("t OK [MESSAGELIMIT 5 3] ")
    lines = limited.command("UID EXPUNGE 1:*")
    assert sum(line.endswith("EXPUNGE") for line in lines) == 1 and "MESSAGELIMIT" not in lines[-1]
    assert limited.command("UID SEARCH ALL")[0] == "* SEARCH 13 15"


def append(wire, count, mailbox="INBOX"):
    one = b" {%d+}\r\n%b" % (len(MESSAGE), MESSAGE)
    wire.send(b"t APPEND " + mailbox.encode() + one * count + b"\r\n")
    return wire.until("t ")[-1]


def test_append(limited, instances):
    limited.command("CREATE New")
    assert append(limited, 5, "New").startswith("t OK")
    assert append(limited, 6, "New").startswith("t NO [MESSAGELIMIT 5] ")
    assert "MESSAGES 5" in limited.command("STATUS New (MESSAGES)")[0]
    # A limit that is announced can be used up.
    roost = instances(imap_save_limit="300")
    wire = Wire(roost, roost.add_user(f"many{next(numbers)}"))
    assert append(wire, 300).startswith("t OK")
    assert append(wire, 301).startswith("t NO [MESSAGELIMIT 300] ")
    wire.command("SELECT INBOX")
    assert wire.command("COPY 1:* Trash")[-1].startswith("t OK [COPYUID")
    wire.socket.close()


def test_savelimit_holds_for_copy_and_append_alone(instances):
    roost = instances(imap_save_limit="3")
    wire = Wire(roost, roost.add_user(f"many{next(numbers)}"))
    for _ in range(4):
        assert append(wire, 1).startswith("t OK")
    assert append(wire, 4).startswith("t NO [MESSAGELIMIT 3] ")
    wire.command("SELECT INBOX")
    assert len(wire.command("FETCH 1:* UID")) == 5
    assert wire.command("COPY 1:4 Trash")[-1].startswith("t NO [MESSAGELIMIT 3 2] ")
    assert wire.command("COPY 2:4 Trash")[-1].startswith("t OK")
    assert "MESSAGELIMIT" not in wire.command("MOVE 1:4 Trash")[-1]
    wire.socket.close()
