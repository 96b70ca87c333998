# SPDX-License-Identifier: MIT
"""What a client that enables IMAP4rev2, UTF-8 or UIDONLY sees, in the protocol's own words."""

import re

import pytest
from roost_instance import TOP
from test_imap_session import MESSAGE, Wire

NAME = "Entwürfe & mehr"


@pytest.fixture
def wire(roost, user):
    connection = Wire(roost, user)
    yield connection
    connection.socket.close()


def append(wire, mailbox="INBOX", flags=""):
    wire.send(b"a APPEND %b%b {%d+}\r\n%b\r\n" % (mailbox.encode(), flags.encode(), len(MESSAGE), MESSAGE))
    assert wire.until("a ")[-1].startswith("a OK")


def utf8(lines):
    return [line.encode("latin-1").decode() for line in lines]


def test_select_of_rev2(wire):
    assert wire.command("ENABLE IMAP4rev2 X-UNKNOWN")[0] == "* ENABLED IMAP4rev2"
    wire.command("CREATE INBOX/below")
    append(wire)
    told = wire.command("SELECT INBOX")
    assert '* LIST (\\HasChildren) "/" INBOX' in told
    assert not any("RECENT" in line or "UNSEEN" in line for line in told)
    assert "* 1 FETCH (FLAGS ())" in wire.command("FETCH 1 FLAGS")
    # What was selected is closed, also when the next cannot be opened.
    assert wire.command("SELECT nowhere")[0].startswith("* OK [CLOSED]")
    assert "t NO [NONEXISTENT]" in wire.command("EXAMINE nowhere")[-1]


def test_unasked_answers_of_rev2_have_the_uid(wire, roost, user):
    append(wire)
    wire.command("ENABLE IMAP4rev2")
    wire.command("SELECT INBOX")
    assert "* 1 FETCH (UID 1 FLAGS (\\Seen))" in wire.command("STORE 1 +FLAGS (\\Seen)")
    wire.command("STORE 1 -FLAGS.SILENT (\\Seen)")
    assert re.fullmatch(r"\* 1 FETCH \(BODY\[TEXT\] \{6\}", wire.command("FETCH 1 BODY[TEXT]")[0])
    assert wire.command("FETCH 1 (FLAGS)")[0] == "* 1 FETCH (FLAGS (\\Seen))"


def test_search_of_rev2_answers_esearch(wire):
    wire.command("ENABLE IMAP4rev2")
    append(wire)
    append(wire)
    wire.command("SELECT INBOX")
    assert wire.command("SEARCH ALL")[0] == '* ESEARCH (TAG "t") ALL 1:2'
    assert wire.command("UID SEARCH SUBJECT nothing")[0] == '* ESEARCH (TAG "t") UID'
    assert wire.command("SEARCH RETURN (SAVE) UID 2")[-1].startswith("t OK")
    assert wire.command("UID FETCH $ FLAGS")[:1] == ["* 2 FETCH (UID 2 FLAGS ())"]
    assert wire.command("FETCH $ UID")[:1] == ["* 2 FETCH (UID 2)"]


@pytest.mark.parametrize("extension", ["IMAP4rev2", "UTF8=ACCEPT"])
def test_mailbox_names_in_utf8(wire, roost, user, extension):
    wire.command(f"ENABLE {extension}")
    wire.send(f't CREATE "{NAME}/über"\r\n'.encode())
    assert wire.until("t ")[-1].startswith("t OK")
    assert f'* LIST (\\HasChildren) "/" "{NAME}"' in utf8(wire.command('LIST "" "*"'))
    wire.send('t LIST "" "Entwü%"\r\n'.encode())
    assert utf8(wire.until("t "))[:-1] == [f'* LIST (\\HasChildren) "/" "{NAME}"']
    wire.send(f't STATUS "{NAME}" (MESSAGES)\r\n'.encode())
    assert utf8(wire.until("t "))[0] == f'* STATUS "{NAME}" (MESSAGES 0)'
    # The same mailbox for those who do not know of it; they too may write UTF-8 in quotes.
    old = Wire(roost, user)
    assert '* LIST (\\HasChildren) "/" "Entw&APw-rfe &- mehr"' in old.command('LIST "" "*"')
    old.send(f't STATUS "{NAME}" (MESSAGES)\r\n'.encode())
    assert old.until("t ")[0] == '* STATUS "Entw&APw-rfe &- mehr" (MESSAGES 0)'
    old.socket.close()
    # "&" is a letter like any other here.
    assert wire.command("CREATE a&b")[-1].startswith("t OK")
    assert '* LIST (\\HasNoChildren) "/" a&b' in wire.command('LIST "" "a*"')


def test_names_that_are_no_names(wire):
    wire.command("ENABLE IMAP4rev2")
    for name in ("Entwu\u0308rfe", "a\u2028b", "c\u0085"):
        wire.send(f't CREATE "{name}"\r\n'.encode())
        assert wire.until("t ")[-1].startswith("t NO [CANNOT]"), name
        wire.send(f't RENAME INBOX "{name}"\r\n'.encode())
        assert wire.until("t ")[-1].startswith("t NO [CANNOT]"), name
    wire.send(b't CREATE "a\xfcb"\r\n')
    assert wire.until("t ")[-1] == "t BAD Position 10: the quoted string is not in UTF-8"
    wire.send(b"t CREATE {3+}\r\na\xfcb\r\n")
    assert "not in UTF-8" in wire.until("t ")[-1]


def test_rename_tells_the_old_name(wire):
    wire.command("CREATE one")
    assert len(wire.command("RENAME one two")) == 1
    wire.command("ENABLE IMAP4rev2")
    assert wire.command("RENAME two three")[0] == '* LIST (\\HasNoChildren) "/" three ("OLDNAME" (two))'


