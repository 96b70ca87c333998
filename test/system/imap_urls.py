# SPDX-License-Identifier: MIT
"""Who makes and fetches URLs with an authorization, for the tests of them."""

import re
from urllib.parse import quote

import pytest
from test_imap_session import Wire

BODY = b"Si vis pacem, para bellum.\r\n"
PART = b"second\r\npart\xff!\r\n"
MESSAGE = (b"From: a@example.test\r\nSubject: tickets\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
           b"\r\n--b\r\nContent-Type: text/plain\r\n\r\n" + BODY + b"\r\n--b\r\nContent-Type: text/plain\r\n"
           b"Content-Transfer-Encoding: 8bit\r\n\r\n" + PART + b"\r\n--b--\r\n")
SOMEBODY = "authuser"


class Person(Wire):
    name = None

    def __init__(self, roost, user):
        super().__init__(roost, user)
        self.user = user

    def ok(self, command):
        lines = self.command(command)
        assert lines[-1].startswith("t OK"), (command, lines)
        return lines

    def append(self, mailbox="INBOX", message=MESSAGE):
        self.send(b"t APPEND %b {%d+}\r\n%b\r\n" % (mailbox.encode(), len(message), message))
        return int(re.match(r"t OK \[APPENDUID \d+ (\d+)\]", self.until("t ")[-1])[1])

    def rump(self, mailbox="INBOX", uid=1, rest="", access=SOMEBODY, owner=None):
        return f"imap://{quote(owner or self.user)}@mail.example.test/{quote(mailbox)}/;UID={uid}{rest};URLAUTH={access}"

    def sign(self, *rumps):
        line = self.ok("GENURLAUTH " + " ".join(f'"{rump}" INTERNAL' for rump in rumps))[0]
        assert line.startswith("* GENURLAUTH ")
        found = re.findall(r' "([^"]*)"', line)
        for rump, url in zip(rumps, found, strict=True):
            assert re.fullmatch(re.escape(rump) + ":INTERNAL:01[0-9a-f]{64}", url)
        return found[0] if len(found) == 1 else found

    def url(self, **options):
        return self.sign(self.rump(**options))

    def fetch(self, *urls, end="OK"):
        """What URLFETCH answers for each: bytes, or None for NIL."""
        sent = [b"{%d+}\r\n%b" % (len(u.encode()), u.encode()) if len(u) > 1000 else b'"%b"' % u.encode() for u in urls]
        self.send(b"t URLFETCH " + b" ".join(sent) + b"\r\n")
        line = self.lines.readline()
        assert line.startswith(b"* URLFETCH "), line
        rest, found = line[len(b"* URLFETCH"):], []
        for u in urls:
            literal = re.match(rb" \{(\d+)\}\r\n", rest)
            if literal:
                said, rest = self.lines.read(int(literal[1])), self.lines.readline()
            else:
                said = re.match(rb' (?:"([^"]*)"|(\S+))', rest)
                rest, said = rest[said.end():], said[1] if said[1] is not None else said[2]
            assert said.decode() == u
            literal = re.match(rb" \{(\d+)\}\r\n", rest)
            if literal:
                found.append(self.lines.read(int(literal[1])))
                rest = self.lines.readline()
            else:
                nothing = re.match(rb' (""|NIL)', rest)
                rest = rest[nothing.end():]
                found.append(b"" if nothing[1] == b'""' else None)
        assert rest == b"\r\n", rest
        assert self.lines.readline().startswith(b"t " + end.encode())
        return found[0] if len(found) == 1 else found


@pytest.fixture
def person(roost):
    made = []

    def make(address, instance=None):
        made.append(Person(instance or roost, address))
        return made[-1]

    yield make
    for connection in made:
        connection.socket.close()


@pytest.fixture
def owner(person, user):
    """Somebody with a message."""
    one = person(user)
    assert one.append() == 1
    return one


@pytest.fixture
def other(person, other_user):
    return person(other_user)


def keys_of(roost, owner):
    return roost.home(owner.user.split("@")[0]) / "Maildir" / "roost-urlauth"
