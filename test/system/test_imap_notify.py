# SPDX-License-Identifier: MIT
"""NOTIFY (RFC 5465): what a session is told between its commands, of all mailboxes that it named."""

import re
import socket

import pytest
from mail_helpers import deliver
from test_imap_session import Wire

MESSAGE = b"From: a@example.test\r\nSubject: one\r\n\r\nbody\r\n"


def ok(wire, text):
    seen = wire.command(text)
    assert seen[-1].startswith("t OK"), seen
    return seen


def append(wire, mailbox="INBOX", flags=""):
    wire.send(b"t APPEND %b %b{%d+}\r\n%b\r\n" % (mailbox.encode(), flags.encode(), len(MESSAGE), MESSAGE))
    assert wire.until("t ")[-1].startswith("t OK")


def quiet(wire):
    """What was told before a mark that was set by this client's own command."""
    return wire.command("ID NIL")[:-2]


@pytest.fixture
def pair(roost, user):
    wires = Wire(roost, user), Wire(roost, user)
    yield wires
    for wire in wires:
        wire.socket.close()


def test_is_advertised(pair):
    assert " NOTIFY" in ok(pair[0], "CAPABILITY")[0]


def test_messages_of_other_mailboxes_come_as_status(pair, roost, user, lmtp):
    wire, other = pair
    for name in ("Lists", "Lists/Lemonade", "Lists/Im2000", "Misc"):
        ok(other, f"CREATE {name}")
    append(other, "Lists/Lemonade")
    told = ok(wire, "NOTIFY SET STATUS (selected MessageNew (uid body.peek[header.fields (from to subject)]) "
                    "MessageExpunge) (subtree Lists (MessageNew MessageExpunge))")
    status = sorted(line for line in told if line.startswith("* STATUS"))
    assert [re.sub(r"UIDVALIDITY \d+", "UIDVALIDITY v", line) for line in status] == [
        "* STATUS Lists (MESSAGES 0 UIDNEXT 1 UIDVALIDITY v)",
        "* STATUS Lists/Im2000 (MESSAGES 0 UIDNEXT 1 UIDVALIDITY v)",
        "* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 2 UIDVALIDITY v)"]
    ok(wire, "SELECT INBOX")
    append(other, "Misc")
    append(other, "Lists/Lemonade")
    assert wire.until("* STATUS") == ["* STATUS Lists/Lemonade (MESSAGES 2 UIDNEXT 3)"]
    # The selected one, delivered by LMTP.
    deliver(lmtp, user, subject="good morning")
    assert "* 1 EXISTS" in wire.until("* 1 FETCH")
    seen = wire.until(")")
    assert "Subject: good morning" in seen
    ok(other, "SELECT Lists/Lemonade")
    ok(other, "STORE 1 +FLAGS (\\Deleted)")
    ok(other, "EXPUNGE")
    assert wire.until("* STATUS") == ["* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 3)"]
    # Another program delivers into a folder that nobody has open.
    new = roost.home(user.split("@")[0]) / "Maildir" / ".Lists.Im2000" / "new" / "1795000000.M1P1.elsewhere"
    new.write_bytes(b"Subject: foreign\n\nbody\n")
    assert wire.until("* STATUS") == ["* STATUS Lists/Im2000 (MESSAGES 1 UIDNEXT 2)"]
    # It does not hear of what it does itself.
    append(wire, "Lists/Im2000")
    assert quiet(wire) == []


def test_flags_of_other_mailboxes(pair):
    wire, other = pair
    ok(other, "CREATE Box")
    append(other, "Box")
    ok(other, "SELECT Box")
    ok(wire, "NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))")
    ok(other, "STORE 1 +FLAGS (\\Seen)")
    assert re.fullmatch(r"\* STATUS Box \(UIDVALIDITY \d+ UNSEEN 0\)", wire.until("* STATUS")[0])
    # Nothing that a client without CONDSTORE could be told.
    ok(other, "STORE 1 +FLAGS (\\Flagged)")
    ok(wire, "NOOP")
    ok(wire, "ENABLE CONDSTORE")
    assert quiet(wire) == []
    ok(other, "STORE 1 +FLAGS (\\Answered)")
    assert re.fullmatch(r"\* STATUS Box \(UIDVALIDITY \d+ HIGHESTMODSEQ \d+\)", wire.until("* STATUS")[-1])
    append(other, "Box")
    assert "HIGHESTMODSEQ" in wire.until("* STATUS Box (MESSAGES 2 UIDNEXT 3")[-1]


