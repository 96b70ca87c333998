# SPDX-License-Identifier: MIT
"""URLs that carry their own authorization (RFC 4467, RFC 5092): who made one lets others have what it is of, and nothing
else, for as long as he likes."""

import re
import stat
import subprocess
import time
from urllib.parse import quote

import pytest
from roost_instance import BUILD, wait_until
from test_imap_session import Wire
from test_sleep import wait_asleep

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


def test_a_ticket_is_good_for_what_it_says(owner, other):
    assert " URLAUTH " in owner.ok("CAPABILITY")[0] + " " and " URL-PARTIAL " in owner.ok("CAPABILITY")[0]
    wanted = {
        "": MESSAGE,
        "/;SECTION=1": BODY,
        "/;section=2": PART,
        "/;SECTION=HEADER": MESSAGE[: MESSAGE.index(b"--b\r\n")],
        "/;SECTION=HEADER.FIELDS%20(Subject)": b"Subject: tickets\r\n\r\n",
        "/;SECTION=2.MIME": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        "/;PARTIAL=0.10": MESSAGE[:10],
        "/;PARTIAL=30": MESSAGE[30:],
        "/;SECTION=1/;PARTIAL=3.3": BODY[3:6],
        # What would be NIL of a message that is there is an empty string.
        "/;SECTION=7": b"",
        "/;SECTION=1/;PARTIAL=1000.10": b"",
    }
    urls = owner.sign(*(owner.rump(rest=rest) for rest in wanted))
    for who in (owner, other):
        assert who.fetch(*urls) == list(wanted.values())
        for url, want in zip(urls, wanted.values()):
            assert who.fetch(url) == want
    # Nothing else has become theirs, and no mailbox was needed or left for it.
    other.ok("SELECT INBOX")
    assert other.fetch(urls[1]) == BODY
    assert not any("FETCH" in line for line in other.ok("UID FETCH 1:* FLAGS")[:-1])
    assert owner.fetch(urls[0].replace("UID=1", "UID=2")) is None
    assert "\\Seen" not in owner.ok("EXAMINE INBOX")[-1] + "".join(owner.ok("FETCH 1 FLAGS"))
    # The same mailbox has the same key, and so the same URL the same token.
    assert owner.url() == urls[0] and owner.url(mailbox="inbox") != urls[0]


def test_who_may_use_it(owner, other, person, roost):
    third = person(roost.add_user(f"third-{owner.user.split('@')[0]}"))
    local = other.user.split("@")[0]
    for access in (f"user+{quote(other.user)}", f"user+{local}", f"USER+{local.upper()}"):
        url = owner.url(access=access)
        assert other.fetch(url) == MESSAGE
        assert third.fetch(url) is None and owner.fetch(url) is None
    # Nobody comes in without a name, so the two are the same here.
    for access in ("authuser", "anonymous", "AuthUser"):
        url = owner.url(access=access)
        assert other.fetch(url) == third.fetch(url) == owner.fetch(url) == MESSAGE
    # Users that there are not are told from others by nothing.
    url = owner.url(access="user+nobody%40nowhere.example")
    assert owner.fetch(url) is None and other.fetch(url) is None
    assert other.fetch(owner.url(access=f"submit+{local}")) is None


def test_submission_servers(make_instance, person):
    roost = make_instance(settings={"urlauth_submit_users": ["Submit@example.test"]})
    roost.add_user("submit")
    alice, submit, bob = (person(f"{name}@example.test", roost) for name in ("alice", "submit", "bob"))
    alice.append()
    for url in (alice.url(access="submit+alice"), alice.url(access="submit+fred%40example.org")):
        assert submit.fetch(url) == MESSAGE
        assert alice.fetch(url) is None and bob.fetch(url) is None
    assert submit.fetch(alice.url(access="user+bob")) is None
    # A name without a domain is of the domain of who asks, as at the other end.
    short = alice.url(owner="alice")
    assert submit.fetch(short) == MESSAGE
    roost.ctl("domain", "add", "example.org")
    assert person(roost.add_user("elsewhere", domain="example.org"), roost).fetch(short) is None


