# SPDX-License-Identifier: MIT
"""Rights on mailboxes (RFC 4314): each is set, told, and holds in every command."""

import poplib
import re

import pytest
from test_imap_session import MESSAGE, Wire

ALL = "lrswipkxteacd"


@pytest.fixture
def wire(roost, user):
    connection = Wire(roost, user)
    connection.user = user
    yield connection
    connection.socket.close()


def append(wire, mailbox, flags=""):
    wire.send(b"a APPEND %b %b {%d+}\r\n%b\r\n" % (mailbox.encode(), flags.encode(), len(MESSAGE), MESSAGE))
    return wire.until("a ")[-1]


def ok(wire, command):
    lines = wire.command(command)
    assert lines[-1].startswith("t OK"), (command, lines)
    return lines


def refused(wire, command, code="NOPERM"):
    lines = wire.command(command)
    assert lines[-1].startswith(f"t NO [{code}]"), (command, lines)
    return lines


def flags_of(wire, mailbox, uid="*"):
    wire.command(f"EXAMINE {mailbox}")
    lines = wire.command(f"UID FETCH {uid} FLAGS")
    wire.command("UNSELECT")
    found = [re.search(r"FLAGS \((.*?)\)", line) for line in lines]
    return [set(f.group(1).split()) - {"\\Recent"} for f in found if f][-1]


def rights(wire, mailbox):
    return ok(wire, f"MYRIGHTS {mailbox}")[0].split()[-1]


@pytest.fixture
def box(wire):
    """A mailbox with a plain message, and one with flags, and its name."""
    ok(wire, "CREATE Box")
    assert append(wire, "Box", "()").startswith("a OK")
    assert append(wire, "Box", "(\\Seen \\Deleted \\Flagged $Work)").startswith("a OK")
    return "Box"


def test_what_the_owner_has(wire, box):
    assert {"ACL", "RIGHTS=texk", "LIST-MYRIGHTS"} <= set(ok(wire, "CAPABILITY")[0].split())
    assert rights(wire, box) == ALL
    assert ok(wire, f"GETACL {box}")[0] == f"* ACL {box} {wire.user} {ALL}"
    assert ok(wire, f"LISTRIGHTS {box} {wire.user}")[0] == f"* LISTRIGHTS {box} {wire.user} lpa r s w i k x t e c d"
    refused(wire, "GETACL nowhere", "NONEXISTENT")
    refused(wire, "MYRIGHTS nowhere", "NONEXISTENT")


def test_set_add_remove_delete(wire, box):
    user = wire.user
    table = [  # modification, what is left to the owner
        ("lra", "lrpa"),
        ("+sw", "lrswpa"),
        ("-w", "lrspa"),
        ("+d", "lrsptead"),
        ("-e", "lrsptad"),
        ("+c", "lrspkxtacd"),
        ("-lpa", "lrspkxtacd"),  # nobody could give these back
        ('""', "lpa"),
    ]
    for change, left in table:
        ok(wire, f"SETACL {box} {user} {change}")
        assert rights(wire, box) == left
        assert ok(wire, f"GETACL {box}")[0] == f"* ACL {box} {user} {left}"
    ok(wire, f"DELETEACL {box} {user}")
    assert rights(wire, box) == ALL


def test_negative_rights(wire, box):
    ok(wire, f"SETACL {box} -{wire.user} xteai")
    assert rights(wire, box) == "lrswpkac"
    assert ok(wire, f"GETACL {box}")[0] == f"* ACL {box} {wire.user} {ALL} -{wire.user} ixtecd"
    ok(wire, f"SETACL {box} -{wire.user} -i")
    assert rights(wire, box) == "lrswipkac"
    ok(wire, f"DELETEACL {box} -{wire.user}")
    assert rights(wire, box) == ALL


@pytest.mark.parametrize("command", [
    "SETACL Box {} lrQ", "SETACL Box {} lrq", "SETACL Box {} +0", "SETACL Box {}", 'SETACL Box "" lr',
    'SETACL Box - lr', 'LISTRIGHTS Box ""', "GETACL", "DELETEACL Box"])
def test_bad_arguments(wire, box, command):
    assert wire.command(command.format(wire.user))[-1].startswith("t BAD")
    assert rights(wire, box) == ALL


def without(wire, box, letters):
    ok(wire, f"SETACL {box} {wire.user} {ALL}")
    ok(wire, f"SETACL {box} {wire.user} -{letters}")


def test_read(wire, box):
    ok(wire, "SELECT INBOX")
    without(wire, box, "r")
    refused(wire, f"STATUS {box} (MESSAGES)")
    refused(wire, f"GETQUOTAROOT {box}")
    assert not any("Box" in line for line in ok(wire, "ESEARCH IN (personal) ALL"))
    # Nothing of it comes out by way of another message.
    wire.send(b'a APPEND INBOX CATENATE (URL "/Box/;UID=1")\r\n')
    assert wire.until("a ")[-1].startswith("a NO [BADURL")
    refused(wire, f"EXAMINE {box}")
    refused(wire, f"SELECT {box}")
    assert wire.command("FETCH 1 FLAGS")[-1].startswith("t BAD")
    assert any(line.endswith("Box") for line in ok(wire, 'LIST "" *'))


