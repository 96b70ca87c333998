# SPDX-License-Identifier: MIT
"""What a person's mail program does in an IMAP session: folders, flags, IDLE, moving, uploading, and faults."""

import os
import re
import signal
import socket

import pytest
from roost_instance import PASSWORD, wait_until

MESSAGE = b"From: a@example.test\r\nSubject: one\r\n\r\nbody\r\n"


class Wire:
    """An IMAP connection whose every line the test sees."""

    def __init__(self, roost, user):
        self.socket = socket.create_connection(("127.0.0.1", roost.ports["imap"]), timeout=30)
        self.lines = self.socket.makefile("rb")
        self.lines.readline()
        quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        answer = self.command(f'LOGIN {user} "{quoted}"')[-1]
        assert answer.startswith("t OK"), answer

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode() + b"\r\n")

    def until(self, start):
        """All lines up to the one that begins like this."""
        seen = []
        while not seen or not seen[-1].startswith(start):
            line = self.lines.readline().decode("latin-1")
            assert line, seen
            seen.append(line.rstrip("\r\n"))
        return seen

    def command(self, text):
        self.send(f"t {text}")
        return self.until("t ")

    def at_end(self):
        return self.lines.read() == b""


@pytest.fixture
def wire(roost, user):
    connection = Wire(roost, user)
    yield connection
    connection.socket.close()


def test_idle_tells_news_at_once(roost, wire, imap, user):
    wire.command("SELECT INBOX")
    wire.send("i IDLE")
    wire.until("+ ")
    other = imap(user)
    other.append("INBOX", None, None, MESSAGE)
    assert "* 1 EXISTS" in wire.until("* 1 RECENT")
    other.select("INBOX")
    other.store("1", "+FLAGS", r"(\Flagged \Deleted)")
    assert r"\Flagged" in wire.until("* 1 FETCH")[-1]
    other.expunge()
    wire.until("* 1 EXPUNGE")
    # Another program delivers.
    new = roost.home(user.split("@")[0]) / "Maildir" / "new" / "1795000000.M1P1.elsewhere"
    new.write_bytes(b"Subject: foreign\n\nbody\n")
    wire.until("* 1 EXISTS")
    # What follows DONE in the same packet is not lost.
    wire.send(b"DONE\r\nn NOOP\r\n")
    assert wire.until("n ")[-2:] == ["i OK Idle completed", "n OK Noop completed"]


def test_several_connections_of_one_program(roost, wire, user):
    """Thunderbird has one for each folder that it looks at, all in IDLE, and works in another."""
    folders = ["INBOX", "Sent", "Drafts", "Trash", "INBOX"]
    idle = [Wire(roost, user) for _ in folders]
    for connection, folder in zip(idle, folders):
        connection.command(f"SELECT {folder}")
        connection.send("i IDLE")
        connection.until("+ ")
    for folder in sorted(set(folders)):
        wire.send(b"t APPEND %b {%d+}\r\n%b\r\n" % (folder.encode(), len(MESSAGE), MESSAGE))
        wire.until("t ")
    for connection in idle:
        connection.until("* 1 EXISTS")
    wire.command("SELECT INBOX")
    wire.command("MOVE 1 Trash")
    for n, gone in ((0, "* 1 EXPUNGE"), (4, "* 1 EXPUNGE"), (3, "* 2 EXISTS")):
        idle[n].until(gone)
    for connection in idle:
        connection.send(b"DONE\r\nf FETCH 1:* FLAGS\r\nl LOGOUT\r\n")
        assert "i OK Idle completed" in connection.until("l OK")
        assert connection.at_end()
        connection.socket.close()


def test_commands_in_one_packet(wire):
    wire.send(b"a SELECT INBOX\r\nb APPEND INBOX {%d+}\r\n%b\r\nc FETCH 1 UID\r\nd LOGOUT\r\n" % (len(MESSAGE), MESSAGE))
    answers = wire.until("d ")
    assert "* 1 FETCH (UID 1)" in answers
    assert any(re.fullmatch(r"b OK \[APPENDUID \d+ 1\] .*", line) for line in answers)
    assert wire.at_end()


def test_folders(imap, user):
    client = imap(user)
    assert client.create("Arch&AOQ-iv/2026")[0] == "OK"
    assert b'(\\HasChildren) "/" Arch&AOQ-iv' in client.list()[1]
    assert client.rename("Arch&AOQ-iv", "Old")[0] == "OK"
    assert b'(\\HasNoChildren) "/" Old/2026' in client.list('""', "Old/%")[1]
    assert client.delete("Old")[0] == "NO"
    assert client.delete("Old/2026")[0] == "OK"
    assert client.delete("Old")[0] == "OK"
    assert client.select("Old")[1][0].startswith(b"[NONEXISTENT]")
    for name in ("../x", "a/../../x", '""', "x" * 300, "/abs", "a//b"):
        assert client.create(name)[0] == "NO", name