def test_what_cannot_be_generated(owner, other):
    good = owner.rump()
    for rump in (
        good.removesuffix(";URLAUTH=authuser"),
        good.replace(quote(owner.user) + "@", ""),
        good.replace("/INBOX/;UID=1", ""),
        good.replace("/;UID=1", ""),
        good.replace("/;UID=1", "?ALL"),
        good.replace("authuser", "somebody"),
        good.replace("authuser", "user+"),
        good.replace("INBOX", "Nowhere"),
        good.replace("INBOX", "INBOX;UIDVALIDITY=1"),
        good.replace("INBOX", "..%2F..%2Fetc"),
        owner.rump(rest=";EXPIRE=tomorrow"),
        owner.rump(rest="/;SECTION=x"),
        owner.url(),
        # Somebody else's, there or not, is one answer.
        other.rump(),
    ):
        answer = owner.command(f'GENURLAUTH "{rump}" INTERNAL')
        assert len(answer) == 1 and answer[0].startswith("t BAD"), (rump, answer)
    answers = {owner.command(f'GENURLAUTH "{owner.rump(owner=name)}" INTERNAL')[-1] for name in (other.user, "nobody", "x@y")}
    assert answers == {"t BAD The owner in the URL is somebody else"}
    assert owner.command(f'GENURLAUTH "{good}" XSAMPLE') == ["t NO [CANNOT] There is no such mechanism"]
    # All or none.
    answer = owner.command(f'GENURLAUTH "{good}" INTERNAL "{other.rump()}" INTERNAL')
    assert len(answer) == 1 and answer[0].startswith("t BAD")


def test_forged_and_changed(owner, other):
    url = owner.url(rest="/;SECTION=1")
    rump, token = url.rsplit(":", 1)
    changed = [
        rump + ":" + "0" * 66,
        rump + ":" + token[:-1] + ("0" if token[-1] != "0" else "1"),
        rump + ":" + token[:64],
        rump + ":" + token + "00",
        rump + ":" + token[2:],
        rump + ":02" + token[2:],
        rump + ":" + token[:32],
        rump + ":",
        rump,
        url.replace("INTERNAL", "XSAMPLE"),
        url.replace("SECTION=1", "SECTION=2"),
        url.replace("SECTION=1", "section=1"),
        url.replace("/;SECTION=1", ""),
        url.replace("UID=1", "UID=01"),
        url.replace("UID=1", "uid=1"),
        url.replace("INBOX", "inbox"),
        url.replace("INBOX", "%49NBOX"),
        url.replace("INBOX", "Sent"),
        url.replace("mail.example.test", "MAIL.example.test"),
        url.replace("mail.example.test", "localhost"),
        url.replace("authuser", "anonymous"),
        url.replace("authuser", "user+" + quote(other.user)),
        url.replace("imap://", "IMAP://"),
        url.replace(quote(owner.user), quote(other.user)),
        url.replace(quote(owner.user), owner.user.split("@")[0]),
        url.replace(quote(owner.user), "nobody"),
        url.replace(quote(owner.user), "%2e%2e%2f" + quote(owner.user)),
        url.replace(";URLAUTH", ";EXPIRE=2999-01-01T00:00:00Z;URLAUTH"),
        url + " ",
        url + "%00",
        "imap://" + quote(owner.user) + "@mail.example.test/INBOX/;UID=1",
        "/INBOX/;UID=1",
        "imap://mail.example.test/",
        "imap://" + quote(owner.user) + "@mail.example.test/INBOX?ALL",
        "x",
    ]
    for who in (owner, other):
        assert who.fetch(*changed) == [None] * len(changed)
        assert who.fetch(url) == BODY
    # The mechanism's name and the digits of the token are no part of what is signed.
    assert other.fetch(rump.replace("INTERNAL", "internal") + ":" + token.upper()) == BODY


def test_expiry(owner, other):
    def at(seconds, zone="Z"):
        return ";EXPIRE=" + time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + seconds)) + zone

    gone, now, later = (owner.url(rest=at(s)) for s in (-5, 2, 3600))
    # An hour east of here it was over an hour ago.
    east, west = owner.url(rest=at(1800, "+01:00")), owner.url(rest=at(-1800, "-01:00"))
    assert other.fetch(gone, later, east, west) == [None, MESSAGE, None, MESSAGE]
    assert other.fetch(gone.replace(gone.split("EXPIRE=")[1][:4], "2999")) is None
    wait_until(lambda: other.fetch(now) is None, what="it expires")


def test_reset_revokes(owner, other, roost):
    owner.ok("CREATE Box")
    owner.append("Box")
    inbox, box = owner.url(), owner.url(mailbox="Box")
    assert owner.ok("RESETKEY INBOX")[-1].startswith("t OK [URLMECH INTERNAL]")
    assert other.fetch(inbox, box) == [None, MESSAGE]
    again = owner.url()
    assert again != inbox and other.fetch(again, inbox) == [MESSAGE, None]
    assert owner.ok("RESETKEY") == ["t OK All keys removed"]
    assert other.fetch(again, box, inbox) == [None, None, None]
    assert other.fetch(owner.url(mailbox="Box")) == MESSAGE
    for bad in ("RESETKEY Nowhere", "RESETKEY INBOX XSAMPLE"):
        assert owner.command(bad)[-1].startswith("t NO")
    # Another's reset changes nothing.
    url = owner.url()
    other.ok("RESETKEY")
    other.ok("RESETKEY INBOX")
    assert other.fetch(url) == MESSAGE


