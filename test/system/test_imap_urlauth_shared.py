# SPDX-License-Identifier: MIT
"""URLs that carry their own authorization, of mailboxes that others share: good for what their maker may read when they are
fetched."""

import re
from urllib.parse import quote

import pytest
from imap_urls import BODY, MESSAGE, PART, Person, keys_of, other, owner, person  # noqa: F401
from test_sleep import wait_asleep


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