def test_seen(wire, box):
    without(wire, box, "s")
    told = ok(wire, f"SELECT {box}")
    assert any("[PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Draft $Work \\*)]" in line for line in told)
    assert any(line.startswith("* FLAGS ") and "\\Seen" in line for line in told)
    ok(wire, "FETCH 1 BODY[]")
    refused(wire, "STORE 1 +FLAGS (\\Seen)")
    refused(wire, "STORE 2 -FLAGS (\\Seen)")
    ok(wire, "STORE 1 +FLAGS (\\Seen \\Answered)")
    ok(wire, "STORE 2 FLAGS (\\Draft)")
    assert flags_of(wire, box, 1) == {"\\Answered"}
    assert flags_of(wire, box, 2) == {"\\Draft", "\\Seen"}
    assert append(wire, box, "(\\Seen \\Flagged)").startswith("a OK")
    assert flags_of(wire, box) == {"\\Flagged"}


def test_write(wire, box):
    without(wire, box, "w")
    told = ok(wire, f"SELECT {box}")
    assert any("[PERMANENTFLAGS (\\Deleted \\Seen)]" in line for line in told)
    for flag in ("\\Flagged", "\\Answered", "\\Draft", "$Work", "$New"):
        refused(wire, f"STORE 1 +FLAGS ({flag})")
    ok(wire, "STORE 2 FLAGS ()")
    ok(wire, "STORE 1 FLAGS.SILENT (\\Seen \\Flagged $New)")
    assert flags_of(wire, box, 1) == {"\\Seen"}
    assert flags_of(wire, box, 2) == {"\\Flagged", "$Work"}
    assert append(wire, box, "(\\Seen \\Flagged $Work)").startswith("a OK")
    assert flags_of(wire, box) == {"\\Seen"}