def test_sessions_hear_of_a_reset(owner, person, user):
    """All of this user that have the mailbox selected, those in IDLE and asleep too, and no others."""
    urlmech = "* OK [URLMECH INTERNAL]"
    idle, busy, elsewhere = (person(user) for _ in range(3))
    for one, mailbox in ((idle, "INBOX"), (busy, "INBOX"), (elsewhere, "Sent"), (owner, "INBOX")):
        selected = one.ok(f"{'EXAMINE' if one is busy else 'SELECT'} {mailbox}")
        assert sum(line.startswith(urlmech) for line in selected) == 1
    idle.send("i IDLE")
    idle.until("+ ")
    assert not any(line.startswith("* OK") for line in owner.ok("RESETKEY INBOX"))
    idle.until(urlmech)
    assert [line[: len(urlmech)] for line in busy.ok("NOOP")[:-1]] == [urlmech]
    assert busy.ok("NOOP")[:-1] == elsewhere.ok("NOOP")[:-1] == owner.ok("NOOP")[:-1] == []
    assert [line[: len(urlmech)] for line in owner.ok("RESETKEY")[:-1]] == [urlmech]
    idle.until(urlmech)
    idle.send("DONE")
    idle.until("i ")


def test_a_sleeper_hears_of_a_reset(make_instance, person):
    roost = make_instance(settings={"imap_hibernate_after": "100ms"})
    sleeper, awake = person("alice@example.test", roost), person("alice@example.test", roost)
    sleeper.append()
    sleeper.ok("SELECT INBOX")
    sleeper.send("i IDLE")
    sleeper.until("+ ")
    wait_asleep(roost, sleeper)
    awake.ok("RESETKEY INBOX")
    sleeper.until("* OK [URLMECH INTERNAL]")
    sleeper.send("DONE")
    assert not any("URLMECH" in line for line in sleeper.until("i "))


def test_the_mailbox_goes_or_gets_another_name(owner, other, roost):
    owner.ok("CREATE Box")
    owner.append("Box")
    url = owner.url(mailbox="Box")
    owner.ok("RENAME Box Case")
    # The name is part of what was signed: neither the old one nor the new one is good.
    assert other.fetch(url, url.replace("Box", "Case")) == [None, None]
    renamed = owner.url(mailbox="Case")
    # Another mailbox under the old name has another key.
    owner.ok("CREATE Box")
    owner.append("Box")
    assert other.fetch(url, renamed) == [None, MESSAGE]
    owner.ok("DELETE Box")
    owner.ok("RENAME Case Box")
    assert other.fetch(url, renamed) == [MESSAGE, None]
    # With the mailbox the key is gone.
    keys = keys_of(roost, owner)
    assert len(keys.read_text().splitlines()) == 2
    owner.ok("DELETE Box")
    assert keys.read_text() == "roost 1\n"
    owner.ok("CREATE Box")
    owner.append("Box")
    assert other.fetch(url) is None
    # A message that is gone takes its URLs along.
    url = owner.url(mailbox="Box")
    assert other.fetch(url) == MESSAGE
    owner.ok("SELECT Box")
    owner.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
    owner.ok("EXPUNGE")
    assert other.fetch(url) is None


def test_uidvalidity(owner, other):
    validity = int(re.search(r"UIDVALIDITY (\d+)", owner.ok("STATUS INBOX (UIDVALIDITY)")[0])[1])
    rump = owner.rump().replace("INBOX", f"INBOX;UIDVALIDITY={validity}")
    assert other.fetch(owner.sign(rump)) == MESSAGE
    stale = owner.command(f'GENURLAUTH "{rump.replace(str(validity), str(validity + 1))}" INTERNAL')
    assert stale[-1].startswith("t BAD")


def test_names_in_all_letters(owner, other):
    owner.ok("CREATE &AOQ-/b&ANw-")
    owner.append("&AOQ-/b&ANw-")
    url = owner.url(mailbox="ä/bÜ")
    assert "%C3%A4/b%C3%9C" in url and other.fetch(url) == MESSAGE


def test_it_gives_what_the_owner_has(owner, other):
    """Rights of others do not matter to a URL, those of the owner himself do."""
    url = owner.url()
    assert other.command(f"STATUS other/{owner.user.split('@')[0]}/INBOX (MESSAGES)")[-1].startswith("t NO")
    assert other.fetch(url) == MESSAGE
    owner.ok(f"SETACL INBOX -{other.user} lr")
    assert other.fetch(url) == MESSAGE
    owner.ok(f"SETACL INBOX {owner.user} -r")
    assert other.fetch(url) is None and owner.fetch(url) is None
    owner.ok(f"SETACL INBOX {owner.user} +r")
    assert other.fetch(url) == MESSAGE