def test_selected_at_once(pair):
    wire, other = pair
    append(other)
    ok(wire, "SELECT INBOX")
    ok(other, "SELECT INBOX")
    ok(wire, "NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge FlagChange))")
    ok(other, "STORE 1 +FLAGS (\\Flagged \\Deleted)")
    assert wire.until("* 1 FETCH")[-1] == "* 1 FETCH (UID 1 FLAGS (\\Flagged \\Deleted \\Recent))"
    append(other)
    assert "* 2 EXISTS" in wire.until("* 2 FETCH (UID 2 FLAGS")
    ok(other, "EXPUNGE")
    assert wire.until("* 1 EXPUNGE") == ["* 1 EXPUNGE"]
    # Its own messages are not fetched for it.
    wire.send(b"t APPEND INBOX {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
    seen = wire.until("t ")
    assert "* 2 EXISTS" in seen and not any(" FETCH " in line for line in seen)
    assert quiet(wire) == []


def test_selected_delayed_keeps_message_numbers(pair):
    wire, other = pair
    for _ in range(2):
        append(other)
    ok(wire, "SELECT INBOX")
    ok(other, "SELECT INBOX")
    ok(wire, "NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
    ok(other, "STORE 1 +FLAGS (\\Deleted)")
    ok(other, "EXPUNGE")
    append(other)
    seen = wire.until("* 3 EXISTS")
    assert not any("EXPUNGE" in line or "FETCH" in line for line in seen), seen
    assert "* 2 FETCH (UID 2)" in ok(wire, "FETCH 2 (UID)")
    assert "* 1 EXPUNGE" in ok(wire, "NOOP")
    # IDLE allows them, too (section 4).
    wire.send("i IDLE")
    wire.until("+ ")
    ok(other, "STORE 1 +FLAGS (\\Deleted)")
    ok(other, "EXPUNGE")
    assert wire.until("* 1 EXPUNGE")[-1] == "* 1 EXPUNGE"
    wire.send("DONE")
    wire.until("i OK")


@pytest.mark.parametrize("how", ["NONE", "SET (selected NONE)", "SET (personal (MailboxName))"])
def test_nothing_of_the_selected_mailbox(pair, how):
    wire, other = pair
    append(other)
    ok(wire, "SELECT INBOX")
    ok(other, "SELECT INBOX")
    ok(wire, f"NOTIFY {how}")
    ok(other, "STORE 1 +FLAGS (\\Flagged)")
    append(other)
    assert ok(wire, "NOOP") == ["t OK Noop completed"]
    assert ok(wire, "FETCH 1:* (UID)")[:-1] == ["* 1 FETCH (UID 1)"]
    # All that was kept back comes with the next SET (section 3.1).
    seen = ok(wire, "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))")
    assert "* 2 EXISTS" in seen and any(re.match(r"\* 1 FETCH .*Flagged", line) for line in seen), seen


def test_flags_not_wanted_are_not_lost(pair):
    """A QRESYNC client without FlagChange must not take a mod-sequence for its own that it did not reach."""
    wire, other = pair
    append(other)
    ok(wire, "ENABLE QRESYNC")
    ok(wire, "SELECT INBOX")
    ok(other, "SELECT INBOX")
    ok(wire, "NOTIFY SET (selected (MessageNew (UID MODSEQ) MessageExpunge))")
    before = int(re.search(r"HIGHESTMODSEQ (\d+)", "".join(ok(wire, "STATUS INBOX (HIGHESTMODSEQ)")))[1])
    ok(other, "STORE 1 +FLAGS (\\Flagged)")
    append(other)
    wire.until("* 2 FETCH")
    told = re.findall(r"\[HIGHESTMODSEQ (\d+)\]", "".join(ok(wire, "NOOP")))
    assert told and int(told[-1]) <= before
    seen = ok(wire, "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))")
    assert any(re.match(r"\* 1 FETCH .*Flagged", line) for line in seen), seen


def test_names(pair):
    wire, other = pair
    ok(wire, "NOTIFY SET (personal (MailboxName))")
    ok(other, "CREATE One")
    assert wire.until("* LIST") == ['* LIST (\\HasNoChildren) "/" One']
    ok(other, "CREATE One/Two")
    seen = wire.until("* LIST (\\HasNoChildren)")
    assert set(seen) == {'* LIST (\\HasChildren) "/" One', '* LIST (\\HasNoChildren) "/" One/Two'}
    ok(other, "RENAME One Three")
    assert wire.until("* LIST") == ['* LIST (\\HasChildren) "/" Three ("OLDNAME" (One))']
    ok(other, "DELETE Three/Two")
    seen = [wire.until("* LIST")[0], wire.until("* LIST")[0]]
    assert set(seen) == {'* LIST (\\HasNoChildren \\NonExistent) "/" Three/Two', '* LIST (\\HasNoChildren) "/" Three'}
    # What it does itself it knows.
    ok(wire, "CREATE Mine")
    ok(wire, "RENAME Mine Yours")
    ok(wire, "DELETE Yours")
    assert quiet(wire) == []
    ok(other, "CREATE Last")
    assert wire.until("* LIST") == ['* LIST (\\HasNoChildren) "/" Last']


def test_subscriptions(pair):
    wire, other = pair
    ok(other, "CREATE Box")
    ok(wire, "NOTIFY SET (mailboxes (Box Elsewhere) SubscriptionChange) (subscribed (MessageNew MessageExpunge))")
    append(other, "Box")
    ok(other, "SUBSCRIBE Box")
    assert wire.until("* LIST") == ['* LIST (\\HasNoChildren \\Subscribed) "/" Box']
    # The list of those that are watched is that of now (section 6.4).
    append(other, "Box")
    assert wire.until("* STATUS") == ["* STATUS Box (MESSAGES 2 UIDNEXT 3)"]
    ok(other, "UNSUBSCRIBE Box")
    assert wire.until("* LIST") == ['* LIST (\\HasNoChildren) "/" Box']
    ok(other, "SUBSCRIBE Elsewhere")
    assert wire.until("* LIST") == ['* LIST (\\HasNoChildren \\NonExistent \\Subscribed) "/" Elsewhere']
    ok(other, "UNSUBSCRIBE Elsewhere")
    assert wire.until("* LIST") == ['* LIST (\\HasNoChildren \\NonExistent) "/" Elsewhere']
    ok(wire, "SUBSCRIBE Box")
    assert quiet(wire) == []


def test_annotations(pair):
    wire, other = pair
    ok(other, "CREATE Box")
    ok(other, 'SETMETADATA Box (/private/comment "before" /private/color "red")')
    ok(wire, "NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
    ok(other, 'SETMETADATA Box (/private/comment "after")')
    assert wire.until("* METADATA") == ["* METADATA Box /private/comment"]
    ok(other, "SETMETADATA Box (/private/color NIL)")
    assert wire.until("* METADATA") == ["* METADATA Box /private/color"]
    ok(other, 'SETMETADATA "" (/private/comment "mine")')
    assert wire.until("* METADATA") == ['* METADATA "" /private/comment']
    ok(wire, 'SETMETADATA "" (/private/comment "ours")')
    ok(wire, 'SETMETADATA Box (/private/Color "blue")')
    assert quiet(wire) == []


@pytest.mark.parametrize("arguments", [
    "", "SET", "NONE x", "SET (selected)", "SET (nowhere NONE)", "SET (selected (MailboxName))",
    "SET (selected (MessageNew))", "SET (personal (MessageExpunge))", "SET (personal (FlagChange))",
    "SET (personal (MessageNew (UID) MessageExpunge))", "SET (selected NONE) (selected-delayed NONE)",
    "SET (personal ())", "SET (mailboxes () NONE)", "SET (selected (MessageNew () MessageExpunge))", "SET STATUS",
    "SET (selected NONE) "])
def test_bad_arguments(pair, arguments):
    assert pair[0].command(f"NOTIFY {arguments}".rstrip() if not arguments.endswith(" ") else f"NOTIFY {arguments}")[
        -1].startswith("t BAD")
    ok(pair[0], "NOOP")


@pytest.mark.parametrize("event", ["AnnotationChange", "Sunrise", "MessageNew MessageExpunge AnnotationChange"])
def test_unknown_events(pair, event):
    answer = pair[0].command(f"NOTIFY SET (personal ({event}))")[-1]
    assert answer.startswith("t NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName ")


def test_many_mailboxes(pair):
    wire, other = pair
    names = [f"m/{n}" for n in range(500)]
    wire.send(b"".join(b"t CREATE %b\r\n" % name.encode() for name in names[:40]))
    for _ in range(40):
        assert wire.until("t ")[-1].startswith("t OK")
    told = ok(wire, f"NOTIFY SET STATUS (mailboxes ({' '.join(names)}) (MessageNew MessageExpunge))")
    assert len([line for line in told if line.startswith("* STATUS m/")]) == 40
    for name in (names[0], names[39]):
        append(other, name)
        assert wire.until("* STATUS") == [f"* STATUS {name} (MESSAGES 1 UIDNEXT 2)"]
    answer = wire.command(f"NOTIFY SET (mailboxes ({' '.join(f'x{n}' for n in range(5001))}) (MailboxName))")[-1]
    assert answer.startswith("t NO [NOTIFICATIONOVERFLOW]")
    # What was asked for before goes on.
    append(other, names[1])
    assert wire.until("* STATUS") == [f"* STATUS {names[1]} (MESSAGES 1 UIDNEXT 2)"]


def test_another_mailbox_is_selected(pair):
    wire, other = pair
    ok(other, "CREATE Box")
    ok(wire, "NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))")
    ok(wire, "SELECT INBOX")
    append(other, "Box")
    assert wire.until("* STATUS") == ["* STATUS Box (MESSAGES 1 UIDNEXT 2)"]
    ok(wire, "SELECT Box")
    append(other, "Box")
    assert wire.until("* 2 RECENT") == ["* 2 EXISTS", "* 2 RECENT"]
    append(other)
    assert wire.until("* STATUS") == ["* STATUS INBOX (MESSAGES 1 UIDNEXT 2)"]


def test_mailbox_that_cannot_be_read(pair, user):
    wire, other = pair
    ok(other, "CREATE Box")
    ok(other, f"SETACL Box {user} -r")
    told = ok(wire, "NOTIFY SET STATUS (mailboxes Box (MessageNew MessageExpunge))")
    assert told[:-1] == ['* LIST (\\HasNoChildren \\NoAccess) "/" Box']
    append(other, "Box")
    assert quiet(wire) == []
    # Once it can be, it is told of (section 5.9).
    ok(other, f"SETACL Box {user} +r")
    append(other, "Box")
    assert wire.until("* STATUS Box (MESSAGES 2")


def test_updating_search_fetches_what_joins_it(pair):
    wire, other = pair
    append(other)
    ok(wire, "SELECT INBOX")
    seen = wire.command('SEARCH RETURN (COUNT UPDATE (UID BODY[HEADER.FIELDS (SUBJECT)])) UNFLAGGED')
    assert seen[0] == '* ESEARCH (TAG "t") COUNT 1' and seen[-1].startswith("t OK"), seen
    ok(wire, "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))")
    append(other)
    seen = wire.until("* ESEARCH")
    assert seen[0] == "* 2 EXISTS" and seen[1].startswith("* 2 FETCH (UID 2 BODY[HEADER.FIELDS (SUBJECT)]"), seen
    assert seen[-1] == '* ESEARCH (TAG "t") ADDTO (0 2)'
    # One that does not match is not fetched, nor is one that joins later.
    append(other, flags="(\\Flagged) ")
    wire.until("* 3 EXISTS")
    ok(other, "SELECT INBOX")
    ok(other, "STORE 3 -FLAGS (\\Flagged)")
    seen = wire.until("* ESEARCH")
    assert seen[-1] == '* ESEARCH (TAG "t") ADDTO (0 3)' and not any("BODY" in line for line in seen), seen
    for bad in ("UPDATE ()", "UPDATE (UID", "UPDATE (NOTHING)"):
        assert wire.command(f"SEARCH RETURN ({bad}) ALL")[-1].startswith("t BAD")


def test_client_that_does_not_read(roost, pair, user):
    """It gets what fits, then nothing more; what happens is not kept for it, and it is told so."""
    wire, other = pair
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
    ok(wire, "SELECT INBOX")
    ok(other, "CREATE Box")
    append(other, "Box")
    ok(other, "SELECT Box")
    ok(wire, "NOTIFY SET (selected (MessageNew (BODY.PEEK[]) MessageExpunge FlagChange)) "
             "(personal (MessageNew MessageExpunge FlagChange))")
    big = b"Subject: big\r\n\r\n" + b"x" * 20000
    literal = b"b APPEND INBOX {%d+}\r\n%b\r\n" % (len(big), big)
    for _ in range(300):
        other.socket.sendall(literal)
        assert other.until("b ")[-1].startswith("b OK")
    for _ in range(300):
        assert ok(other, "STORE 1 +FLAGS.SILENT (\\Seen)") and ok(other, "STORE 1 -FLAGS.SILENT (\\Seen)")
    seen = []
    for tag in "no":
        wire.socket.sendall(f"{tag} NOOP\r\n".encode())
        seen += wire.until(f"{tag} ")

    def bodies_of(lines):
        return sum(line.startswith("* ") and "BODY[]" in line for line in lines)

    def overflow():
        return any(line.startswith("* OK [NOTIFICATIONOVERFLOW]") for line in seen)

    # What the service had news of meanwhile comes behind the answers when the machine is busy.
    while bodies_of(seen) < 300 and not overflow():
        seen += wire.until("* ")
    bodies = bodies_of(seen)
    if overflow():
        assert 0 < bodies < 300, bodies
        append(other)
        assert quiet(wire) == []
        # Nothing is lost by it.
        told = ok(wire, "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))")
        assert "* 301 EXISTS" in told
    else:
        # It stopped in the middle of a response, which waits for it like any other.
        assert bodies == 300
        append(other)
        wire.until("* 301 EXISTS")