def test_delete(wire, box):
    without(wire, box, "t")
    ok(wire, f"SELECT {box}")
    refused(wire, "STORE 1 +FLAGS (\\Deleted)")
    refused(wire, "MOVE 1 INBOX")
    ok(wire, "STORE 2 FLAGS (\\Answered)")
    assert flags_of(wire, box, 2) == {"\\Answered", "\\Deleted"}
    assert append(wire, box, "(\\Deleted)").startswith("a OK")
    assert flags_of(wire, box) == set()
    ok(wire, f"SELECT {box}")
    wire.send(b"a REPLACE 1 INBOX {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
    assert wire.until("a ")[-1].startswith("a NO [NOPERM]")


def test_expunge(wire, box):
    without(wire, box, "e")
    assert ok(wire, f"SELECT {box}")[-1].startswith("t OK [READ-WRITE]")
    refused(wire, "EXPUNGE")
    refused(wire, "UID EXPUNGE 1:*")
    refused(wire, "MOVE 1 INBOX")
    ok(wire, "CLOSE")
    assert "MESSAGES 2" in ok(wire, f"STATUS {box} (MESSAGES)")[0]


def test_insert(wire, box):
    without(wire, box, "i")
    assert append(wire, box, "()").startswith("a NO [NOPERM]")
    assert append(wire, "INBOX", "()").startswith("a OK")
    ok(wire, "SELECT INBOX")
    refused(wire, f"COPY 1 {box}")
    refused(wire, f"MOVE 1 {box}")
    wire.send(b"a REPLACE 1 Box {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
    assert wire.until("a ")[-1].startswith("a NO [NOPERM]")
    assert "MESSAGES 2" in ok(wire, f"STATUS {box} (MESSAGES)")[0]
    assert "MESSAGES 1" in ok(wire, "STATUS INBOX (MESSAGES)")[0]


@pytest.mark.parametrize("verb", ["COPY", "MOVE"])
@pytest.mark.parametrize("taken, left", [
    ("w", {"\\Seen", "\\Deleted"}), ("s", {"\\Deleted", "\\Flagged", "$Work"}), ("t", {"\\Seen", "\\Flagged", "$Work"}),
    ("wst", set())])
def test_copies_lose_what_may_not_be_set(wire, box, verb, taken, left):
    ok(wire, "CREATE To")
    without(wire, "To", taken)
    ok(wire, f"SELECT {box}")
    ok(wire, f"{verb} 2 To")
    assert flags_of(wire, "To") == left


def test_create_and_remove(wire, box):
    ok(wire, "CREATE Box/Sub")
    without(wire, box, "kx")
    refused(wire, "CREATE Box/New")
    refused(wire, "CREATE Box/a/b/c")
    refused(wire, "RENAME INBOX Box/New")
    refused(wire, f"DELETE {box}")
    refused(wire, f"RENAME {box} Other")
    ok(wire, "RENAME Box/Sub Box/Renamed")  # stays where it is
    refused(wire, "RENAME Box/Renamed Box/deeper/Renamed")
    ok(wire, "CREATE Top")
    refused(wire, "RENAME Top Box/Top")
    listed = {line.split()[-1] for line in ok(wire, 'LIST "" *') if line.startswith("* LIST")}
    assert {"Box", "Box/Renamed", "Top"} <= listed and not any("New" in name or "/a" in name for name in listed)


def test_new_mailboxes_inherit_and_a_deleted_one_leaves_nothing(wire, box):
    without(wire, box, "te")
    ok(wire, "CREATE Box/one/two")
    assert rights(wire, "Box/one") == rights(wire, "Box/one/two") == "lrswipkxac"
    ok(wire, "RENAME Box/one Elsewhere")
    assert rights(wire, "Elsewhere/two") == "lrswipkxac"
    ok(wire, "DELETE Elsewhere/two")
    ok(wire, "DELETE Elsewhere")
    without(wire, "INBOX", "x")
    ok(wire, "CREATE inbox/Sub")
    assert rights(wire, "INBOX/Sub") == "lrswipkteacd"
    ok(wire, "CREATE Elsewhere")
    assert rights(wire, "Elsewhere") == ALL


def test_read_only_without_any_right_to_change(wire, box):
    ok(wire, f"SETACL {box} {wire.user} lra")
    told = ok(wire, f"SELECT {box}")
    assert told[-1].startswith("t OK [READ-ONLY] Select")
    assert any("[PERMANENTFLAGS ()]" in line for line in told)
    refused(wire, "STORE 1 +FLAGS (\\Seen)", "READ-ONLY")


def test_a_change_holds_at_once_in_the_selected_mailbox(wire, roost, box):
    other = Wire(roost, wire.user)
    ok(other, f"SELECT {box}")
    ok(wire, f"SETACL {box} {wire.user} -te")
    lines = refused(other, "STORE 1 +FLAGS (\\Deleted)")
    assert any("[PERMANENTFLAGS (\\Answered \\Flagged \\Seen \\Draft $Work \\*)]" in line for line in lines)
    refused(other, "EXPUNGE")
    told = ok(other, f"SETACL {box} {wire.user} +te")
    assert any("[PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen" in line for line in told)
    ok(other, "EXPUNGE")
    other.socket.close()


def test_conditional_store_by_one_who_may_change_some_flags(wire, box):
    without(wire, box, "t")
    ok(wire, f"SELECT {box} (CONDSTORE)")
    ok(wire, "STORE 1 +FLAGS (\\Flagged)")
    first, second = re.findall(r"MODSEQ \((\d+)\)", "".join(ok(wire, "FETCH 1:2 (MODSEQ)")))
    lines = ok(wire, f"STORE 1:2 (UNCHANGEDSINCE {second}) FLAGS (\\Answered)")
    assert "[MODIFIED 1]" in lines[-1]
    assert flags_of(wire, box, 1) == {"\\Flagged"}
    assert flags_of(wire, box, 2) == {"\\Answered", "\\Deleted"}


def test_list_returns_rights(wire, box):
    ok(wire, f"SETACL {box} {wire.user} -te")
    ok(wire, "CREATE Only/Below")
    lines = ok(wire, 'LIST "" (Box INBOX) RETURN (MYRIGHTS)')
    assert f"* MYRIGHTS INBOX {ALL}" in lines and "* MYRIGHTS Box lrswipkxac" in lines
    assert lines.index("* MYRIGHTS Box lrswipkxac") == 1 + next(
        i for i, line in enumerate(lines) if line.endswith(" Box") and line.startswith("* LIST"))


def test_rights_outlive_the_index(wire, roost, box):
    ok(wire, f"SETACL {box} {wire.user} -te")
    roost.stop()
    roost.remove_index(wire.user.split("@")[0])
    roost.start()
    again = Wire(roost, wire.user)
    assert rights(again, box) == "lrswipkxac"
    again.socket.close()


def test_pop3_asks_too(wire, pop3):
    assert append(wire, "INBOX", "()").startswith("a OK")
    without(wire, "INBOX", "e")
    client = pop3(wire.user)
    assert b"Subject" in b"".join(client.retr(1)[1])
    with pytest.raises(poplib.error_proto, match="SYS/PERM"):
        client.dele(1)
    client.quit()
    assert flags_of(wire, "INBOX") == {"\\Seen"}
    without(wire, "INBOX", "s")
    ok(wire, "SELECT INBOX")
    assert append(wire, "INBOX", "()").startswith("a OK")
    client = pop3(wire.user)
    client.retr(2)
    client.dele(1)
    client.quit()
    assert flags_of(wire, "INBOX", "1:*") == set()
    without(wire, "INBOX", "r")
    with pytest.raises(poplib.error_proto, match="SYS/PERM"):
        pop3(wire.user)