# ---- of mailboxes that others share ----


@pytest.fixture
def guest(owner, other):
    """Who may read the owner's INBOX."""
    owner.ok(f"SETACL INBOX {other.user} lr")
    other.name = shared(owner, "INBOX")
    return other


@pytest.fixture
def third(person, roost, owner):
    return person(roost.add_user(f"third-{owner.user.split('@')[0]}"))


def shared(owner, mailbox):
    return f"other/{owner.user.split('@')[0]}/{mailbox}"


def test_a_url_of_what_another_shares(owner, guest, third, roost):
    """Its owner is who made it, with a key of his own for the mailbox, and it gives what he may read."""
    rests = {"": MESSAGE, "/;SECTION=1": BODY, "/;SECTION=2/;PARTIAL=2.5": PART[2:7], "/;SECTION=9": b""}
    urls = guest.sign(*(guest.rump(mailbox=guest.name, rest=rest) for rest in rests))
    long_name = guest.name.replace("other/", "other/", 1).replace("/INBOX", f"@{owner.user.split('@')[1]}/inbox")
    urls.append(guest.url(mailbox=long_name))
    for who in (guest, owner, third):
        assert who.fetch(*urls) == [*rests.values(), MESSAGE]
    url = guest.url(mailbox=guest.name, access=f"user+{quote(owner.user)}")
    assert [who.fetch(url) for who in (guest, owner, third)] == [None, MESSAGE, None]
    # Two users who share a mailbox have two keys, and what is the guest's lies with the guest.
    own = owner.url()
    assert own.rsplit(":", 1)[1] != urls[0].rsplit(":", 1)[1]
    assert third.fetch(urls[0].rsplit(":", 1)[0] + ":" + own.rsplit(":", 1)[1]) is None
    assert re.fullmatch(rf"roost 1\nshared/{re.escape(owner.user)}/[0-9a-f]{{32}} [0-9a-f]{{64}}\n", keys_of(roost, guest).read_text())
    assert keys_of(roost, guest).read_text().split()[3] not in keys_of(roost, owner).read_text()
    # Nobody marks anything as seen by it, or comes to have the mailbox.
    assert third.command(f"STATUS {guest.name} (MESSAGES)")[-1].startswith("t NO")
    assert guest.fetch(urls[0].replace("UID=1", "UID=2")) is None
    owner.ok("SELECT INBOX")
    assert "\\Seen" not in "".join(owner.ok("FETCH 1 FLAGS"))


def test_a_right_that_comes_and_goes(owner, guest, third):
    url = guest.url(mailbox=guest.name)
    for takes, gives in ((f"SETACL INBOX {guest.user} -r", f"SETACL INBOX {guest.user} +r"),
                         (f"DELETEACL INBOX {guest.user}", f"SETACL INBOX {guest.user} lr"),
                         (f"SETACL INBOX -{guest.user} r", f"DELETEACL INBOX -{guest.user}"),
                         ("SETACL INBOX -anyone r", "DELETEACL INBOX -anyone")):
        owner.ok(takes)
        assert third.fetch(url) is None and guest.fetch(url) is None and owner.fetch(url) is None, takes
        assert guest.command(f'GENURLAUTH "{guest.rump(mailbox=guest.name)}" INTERNAL')[-1].startswith(
            ("t NO [NOPERM]", "t BAD There is no such mailbox")), takes
        owner.ok(gives)
        assert third.fetch(url) == MESSAGE, gives
    # The owner's rights on his own programs are nothing to a guest's.
    owner.ok(f"SETACL INBOX {owner.user} -r")
    assert third.fetch(url) == MESSAGE
    owner.ok(f"SETACL INBOX {owner.user} +r")
    # What everybody has he has too.
    owner.ok("SETACL INBOX authenticated lr")
    owner.ok(f"DELETEACL INBOX {guest.user}")
    assert third.fetch(url) == MESSAGE and guest.url(mailbox=guest.name) == url