def test_special_use_and_status_in_list(wire):
    answers = wire.command('LIST (SPECIAL-USE) "" "*" RETURN (STATUS (MESSAGES))')
    assert '* LIST (\\HasNoChildren \\Sent) "/" Sent' in answers
    assert "* STATUS Sent (MESSAGES 0)" in answers
    assert not any("INBOX" in line for line in answers)


def test_xlist_says_what_folders_are_for(wire):
    """What Outlook looks for: it had special use before there was an RFC of it."""
    assert "XLIST" in wire.command("CAPABILITY")[0].split()
    answers = wire.command('XLIST "" "*"')
    assert '* XLIST (\\HasNoChildren \\Inbox) "/" INBOX' in answers
    for name, use in (("Sent", "\\Sent"), ("Drafts", "\\Drafts"), ("Trash", "\\Trash"),
                      ("Archive", "\\Archive"), ("Junk", "\\Junk \\Spam")):
        assert f'* XLIST (\\HasNoChildren {use}) "/" {name}' in answers
    assert wire.command('XLIST "" ""')[0] == '* XLIST (\\Noselect) "/" ""'
    assert wire.command('XLIST (SUBSCRIBED) "" "*"')[-1].startswith("t BAD")


def test_copy_move_and_uids(wire):
    for _ in range(3):
        wire.send(b"t APPEND INBOX {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
        wire.until("t ")
    wire.command("SELECT INBOX")
    assert re.search(r"\[COPYUID \d+ 1:2 1:2\]", wire.command("COPY 1:2 Trash")[-1])
    moved = wire.command("UID MOVE 2:3 Trash")
    assert re.search(r"\[COPYUID \d+ 2:3 3:4\]", moved[0])
    assert moved[1:3] == ["* 2 EXPUNGE", "* 2 EXPUNGE"]
    assert wire.command("COPY 1 Nowhere")[-1].startswith("t NO [TRYCREATE]")
    assert wire.command("STATUS Trash (MESSAGES UIDNEXT)")[0] == "* STATUS Trash (MESSAGES 4 UIDNEXT 5)"


def test_a_full_mailbox(roost, imap):
    user = roost.add_user("fullbox", quota="10K")
    client = imap(user)
    assert client.append("INBOX", None, None, MESSAGE + b"x" * 6000)[0] == "OK"
    assert client.append("INBOX", None, None, MESSAGE + b"x" * 6000)[1][0].startswith(b"[OVERQUOTA]")
    client.select("INBOX")
    assert client.copy("1", "Trash")[1][0].startswith(b"[OVERQUOTA]")


def test_bad_input_gets_its_reply_and_the_session_lives(wire):
    assert wire.command("FROB")[-1] == "t BAD Unknown command"
    assert wire.command("CHECK")[-1] == "t BAD Select a mailbox first"
    assert wire.command("SELECT {99999999}")[-1].startswith("t BAD Position 10:")
    assert wire.command("SELECT " + "x" * 200000)[-1] == "t BAD The command line is too long"
    wire.command("SELECT INBOX")
    assert wire.command("SEARCH " + "(" * 50000)[-1].startswith("t BAD")
    assert wire.command("FETCH 1 BODY[" + "1." * 20000 + "1]")[-1].startswith("t BAD")
    assert wire.command('LIST "" ' + "*%" * 20000 + "z")[-1] == "t OK List completed"
    assert wire.command("UID FETCH 4294967295:* UID")[-1].startswith("t OK")
    assert wire.command("NOOP")[-1] == "t OK Noop completed"


def test_too_many_errors_end_the_session(wire):
    wire.send(b"t X\r\n" * 100)
    wire.until("* BYE")
    wire.socket.shutdown(socket.SHUT_WR)


def test_the_index_is_killed(own_roost):
    user = own_roost.add_user("killed")
    wire = Wire(own_roost, user)
    wire.command("SELECT INBOX")
    wire.send(b"t APPEND INBOX {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
    wire.until("t OK")
    for pid in own_roost.pids("roost-index"):
        os.kill(pid, signal.SIGKILL)
    assert wire.command("FETCH 1 UID")[-1].startswith("t OK")

    def store():
        answer = wire.command(r"STORE 1 +FLAGS (\Flagged)")[-1]
        assert answer.startswith(("t OK", "t NO [UNAVAILABLE]")), answer
        return answer.startswith("t OK")

    wait_until(store, what="the index to be back")
    assert r"\Flagged" in wire.command("FETCH 1 FLAGS")[0]
    wire.socket.close()


def test_a_stop_says_goodbye(own_roost):
    wire = Wire(own_roost, own_roost.add_user("stopped"))
    wire.command("SELECT INBOX")
    wire.send("i IDLE")
    wire.until("+ ")
    own_roost.process.send_signal(signal.SIGTERM)
    assert wire.until("* BYE")[-1] == "* BYE Server is going down"
    assert wire.at_end()