def test_status_items(wire):
    append(wire)
    append(wire, flags=" (\\Deleted)")
    size = 2 * len(MESSAGE)
    limit = re.search(r"APPENDLIMIT=(\d+)", wire.command("CAPABILITY")[0]).group(1)
    assert wire.command("STATUS INBOX (SIZE DELETED APPENDLIMIT)")[0] == \
        f"* STATUS INBOX (DELETED 1 SIZE {size} APPENDLIMIT {limit})"
    assert f"* STATUS INBOX (DELETED 1 SIZE {size})" in wire.command('LIST "" INBOX RETURN (STATUS (SIZE DELETED))')


def test_size_of_mail_that_another_program_delivered(wire, roost, user):
    # LF in the file: its size is less than that of the message.
    new = roost.home(user.split("@")[0]) / "Maildir" / "new" / "1795000000.M1P1.elsewhere"
    new.write_bytes(b"Subject: foreign\n\nbody\n" * 10)
    told = wire.command("STATUS INBOX (MESSAGES SIZE)")[0]
    assert told == f"* STATUS INBOX (MESSAGES 1 SIZE {10 * len('Subject: foreign  body ') + 30})"


def test_no_numbers_with_uidonly(wire, roost, user):
    for _ in range(4):
        append(wire)
    wire.command("ENABLE UIDONLY")
    assert not any("UNSEEN" in line for line in wire.command("SELECT INBOX"))
    for command in ("FETCH 1 UID", "STORE 1 FLAGS ()", "SEARCH ALL", "COPY 1 INBOX", "MOVE 1 INBOX",
                    "UID SEARCH 1", "UID SEARCH NOT (OR 1:* SEEN)"):
        assert wire.command(command)[-1].startswith("t BAD [UIDREQUIRED]"), command
    assert wire.command("UID FETCH 2 (UID FLAGS)")[0] == "* 2 UIDFETCH (UID 2 FLAGS (\\Recent))"
    wire.command("UID STORE 1,3 +FLAGS.SILENT (\\Deleted)")
    other = Wire(roost, user)
    other.command("SELECT INBOX")
    other.command("UID STORE 4 +FLAGS (\\Seen)")
    other.socket.close()
    told = wire.command("EXPUNGE")
    assert told[:2] == ["* VANISHED 1,3", "* 4 UIDFETCH (FLAGS (\\Seen \\Recent))"]
    told = wire.command("UID MOVE 2 INBOX")
    assert re.fullmatch(r"\* OK \[COPYUID \d+ 2 5\] Moved", told[0]) and told[1] == "* VANISHED 2"


def test_part_of_a_fetch(wire):
    for _ in range(6):
        append(wire)
    wire.command("SELECT INBOX")
    wire.command("UID STORE 3 +FLAGS (\\Deleted)")
    wire.command("EXPUNGE")  # 1 2 4 5 6

    def fetched(command):
        lines = wire.command(command)
        assert lines[-1].startswith("t OK"), lines
        return [int(re.search(r"UID (\d+)", line).group(1)) for line in lines[:-1] if " FETCH (" in line]

    assert fetched("UID FETCH 1:* (UID) (PARTIAL 2:3)") == [2, 4]
    assert fetched("UID FETCH 1:* (UID) (PARTIAL 3:2)") == [2, 4]
    assert fetched("UID FETCH 1:* (UID) (PARTIAL -1:-2)") == [5, 6]
    assert fetched("UID FETCH 1:* (UID) (PARTIAL -4:-99)") == [1, 2]
    assert fetched("UID FETCH 2:5 (UID) (PARTIAL -3:-3)") == [2]
    assert fetched("UID FETCH 1:* (UID) (PARTIAL 6:9)") == []
    assert fetched("UID FETCH 1:* (UID) (PARTIAL -6:-9)") == []
    # First the part, then what changed in it.
    highest = re.search(r"HIGHESTMODSEQ (\d+)", "".join(wire.command("SELECT INBOX"))).group(1)
    wire.command("UID STORE 1,6 +FLAGS (\\Flagged)")
    assert fetched(f"UID FETCH 1:* (UID) (PARTIAL -1:-2 CHANGEDSINCE {highest})") == [6]
    assert wire.command("FETCH 1 UID (PARTIAL 1:2)")[-1].startswith("t BAD")
    assert wire.command("UID FETCH 1 UID (PARTIAL 0:2)")[-1].startswith("t BAD")
    assert wire.command("UID FETCH 1 UID (PARTIAL 1:-2)")[-1].startswith("t BAD")


def test_an_annotation_moves_the_mailbox_on(wire):
    def highest():
        return int(re.search(r"HIGHESTMODSEQ (\d+)", wire.command("STATUS INBOX (HIGHESTMODSEQ)")[0]).group(1))

    before = highest()
    assert wire.command('SETMETADATA INBOX (/private/comment "mine")')[-1].startswith("t OK")
    after = highest()
    assert after > before
    wire.command('SETMETADATA INBOX (/private/comment "mine")')
    assert highest() == after


def test_the_documentation_is_that_of_this_server(wire):
    text = (TOP / "doc" / "imap.md").read_text()
    for capability in wire.command("CAPABILITY")[0].split(" ")[2:]:
        name = capability.split("=")[0]
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), f"{capability} has no row in doc/imap.md"
    table = [line for line in text.splitlines() if line.startswith("| ")]
    for name in re.findall(r"`([\w/*]+\.(?:c|py))`", "\n".join(table)):
        places = [*(TOP / "src" / "imap").glob(name), *(TOP / "test").glob(name), *TOP.glob(name)]
        assert places, f"doc/imap.md names {name}, which is not there"