def test_rights_of_groups_make_no_urls(owner, person, roost, third):
    """Who is in a group is known at log-in, and a URL outlives that."""
    local = f"staff-{owner.user.split('@')[0]}"
    user = roost.add_user(local)
    roost.ctl("user", "set", user, "--acl-groups", "staff,sales")
    member = person(user)
    name = shared(owner, "INBOX")
    owner.ok("SETACL INBOX $staff lr")
    member.ok(f"SELECT {name}")
    rump = member.rump(mailbox=name)
    assert member.command(f'GENURLAUTH "{rump}" INTERNAL') == ["t NO [CANNOT] A right that only a group has makes no URL"]
    owner.ok(f"SETACL INBOX {user} r")
    url = member.sign(rump)
    assert third.fetch(url) == MESSAGE
    # He may be one of those from whom it is taken.
    for group in ("sales", "others"):
        owner.ok(f"SETACL INBOX -${group} r")
        assert third.fetch(url) is None
        owner.ok(f"DELETEACL INBOX -${group}")
        assert third.fetch(url) == MESSAGE
    owner.ok(f"DELETEACL INBOX {user}")
    assert third.fetch(url) is None


def test_a_shared_mailbox_goes_or_gets_another_name(owner, guest, third):
    name = shared(owner, "Box")

    def make():
        owner.ok("CREATE Box")
        owner.append("Box")
        owner.ok(f"SETACL Box {guest.user} lr")

    make()
    url = guest.url(mailbox=name)
    assert third.fetch(url) == MESSAGE
    owner.ok("RENAME Box Case")
    assert third.fetch(url, url.replace("Box", "Case")) == [None, None]
    make()
    assert third.fetch(url) is None
    owner.ok("DELETE Box")
    owner.ok("RENAME Case Box")
    assert third.fetch(url) == MESSAGE
    owner.ok("SELECT Box")
    owner.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    owner.ok("CLOSE")
    assert third.fetch(url) is None
    owner.append("Box")
    assert third.fetch(url, url.replace("UID=1", "UID=2")) == [None, None]
    owner.ok("DELETE Box")
    make()
    assert third.fetch(url) is None and third.fetch(guest.url(mailbox=name)) == MESSAGE


def test_what_of_others_cannot_be_generated(owner, guest, third):
    owner.ok("CREATE Listed")
    owner.ok("CREATE Hidden")
    owner.ok(f"SETACL Listed {guest.user} l")

    def answer(who, mailbox, **options):
        return who.command(f'GENURLAUTH "{who.rump(mailbox=mailbox, **options)}" INTERNAL')[-1]

    assert answer(guest, shared(owner, "Listed")).startswith("t NO [NOPERM]")
    for who, name in ((guest, shared(owner, "Hidden")), (guest, shared(owner, "Nowhere")), (third, shared(owner, "INBOX")),
                      (guest, "other/nobody/INBOX"), (guest, "other"), (guest, "Public/INBOX")):
        assert answer(who, name) == "t BAD There is no such mailbox", name
    # Who shares it is not who signs.
    assert answer(guest, "INBOX", owner=owner.user) == "t BAD The owner in the URL is somebody else"
    assert answer(third, guest.name, owner=guest.user) == "t BAD The owner in the URL is somebody else"
    validity = int(re.search(r"UIDVALIDITY (\d+)", owner.ok("STATUS INBOX (UIDVALIDITY)")[0])[1])
    rump = guest.rump(mailbox=guest.name)
    assert third.fetch(guest.sign(rump.replace("INBOX", f"INBOX;UIDVALIDITY={validity}"))) == MESSAGE
    stale = rump.replace("INBOX", f"INBOX;UIDVALIDITY={validity + 1}")
    assert guest.command(f'GENURLAUTH "{stale}" INTERNAL') == ["t BAD There is no such mailbox"]


def test_forged_urls_of_what_is_shared(owner, guest, third):
    own, url = owner.url(), guest.url(mailbox=guest.name)
    rump, token = url.rsplit(":", 1)
    owner.ok("CREATE Box")
    owner.ok(f"SETACL Box {guest.user} lr")
    owner.append("Box")
    changed = [
        rump + ":" + own.rsplit(":", 1)[1],
        own.rsplit(":", 1)[0] + ":" + token,
        rump + ":" + token[:-1] + ("0" if token[-1] != "0" else "1"),
        url.replace("INBOX", "inbox"),
        url.replace("INBOX", "Box"),
        url.replace("INBOX", "../../INBOX"),
        url.replace(f"{guest.name}/", "INBOX/"),
        url.replace("other/", "Other/"),
        url.replace("other/", "other//"),
        url.replace(quote(guest.user) + "@", quote(third.user) + "@"),
        url.replace(quote(guest.user) + "@", quote(owner.user) + "@"),
        url.replace("UID=1", "UID=01"),
        url.replace("authuser", "anonymous"),
    ]
    assert len(set(changed) - {url}) == len(changed)
    for who in (owner, guest, third):
        assert who.fetch(*changed) == [None] * len(changed)
        assert who.fetch(url) == MESSAGE


def test_a_guest_resets_his_own_keys(owner, guest, third):
    url, own = guest.url(mailbox=guest.name), guest.url() if guest.append() else None
    of_owner = owner.url()
    # The owner's resets are of his own.
    owner.ok("RESETKEY INBOX")
    assert third.fetch(url, own, of_owner) == [MESSAGE, MESSAGE, None]
    owner.ok("RESETKEY")
    assert third.fetch(url, own) == [MESSAGE, MESSAGE]
    of_owner = owner.url()
    assert guest.ok(f"RESETKEY {guest.name}") == ["t OK [URLMECH INTERNAL] Resetkey completed"]
    assert third.fetch(url, own, of_owner) == [None, MESSAGE, MESSAGE]
    again = guest.url(mailbox=guest.name)
    assert again != url and third.fetch(again, url) == [MESSAGE, None]
    assert guest.ok("RESETKEY") == ["t OK All keys removed"]
    assert third.fetch(again, url, own, of_owner) == [None, None, None, MESSAGE]
    # Nor does one come back with a right that was away meanwhile.
    url = guest.url(mailbox=guest.name)
    owner.ok(f"DELETEACL INBOX {guest.user}")
    assert guest.command(f"RESETKEY {guest.name}")[-1].startswith("t NO")
    guest.ok("RESETKEY")
    owner.ok(f"SETACL INBOX {guest.user} lr")
    assert third.fetch(url) is None


def test_sessions_of_a_guest_hear_of_a_reset(owner, guest, person, user, other_user):
    urlmech = "* OK [URLMECH INTERNAL]"
    owner.ok("CREATE Box")
    owner.ok(f"SETACL Box {guest.user} lr")
    idle, busy, elsewhere, of_owner = person(other_user), person(other_user), person(other_user), person(user)
    for one, mailbox in ((idle, guest.name), (busy, guest.name), (guest, guest.name), (elsewhere, shared(owner, "Box")),
                         (of_owner, "INBOX")):
        assert sum(line.startswith(urlmech) for line in one.ok(f"SELECT {mailbox}")) == 1
    guest.url(mailbox=guest.name)
    idle.send("i IDLE")
    idle.until("+ ")
    for command in (f"RESETKEY {guest.name}", "RESETKEY"):
        told = [line[: len(urlmech)] for line in guest.ok(command)[:-1]]
        assert told == ([] if command != "RESETKEY" else [urlmech])
        idle.until(urlmech)
        assert [line[: len(urlmech)] for line in busy.ok("NOOP")[:-1]] == [urlmech]
        for one in (busy, elsewhere, of_owner, guest):
            assert one.ok("NOOP")[:-1] == []
    idle.send("DONE")
    assert not any("URLMECH" in line for line in idle.until("i "))


def test_a_sleeping_guest_hears_of_a_reset(make_instance, person):
    roost = make_instance(settings={"imap_hibernate_after": "100ms"})
    alice = person("alice@example.test", roost)
    sleeper, awake = person("bob@example.test", roost), person("bob@example.test", roost)
    alice.append()
    alice.ok("SETACL INBOX bob@example.test lr")
    sleeper.ok("SELECT other/alice/INBOX")
    sleeper.send("i IDLE")
    sleeper.until("+ ")
    for _ in range(2):
        wait_asleep(roost, sleeper)
        awake.ok("RESETKEY other/alice/INBOX")
        sleeper.until("* OK [URLMECH INTERNAL]")
    sleeper.send("DONE")
    assert not any("URLMECH" in line for line in sleeper.until("i "))


def test_of_what_all_share_and_of_other_domains(make_instance, person):
    roost = make_instance(settings={"acl_other_domains": "yes"})
    roost.add_user("public")
    roost.ctl("domain", "add", "example.org")
    far = person(roost.add_user("far", domain="example.org"), roost)
    news, alice, bob = (person(f"{name}@example.test", roost) for name in ("public", "alice", "bob"))
    for one in (news, far):
        one.ok("CREATE News")
        one.append("News")
        one.ok("SETACL News anyone lr")
    public, foreign = (alice.url(mailbox=name) for name in ("Public/News", "other/far@example.org/News"))
    assert bob.fetch(public, foreign) == far.fetch(public, foreign) == [MESSAGE, MESSAGE]
    assert person("alice@example.test", roost).fetch(far.url(mailbox="other/public@example.test/News")) == MESSAGE
    # What is shared with others no more is the guest's no more.
    roost.stop()
    roost.settings |= {"acl_other_domains": "no"}
    roost.write_conf()
    roost.start()
    assert person("bob@example.test", roost).fetch(public, foreign) == [MESSAGE, None]


def test_a_guests_urls_outlive_indexes_and_services(make_instance, person):
    roost = make_instance(users=("alice", "bob", "carol"))
    alice, bob = person("alice@example.test", roost), person("bob@example.test", roost)
    alice.append()
    alice.ok("SETACL INBOX bob@example.test lr")
    url = bob.url(mailbox="other/alice/INBOX")
    index = {name: roost.home(name) / "index" / "data.mdb" for name in ("alice", "bob")}
    for path in (index["alice"], index["bob"], roost.state / "mail" / ".roost-shared.json"):
        roost.stop()
        path.unlink()
        roost.start()
        # Neither of them has been here since.
        assert person("carol@example.test", roost).fetch(url) == MESSAGE
        assert person("bob@example.test", roost).url(mailbox="other/alice/INBOX") == url
    assert roost.ctl("fsck", "bob@example.test") == []
    # Mail that is gone is not made anew, whoever's it was.
    folder, moved = roost.home("alice") / "Maildir", roost.home("alice") / "Elsewhere"
    for name in ("alice", "bob"):
        folder, moved = roost.home(name) / "Maildir", roost.home(name) / "Elsewhere"
        roost.stop()
        folder.rename(moved)
        roost.start()
        assert person("carol@example.test", roost).fetch(url) is None and not folder.exists()
        roost.stop()
        moved.rename(folder)
        roost.start()
        person(f"{name}@example.test", roost)
        assert person("carol@example.test", roost).fetch(url) == MESSAGE


def test_catenate_from_what_others_share(owner, guest, third):
    """Texts of messages that the session may read, wherever they lie; of others it learns nothing."""
    guest.ok("CREATE Drafts2")

    def catenate(who, url):
        who.send(b't APPEND Drafts2 CATENATE (TEXT {6+}\r\nX: y\r\n URL "%b")\r\n' % url.encode())
        return who.until("t ")[-1]

    for url, want in ((f"/{guest.name}/;UID=1", MESSAGE), (f"/{guest.name}/;UID=1/;SECTION=1", BODY),
                      (f"/{guest.name}/;UID=1/;PARTIAL=5.9", MESSAGE[5:14])):
        uid = int(re.match(r"t OK \[APPENDUID \d+ (\d+)\]", catenate(guest, url))[1])
        assert guest.fetch(guest.url(mailbox="Drafts2", uid=uid)) == b"X: y\r\n" + want
    guest.ok(f"EXAMINE {guest.name}")
    assert catenate(guest, ";UID=1/;SECTION=2").startswith("t OK")
    third.ok("CREATE Drafts2")
    owner.ok("CREATE Hidden")
    owner.append("Hidden")
    for who, url in ((guest, f"/{guest.name}/;UID=2"), (guest, f"/{shared(owner, 'Hidden')}/;UID=1"), (third, f"/{guest.name}/;UID=1"),
                     (guest, guest.url(mailbox=guest.name)), (guest, "/other/nobody/INBOX/;UID=1")):
        assert catenate(who, url).startswith("t NO [BADURL "), url
    guest.ok("UNSELECT")
    owner.ok(f"SETACL INBOX {guest.user} -r")
    assert catenate(guest, f"/{guest.name}/;UID=1").startswith("t NO [BADURL ")
    assert "MESSAGES 4" in guest.ok("STATUS Drafts2 (MESSAGES)")[0]


def test_many_at_once_of_many(owner, guest, third, roost):
    """Owners and guests are in threads of their own."""
    guests = [Person(roost, roost.add_user(f"many{n}-{owner.user.split('@')[0]}")) for n in range(6)]
    owner.ok("SETACL INBOX authenticated lr")
    urls = [one.url(mailbox=guest.name) for one in (guest, *guests)]
    wanted = [MESSAGE] * len(urls)
    for one in guests:
        one.socket.settimeout(60)
        one.send(b"t URLFETCH " + b" ".join(b'"%b"' % u.encode() for u in urls) + b"\r\n")
    assert third.fetch(*urls * 5) == wanted * 5
    for one in guests:
        assert sum(line.startswith("Si vis pacem") for line in one.until("t ")) == len(urls)
        one.socket.close()


def test_keys_outlive_the_index_and_the_service(make_instance, person):
    roost = make_instance()
    alice, bob = person("alice@example.test", roost), person("bob@example.test", roost)
    alice.append()
    url = alice.url()
    keys = keys_of(roost, alice)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert re.fullmatch(r"roost 1\nmailbox/[0-9a-f]{32} [0-9a-f]{64}\n", keys.read_text())
    before = keys.read_bytes()
    for path in (roost.home("alice") / "index" / "data.mdb", roost.state / "mail" / ".roost-shared.json"):
        roost.stop()
        path.unlink()
        roost.start()
        # Nobody has opened the owner's mail since.
        assert person("bob@example.test", roost).fetch(url) == MESSAGE
        assert person("alice@example.test", roost).url() == url
        assert keys.read_bytes() == before
    bob.socket.close()
    # fsck has nothing to say of it.
    assert roost.ctl("fsck", "alice@example.test") == []


def test_a_damaged_file_of_keys(owner, other, roost):
    """It opens nothing, and stays for whoever wants to look at it."""
    url = owner.url()
    keys = keys_of(roost, owner)
    good = keys.read_bytes()
    name = good.split()[2]
    for bad in (b"", b"nonsense\n", good[:-20], good.replace(name, b"mailbox/" + b"0" * 32), b"\0" * 200,
                b"roost 1\n" + name + b" " + b"zz" * 32 + b"\n", b"roost 1\n" + name + b" \n"):
        keys.write_bytes(bad)
        assert other.fetch(url) is None, bad
        fresh = owner.url()
        assert fresh != url and other.fetch(fresh) == MESSAGE, bad
        keys.write_bytes(good)
        assert other.fetch(url, fresh) == [MESSAGE, None]
    assert keys.with_name("roost-urlauth.bad").exists()
    keys.unlink()
    keys.symlink_to("/etc/passwd")
    assert other.fetch(url) is None
    assert other.fetch(owner.url()) == MESSAGE and not keys.is_symlink()


def test_huge_and_many(owner, other):
    url = owner.url()
    for huge in (url.replace("INBOX", "a" * 9000), "imap://" + "a" * 300_000, "x" * 60_000, ";URLAUTH=" * 30_000):
        assert other.fetch(huge) is None
        answer = owner.command("NOOP")
        owner.send(b"t GENURLAUTH {%d+}\r\n%b INTERNAL\r\n" % (len(huge), huge.encode()))
        answer = owner.until("t ")
        assert answer[-1].startswith("t BAD"), answer
    assert other.fetch(*[url] * 100) == [MESSAGE] * 100
    bad = url.replace("UID=1", "UID=9")
    assert other.fetch(*[url, bad] * 50) == [MESSAGE, None] * 50
    assert other.command("URLFETCH " + " ".join(["x"] * 101)) == ["t NO [LIMIT] So many URLs at once are not served"]
    assert other.command("GENURLAUTH " + " ".join(["x INTERNAL"] * 101)) == [
        "t NO [LIMIT] So many URLs at once are not served"]
    # A new client is served as before.
    assert other.fetch(url) == MESSAGE


def test_odd_messages(owner, other):
    """What is said of its length holds, whatever the lines end in."""
    long = b"Subject: long\r\n\r\n" + b"0123456789\r\n" * 200_000
    uid = owner.append(message=long)
    assert other.fetch(owner.url(uid=uid), owner.url(uid=uid, rest="/;PARTIAL=1000000.12345")) == [
        long, long[1000000:1012345]]
    assert other.fetch(owner.url(uid=uid, rest="/;PARTIAL=18446744073709551615.18446744073709551615")) == b""


def test_what_the_service_says_of_its_own_troubles(make_instance, person):
    """NO is for what may be better later; a URL that is not good is never NO."""
    roost = make_instance()
    alice, bob = person("alice@example.test", roost), person("bob@example.test", roost)
    alice.append()
    url = alice.url()
    folder = roost.home("alice") / "Maildir"
    moved = roost.home("alice") / "Elsewhere"
    alice.socket.close()
    roost.stop()
    roost.start()
    folder.rename(moved)
    bob = person("bob@example.test", roost)
    # Mail that is gone is not made anew for others.
    assert bob.fetch(url) is None and not folder.exists()
    moved.rename(folder)
    person("alice@example.test", roost)
    assert bob.fetch(url) == MESSAGE


def test_one_key_for_one_mailbox(owner, roost):
    """Two sessions that generate at once get the same key."""
    other_session = Person(roost, owner.user)
    for _ in range(20):
        owner.ok("RESETKEY")
        rump = owner.rump()
        for one in (owner, other_session):
            one.send(f't GENURLAUTH "{rump}" INTERNAL')
        first, second = (one.until("t ")[0] for one in (owner, other_session))
        assert first == second
    other_session.socket.close()


def test_nothing_secret_is_logged(owner, other, roost):
    url = owner.url()
    other.fetch(url)
    other.fetch(url[:-1] + "0")
    token, key = url.rsplit(":", 1)[1], keys_of(roost, owner).read_text().split()[-1]
    log = roost.log()
    assert "index.url ok" in log and "index.url refused" in log
    assert token not in log and key not in log
    assert subprocess.run([BUILD / "roostctl", "-c", roost.conf, "status"], capture_output=True).returncode == 0
