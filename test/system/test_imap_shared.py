# SPDX-License-Identifier: MIT
"""Mailboxes of others (RFC 4314, RFC 2342): one shares, another works in what he was given rights to."""

import os
import re
import shutil

import pytest
from programs import run
from roost_instance import wait_until
from test_clients import mbsync_conf
from test_imap_session import MESSAGE, Wire
from test_sleep import wait_asleep


class Person(Wire):
    def __init__(self, roost, user):
        super().__init__(roost, user)
        self.user, self.local = user, user.split("@")[0]

    def ok(self, command):
        lines = self.command(command)
        assert lines[-1].startswith("t OK"), (command, lines)
        return lines

    def refused(self, command, code="NOPERM"):
        lines = self.command(command)
        assert lines[-1].startswith(f"t NO [{code}]"), (command, lines)
        return lines

    def append(self, mailbox, flags="()", message=MESSAGE):
        self.send(b"a APPEND %b %b {%d+}\r\n%b\r\n" % (mailbox.encode(), flags.encode(), len(message), message))
        return self.until("a ")[-1]

    def listed(self, pattern="*"):
        return {line.split()[-1] for line in self.ok(f'LIST "" {pattern}') if "\\Noselect" not in line
                and line.startswith("* LIST")}

    def flags(self, uid="1:*"):
        found = [re.search(r"UID (\d+).*FLAGS \((.*?)\)|FLAGS \((.*?)\).*UID (\d+)", line)
                 for line in self.ok(f"UID FETCH {uid} FLAGS")]
        return {int(f.group(1) or f.group(4)): set((f.group(2) or f.group(3) or "").split()) - {"\\Recent"}
                for f in found if f}

    def count(self, mailbox, item="MESSAGES"):
        return int(re.search(rf"{item} (\d+)", self.ok(f"STATUS {mailbox} ({item})")[0]).group(1))


@pytest.fixture
def people(roost, user, other_user):
    """The owner with a mailbox Box of two messages, and somebody else."""
    owner, guest = Person(roost, user), Person(roost, other_user)
    owner.ok("CREATE Box")
    assert owner.append("Box").startswith("a OK")
    assert owner.append("Box", "(\\Seen \\Flagged $Work)").startswith("a OK")
    yield owner, guest
    owner.socket.close()
    guest.socket.close()


@pytest.fixture
def shared(people):
    """With the name by which the guest knows Box; give(rights) shares it."""
    owner, guest = people

    def give(rights, mailbox="Box"):
        owner.ok(f"SETACL {mailbox} {guest.user} {rights}")
        return f"other/{owner.local}/{mailbox}"

    return owner, guest, give


def test_nothing_is_there_before_it_is_given(people):
    owner, guest = people
    assert guest.ok("NAMESPACE")[0] == '* NAMESPACE (("" "/")) (("other/" "/")) (("Public/" "/"))'
    assert not any("other" in name for name in guest.listed())
    for name in (f"other/{owner.local}/Box", f"other/{owner.user}/INBOX", "other/nobody/Box", "other/x"):
        for command in ("SELECT {}", "STATUS {} (MESSAGES)", "MYRIGHTS {}", "GETACL {}", "DELETE {}"):
            guest.refused(command.format(name), "NONEXISTENT")
        assert guest.append(name).startswith("a NO")
        assert guest.command(f"CREATE {name}")[-1].startswith("t NO")
        assert guest.command(f"RENAME INBOX {name}")[-1].startswith("t NO")


@pytest.mark.parametrize("path", ["../{}/Box", "{}/../Box", "{}/Box/../../x", "{}//Box", "./{}/Box", "{}/.", "{}/.."])
def test_names_that_lead_elsewhere(shared, path):
    owner, guest, give = shared
    give("lrswipkxtea")
    name = "other/" + path.format(owner.local)
    assert guest.command(f"SELECT {name}")[-1].startswith("t NO")
    assert guest.command(f"CREATE {name}/new")[-1].startswith("t NO")
    assert guest.append(name).startswith("a NO")


def test_reading(shared):
    owner, guest, give = shared
    box = give("lr")
    assert box in guest.listed() and f"other/{owner.local}/INBOX" not in guest.listed()
    assert f"other/{owner.local}/INBOX" not in guest.listed("other/%/%")
    assert guest.ok(f"MYRIGHTS {box}")[0] == f"* MYRIGHTS {box} lr"
    assert guest.count(box) == 2 and guest.count(box, "UNSEEN") == 2
    told = guest.ok(f"SELECT {box}")
    assert told[-1].startswith("t OK [READ-ONLY]") and any("[PERMANENTFLAGS ()]" in line for line in told)
    assert any("2 EXISTS" in line for line in told) and any("0 RECENT" in line for line in told)
    assert guest.flags() == {1: set(), 2: {"\\Flagged", "$Work"}}
    body = guest.ok("FETCH 1 (BODY[] RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
    assert any("Subject:" in line for line in body)
    assert guest.ok("SEARCH ALL")[0] == "* SEARCH 1 2"
    assert guest.ok("SEARCH FROM sender.that.nobody.is")[0] == "* SEARCH"
    assert guest.ok("SEARCH UNKEYWORD $Work")[0] == "* SEARCH 1"
    assert any("UID" in line for line in guest.ok(f'ESEARCH IN (mailboxes {box}) ALL'))
    assert not any(box in line for line in guest.ok("ESEARCH IN (personal) ALL"))
    assert any(line.startswith("* SORT") for line in guest.ok("SORT (DATE) UTF-8 ALL"))
    assert any(line.startswith("* THREAD") for line in guest.ok("THREAD REFERENCES UTF-8 ALL"))
    guest.refused("STORE 1 +FLAGS (\\Seen)", "READ-ONLY")
    assert guest.append(box).startswith("a NO [NOPERM]")
    guest.refused(f"GETACL {box}")
    guest.refused(f"SETACL {box} {guest.user} lrswa")
    guest.refused(f"DELETE {box}")
    guest.refused(f"RENAME {box} {box}2")
    guest.refused(f"CREATE {box}/sub")
    guest.ok(f"GETQUOTAROOT {box}")
    # The address in full says the same.
    guest.ok(f"SELECT other/{owner.user}/Box")


def test_seen_is_each_readers_own(shared, roost):
    owner, guest, give = shared
    box = give("lrs")
    guest.ok(f"SELECT {box}")
    guest.ok("STORE 1 +FLAGS (\\Seen)")
    assert guest.flags() == {1: {"\\Seen"}, 2: {"\\Flagged", "$Work"}}
    assert guest.count(box, "UNSEEN") == 1 and owner.count("Box", "UNSEEN") == 1
    owner.ok("SELECT Box")
    assert owner.flags() == {1: set(), 2: {"\\Seen", "\\Flagged", "$Work"}}
    owner.ok("STORE 2 -FLAGS (\\Seen)")
    assert not [line for line in guest.ok("NOOP") if "FETCH" in line]
    guest.ok("FETCH 2 BODY[]")
    assert guest.count(box, "UNSEEN") == 0 and owner.count("Box", "UNSEEN") == 2
    # Without the guest's index, and the owner's, it is as it was.
    guest.socket.close()
    owner.socket.close()
    roost.ctl("kick", owner.user, check=False)
    # At once: a session that is not gone yet would remove some of it itself.
    (roost.home(guest.local) / "shared").rename(roost.home(guest.local) / "shared.old")
    again = Person(roost, guest.user)
    assert again.count(box, "UNSEEN") == 0
    again.ok(f"SELECT {box}")
    again.ok("STORE 1 -FLAGS (\\Seen)")
    roost.remove_index(owner.local)
    more = Person(roost, guest.user)
    more.ok(f"SELECT {box}")
    assert more.flags() == {1: set(), 2: {"\\Seen", "\\Flagged", "$Work"}}
    again.socket.close()
    more.socket.close()


def test_flags_by_their_rights(shared):
    owner, guest, give = shared
    box = give("lrt")
    told = guest.ok(f"SELECT {box}")
    assert any("[PERMANENTFLAGS (\\Deleted)]" in line for line in told)
    guest.refused("STORE 1 +FLAGS (\\Flagged)")
    guest.refused("STORE 1 +FLAGS (\\Seen)")
    guest.ok("STORE 1 +FLAGS (\\Deleted)")
    guest.refused("EXPUNGE")
    give("lrw")
    guest.refused("STORE 1 -FLAGS (\\Deleted)")
    guest.ok("STORE 1 FLAGS (\\Answered $New)")
    owner.ok("SELECT Box")
    assert owner.flags() == {1: {"\\Deleted", "\\Answered", "$New"}, 2: {"\\Seen", "\\Flagged", "$Work"}}
    give("lrswte")
    guest.ok("STORE 2 FLAGS (\\Seen $Work)")
    assert owner.flags(2) == {2: {"\\Seen", "$Work"}}
    assert guest.flags(2) == {2: {"\\Seen", "$Work"}}
    assert any("EXPUNGE" in line for line in guest.ok("EXPUNGE"))
    assert guest.count(box) == owner.count("Box") == 1


def test_messages_between_namespaces(shared):
    owner, guest, give = shared
    box = give("lrswite")
    assert guest.append(box, "(\\Seen \\Draft $Mine)").startswith("a OK [APPENDUID")
    guest.ok(f"SELECT {box}")
    assert guest.flags(3) == {3: {"\\Seen", "\\Draft", "$Mine"}}
    owner.ok("SELECT Box")
    assert owner.flags(3) == {3: {"\\Draft", "$Mine"}}
    assert any("Subject:" in line for line in owner.ok("FETCH 3 (ENVELOPE BODY[] RFC822.SIZE)"))
    assert "COPYUID" in guest.ok("COPY 1:3 INBOX")[-1]
    assert guest.count("INBOX") == 3 and owner.count("Box") == 3
    assert any("COPYUID" in line for line in guest.ok("MOVE 1 INBOX"))
    assert guest.count("INBOX") == 4 and owner.count("Box") == 2
    guest.ok("SELECT INBOX")
    assert guest.flags() == {1: set(), 2: {"\\Flagged", "$Work"}, 3: {"\\Seen", "\\Draft", "$Mine"}, 4: set()}
    guest.ok("STORE 1 +FLAGS (\\Seen \\Answered)")
    guest.ok(f"MOVE 1:4 {box}")
    assert guest.count("INBOX") == 0 and guest.count(box) == owner.count("Box") == 6
    owner.ok("SELECT Box")
    assert owner.flags(4) == {4: {"\\Answered"}}
    guest.ok(f"SELECT {box}")
    assert guest.flags(4) == {4: {"\\Answered", "\\Seen"}}
    guest.ok(f"COPY 3 {box}")
    guest.send(b"a REPLACE 1 %b {%d+}\r\n%b\r\n" % (box.encode(), len(MESSAGE), MESSAGE))
    assert guest.until("a ")[-1].startswith("a OK")
    assert owner.count("Box") == 7


def test_a_message_sent_to_another_is_the_same(shared):
    owner, guest, give = shared
    box = give("lri")
    text = b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nX-Odd: \tx\r\n\r\n" + bytes(range(1, 256)).replace(b"\r", b"")\
        .replace(b"\n", b"") + b"\r\n.\r\nFrom x\r\n\r\n"
    assert guest.append(box, "()", text).startswith("a OK")
    owner.ok("SELECT Box")
    owner.send(b"f FETCH 3 (RFC822.SIZE BODY.PEEK[])\r\n")
    got = owner.until("f ")
    assert any(f"RFC822.SIZE {len(text)}" in line for line in got), got


def test_the_tree(shared):
    owner, guest, give = shared
    box = give("lrswikxtea")
    guest.ok(f"CREATE {box}/a/b")
    assert guest.ok(f"MYRIGHTS {box}/a/b")[0].split()[-1] == "lrswikxteacd"
    assert {"Box/a", "Box/a/b"} <= owner.listed()
    guest.ok(f"SUBSCRIBE {box}/a")
    assert any(line.endswith(f"{box}/a") for line in guest.ok('LSUB "" *'))
    guest.ok(f"RENAME {box}/a/b {box}/c")
    guest.refused(f"RENAME {box}/c other/{owner.local}/Top")
    assert guest.command(f"RENAME {box}/c Mine")[-1].startswith("t NO")
    assert guest.command(f"RENAME INBOX {box}/mine")[-1].startswith("t NO")
    guest.refused(f"CREATE other/{owner.local}/Top")
    guest.ok(f"DELETE {box}/c")
    assert "Box/c" not in owner.listed()
    owner.ok("RENAME Box Moved")
    assert f"other/{owner.local}/Moved" in guest.listed() and box not in guest.listed()


def test_administering_for_another(shared):
    owner, guest, give = shared
    box = give("la")
    guest.refused(f"SELECT {box}")
    assert guest.ok(f"GETACL {box}")[0] == f"* ACL {box} {owner.user} lrswipkxteacd {guest.user} la"
    assert guest.ok(f"LISTRIGHTS {box} anyone")[0] == f'* LISTRIGHTS {box} anyone "" l r s w i p k x t e a c d'
    guest.ok(f"SETACL {box} anyone lr")
    guest.ok(f"SETACL {box} {guest.user} +s")
    guest.refused(f"SETACL {box} {owner.user} lr")
    guest.refused(f"DELETEACL {box} owner")
    assert guest.ok(f"MYRIGHTS {box}")[0].endswith(" lrsa")
    guest.ok(f"DELETEACL {box} anyone")
    assert guest.ok(f"MYRIGHTS {box}")[0].endswith(" lsa")


@pytest.mark.parametrize("given, have", [
    ([("anyone", "lr")], "lr"), ([("authenticated", "lrs")], "lrs"), ([("anyone", "lrs"), ("-{}", "s")], "lr"),
    ([("{}", "lrwt"), ("-anyone", "t")], "lrw"), ([("anyone", "l"), ("{}", "r")], "lr")])
def test_whom_identifiers_mean(people, given, have):
    owner, guest = people
    for identifier, rights in given:
        owner.ok(f"SETACL Box {identifier.format(guest.user)} {rights}")
    answer = guest.ok(f"MYRIGHTS other/{owner.local}/Box")[0].split()[-1]
    assert answer.replace("d", "").replace("c", "") == have
    owner.ok("SETACL Box owner +lr")
    assert owner.ok("MYRIGHTS Box")[0].endswith("lrswipkxteacd")


def test_a_name_without_domain_is_of_the_own(people):
    owner, guest = people
    owner.ok(f"SETACL Box {guest.local.upper()} lr")
    assert guest.user in owner.ok("GETACL Box")[0]
    guest.ok(f"SELECT other/{owner.local}/Box")
    owner.ok(f"DELETEACL Box {guest.local}")
    guest.refused(f"MYRIGHTS other/{owner.local}/Box", "NONEXISTENT")


def test_rights_without_lookup_show_nothing(shared):
    owner, guest, give = shared
    box = give("i")
    assert box not in guest.listed()
    guest.refused(f"SELECT {box}", "NONEXISTENT")
    guest.refused(f"STATUS {box} (MESSAGES)", "NONEXISTENT")
    assert guest.append(box).startswith("a OK")
    assert owner.count("Box") == 3


@pytest.mark.parametrize("command", ["FETCH 1 BODY[]", "FETCH 1 (FLAGS)", "COPY 1 INBOX", "STORE 1 +FLAGS (\\Seen)",
                                     "SEARCH ALL"])
def test_who_loses_the_right_to_read_is_put_out(shared, command):
    owner, guest, give = shared
    box = give("lrs")
    guest.ok(f"SELECT {box}")
    give("l")
    lines = guest.command(command)
    assert not any("Subject:" in line or " FETCH " in line for line in lines), lines
    assert any(line.startswith("* BYE") for line in lines)


@pytest.mark.parametrize("right, commands", [
    ("w", ["STORE 1 +FLAGS (\\Flagged)", "STORE 1 -FLAGS.SILENT ($Work)", "UID STORE 1 +FLAGS (\\Answered $New)"]),
    ("s", ["STORE 1 +FLAGS (\\Seen)", "STORE 2 -FLAGS (\\Seen)"]),
    ("t", ["STORE 1 +FLAGS (\\Deleted)", "MOVE 1 INBOX", "MOVE 1 {box}"]),
    ("e", ["EXPUNGE", "UID EXPUNGE 1", "MOVE 1 INBOX", "MOVE 1 {box}"]),
    ("i", ["COPY 1 {box}", "MOVE 1 {box}", "APPEND {box} {{2+}}\r\n\r\n"]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_right_taken_away_holds_at_once(shared, right, commands):
    """And one that is given: for the next command of who has the mailbox selected."""
    owner, guest, give = shared
    box = give("lrswite")
    guest.ok(f"SELECT {box}")
    for _ in range(5):
        for command in commands:
            give("lrswite".replace(right, ""))
            guest.refused(command.format(box=box))
        give("lrswite")
        guest.ok(commands[0].format(box=box))


def test_who_loses_all_rights_finds_nothing(shared):
    owner, guest, give = shared
    for _ in range(5):
        box = give("lrs")
        assert box in guest.listed()
        give('""')
        assert box not in guest.listed()
        for command in ("SELECT {}", "STATUS {} (MESSAGES)", "MYRIGHTS {}", "APPEND {} {{2+}}\r\n\r\n"):
            guest.refused(command.format(box), "NONEXISTENT" if "APPEND" not in command else "TRYCREATE")


def test_a_message_is_not_marked_without_the_right(shared):
    owner, guest, give = shared
    box = give("lrs")
    guest.ok(f"SELECT {box}")
    give("lrt")
    assert any("Subject:" in line for line in guest.ok("FETCH 1 BODY[]"))
    assert guest.flags(1) == {1: set()}
    give("lrs")
    guest.ok("FETCH 1 BODY[]")
    assert guest.flags(1) == {1: {"\\Seen"}}


def test_news_in_idle(shared):
    owner, guest, give = shared
    box = give("lrs")
    guest.ok(f"SELECT {box}")
    guest.send(b"i IDLE\r\n")
    guest.until("+ ")
    assert owner.append("Box").startswith("a OK")
    guest.until("* 3 EXISTS")
    owner.ok("SELECT Box")
    owner.ok("STORE 1 +FLAGS (\\Flagged)")
    assert "\\Flagged" in guest.until("* 1 FETCH")[-1]
    owner.ok("STORE 1 +FLAGS (\\Deleted)")
    owner.ok("EXPUNGE")
    guest.until("* 1 EXPUNGE")
    guest.send(b"DONE\r\n")
    guest.until("i OK")


def test_news_by_notify(shared):
    owner, guest, give = shared
    box = give("lrs")
    assert box in guest.listed()
    guest.ok(f"NOTIFY SET (MAILBOXES {box} (MessageNew MessageExpunge))")
    assert owner.append("Box").startswith("a OK")
    assert box in guest.until("* STATUS")[-1]


def test_annotations(shared):
    owner, guest, give = shared
    owner.ok('SETMETADATA Box (/private/comment "mine" /shared/comment "ours")')
    box = give("lr")
    assert "ours" in "".join(guest.ok(f"GETMETADATA {box} /shared/comment"))
    assert "mine" not in "".join(guest.ok(f"GETMETADATA {box} (/private/comment /shared/comment)"))
    guest.refused(f'SETMETADATA {box} (/shared/comment "theirs")')
    give("lrw")
    guest.ok(f'SETMETADATA {box} (/shared/comment "theirs")')
    assert guest.command(f'SETMETADATA {box} (/private/comment "x")')[-1].startswith("t NO")
    assert "theirs" in "".join(owner.ok("GETMETADATA Box /shared/comment"))
    assert "mine" in "".join(owner.ok("GETMETADATA Box /private/comment"))


def test_condstore_and_qresync(shared, roost):
    owner, guest, give = shared
    box = give("lrswte")
    guest.ok("ENABLE QRESYNC")
    told = "".join(guest.ok(f"SELECT {box}"))
    validity, modseq = (re.search(rf"\[{w} (\d+)\]", told).group(1) for w in ("UIDVALIDITY", "HIGHESTMODSEQ"))
    guest.ok("STORE 1 +FLAGS (\\Seen)")
    now = re.search(r"MODSEQ \((\d+)\)", "".join(guest.ok("FETCH 2 MODSEQ"))).group(1)
    lines = guest.ok(f"STORE 1:2 (UNCHANGEDSINCE {now}) +FLAGS (\\Flagged)")
    assert "[MODIFIED 1]" in lines[-1], lines
    owner.ok("SELECT Box")
    owner.ok("STORE 2 +FLAGS (\\Deleted)")
    owner.ok("EXPUNGE")
    again = Person(roost, guest.user)
    again.ok("ENABLE QRESYNC")
    lines = again.ok(f"SELECT {box} (QRESYNC ({validity} {modseq} 1:2))")
    assert any("VANISHED (EARLIER) 2" in line for line in lines), lines
    assert any("UID 1" in line and "\\Seen" in line for line in lines), lines
    again.socket.close()


def test_quota_is_the_owners(roost, people):
    owner, guest = people
    roost.ctl("user", "set", owner.user, "--quota", "1M")
    fresh = Person(roost, owner.user)
    fresh.ok(f"SETACL Box {guest.user} lri")
    big = b"Subject: big\r\n\r\n" + b"x" * 78 + b"\r\n"
    big += (b"y" * 78 + b"\r\n") * 14000
    assert guest.append(f"other/{owner.local}/Box", "()", big).startswith("a NO [OVERQUOTA]")
    assert guest.append(f"other/{owner.local}/Box").startswith("a OK")
    fresh.socket.close()


def test_other_domains_only_if_a_setting_allows(make_instance):
    for allowed in ("no", "yes"):
        instance = make_instance(settings={"acl_other_domains": allowed})
        instance.ctl("domain", "add", "elsewhere.test")
        instance.add_user("carol", domain="elsewhere.test")
        owner, guest = Person(instance, "alice@example.test"), Person(instance, "carol@elsewhere.test")
        owner.ok("SETACL INBOX anyone lr")
        owner.ok("SETACL INBOX carol@elsewhere.test lr")
        name = "other/alice@example.test/INBOX"
        if allowed == "yes":
            assert name in guest.listed()
            guest.ok(f"SELECT {name}")
        else:
            assert name not in guest.listed()
            guest.refused(f"SELECT {name}", "NONEXISTENT")


def test_sleeping_over_anothers_mailbox(make_instance):
    instance = make_instance(settings={"imap_hibernate_after": "200ms"})
    owner, guest = Person(instance, "alice@example.test"), Person(instance, "bob@example.test")
    owner.ok("SETACL INBOX bob@example.test lrs")
    guest.ok("SELECT other/alice/INBOX")
    guest.send(b"i IDLE\r\n")
    guest.until("+ ")
    wait_asleep(instance, guest)
    assert owner.append("INBOX").startswith("a OK")
    guest.until("* 1 EXISTS")
    guest.send(b"DONE\r\n")
    guest.until("i OK")
    guest.ok("STORE 1 +FLAGS (\\Seen)")


def test_the_dictionary_is_made_anew(make_instance):
    instance = make_instance()
    owner = Person(instance, "alice@example.test")
    owner.ok("CREATE Box")
    owner.ok("SETACL Box bob@example.test lr")
    owner.socket.close()
    instance.stop()
    files = list(instance.home("alice").parents[1].glob(".roost-shared.json"))
    assert len(files) == 1
    files[0].unlink()
    instance.start()
    guest = Person(instance, "bob@example.test")
    assert "other/alice/Box" in guest.listed()
    guest.ok("SELECT other/alice/Box")


def test_nothing_of_ones_own_is_made_there(roost, user):
    person = Person(roost, user)
    for name in ("other/x/y", "other", "Public/x", "Public"):
        person.refused(f"CREATE {name}")
    person.ok("CREATE Others/x")
    person.ok("CREATE Publications")
    person.socket.close()


def test_roostctl(roost, people):
    owner, guest = people
    name = f"other/{owner.local}/Box"

    def acl(*args, **options):
        return roost.ctl("mailbox", "acl", *args, **options)

    assert acl("list", owner.user, "Box") == []
    assert acl("set", owner.user, "Box", guest.local, "lrd") == [{"identifier": guest.user, "rights": "elrt"}]
    assert guest.ok(f"MYRIGHTS {name}")[0].endswith(" lrted")
    acl("set", owner.user, "Box", f"-{guest.user}", "te")
    assert guest.ok(f"MYRIGHTS {name}")[0].endswith(" lr")
    assert "-" + guest.user in [row["identifier"] for row in acl("list", owner.user, "Box")]
    acl("delete", owner.user, "Box", f"-{guest.user}")
    acl("delete", owner.user, "Box", guest.user)
    guest.refused(f"MYRIGHTS {name}", "NONEXISTENT")
    for bad in (["set", owner.user, "Box", guest.user, "Q"], ["set", owner.user, "Box", guest.user], ["list", owner.user],
                ["give", owner.user, "Box"], ["list", owner.user, "nowhere"], ["list", "nobody@example.test", "Box"]):
        assert acl(*bad, check=False)[0] != 0, bad


def test_public_mailboxes(make_instance):
    instance = make_instance()
    instance.add_user("public")
    instance.ctl("mailbox", "create", "public@example.test", "News")
    instance.ctl("mailbox", "create", "public@example.test", "News/Old")
    instance.ctl("mailbox", "acl", "set", "public@example.test", "News", "anyone", "lrs")
    instance.ctl("mailbox", "acl", "set", "public@example.test", "News", "alice@example.test", "lrswite")
    alice, bob = Person(instance, "alice@example.test"), Person(instance, "bob@example.test")
    assert {name for name in bob.listed() if "Public" in name} == {"Public/News"}
    assert alice.append("Public/News").startswith("a OK")
    assert bob.append("Public/News").startswith("a NO [NOPERM]")
    assert bob.count("Public/News", "UNSEEN") == alice.count("Public/News", "UNSEEN") == 1
    bob.ok("SELECT Public/News")
    bob.ok("FETCH 1 BODY[TEXT]")
    assert bob.count("Public/News", "UNSEEN") == 0 and alice.count("Public/News", "UNSEEN") == 1


def test_groups(make_instance):
    """Who is in a group stands in the directory, and what is given to it is given to him when he next logs in."""
    instance = make_instance(users=("alice", "bob", "carol"))

    def put_into(user, groups):
        instance.ctl("user", "set", f"{user}@example.test", "--acl-groups", groups)

    put_into("bob", "Staff, sales")
    put_into("carol", "staff")
    assert instance.ctl("user", "show", "bob@example.test")["acl_groups"] == "staff,sales"
    alice = Person(instance, "alice@example.test")
    alice.ok("CREATE Box")
    assert alice.append("Box").startswith("a OK")
    alice.ok("SETACL Box $Staff lrswi")
    alice.ok("SETACL Box -$sales w")
    assert alice.ok("GETACL Box")[0].split(" Box ")[1] == "alice@example.test lrswipkxteacd $staff lrswi -$sales w"
    bob, carol = (Person(instance, f"{user}@example.test") for user in ("bob", "carol"))
    assert bob.ok("MYRIGHTS other/alice/Box")[0].endswith(" lrsi") and carol.ok("MYRIGHTS other/alice/Box")[0].endswith(" lrswi")
    assert bob.append("other/alice/Box").startswith("a OK")
    # A right of his own comes on top, and what is taken from one of his groups is taken.
    alice.ok("SETACL Box bob@example.test wt")
    assert bob.ok("MYRIGHTS other/alice/Box")[0].endswith(" lrsitd")
    # Not in the group any more: from his next log-in on.
    put_into("carol", "")
    assert carol.count("other/alice/Box") == 2
    again = Person(instance, "carol@example.test")
    assert not any("alice" in name for name in again.listed())
    again.refused("SELECT other/alice/Box", "NONEXISTENT")
    put_into("carol", "other,staff")
    back = Person(instance, "carol@example.test")
    assert "other/alice/Box" in back.listed() and back.count("other/alice/Box") == 2
    # The owner takes it back, by Dovecot's word for it; that holds at once.
    instance.ctl("mailbox", "acl", "delete", "alice@example.test", "Box", "group=staff")
    wait_until(lambda: back.command("STATUS other/alice/Box (MESSAGES)")[-1].startswith("t NO [NONEXISTENT]"), what="it is taken")
    status, _, message = instance.ctl("user", "set", "bob@example.test", "--acl-groups", "a=b", check=False)
    assert status != 0 and "acl_groups" in message


def test_an_owner_who_is_gone(make_instance):
    instance = make_instance()
    owner, guest = Person(instance, "alice@example.test"), Person(instance, "bob@example.test")
    owner.ok("SETACL INBOX bob@example.test lrs")
    guest.ok("SELECT other/alice/INBOX")
    guest.ok("UNSELECT")
    owner.socket.close()
    guest.socket.close()
    instance.stop()
    shutil.rmtree(instance.home("alice"))
    instance.start()
    again = Person(instance, "bob@example.test")
    assert not any("alice" in name for name in again.listed())
    again.refused("SELECT other/alice/INBOX", "NONEXISTENT")
    assert not instance.home("alice").exists()


def test_mbsync_over_a_shared_mailbox(shared, roost, tmp_path):
    owner, guest, give = shared
    box = give("lrswite")
    (tmp_path / "Mail").mkdir()
    conf = mbsync_conf(roost, tmp_path, guest.user, "IMAPS")
    text = conf.read_text().replace("Far :far:", f"Far :far:{box}").replace("Near :near:", "Near :near:Box")
    conf.write_text(text.replace("Patterns *\n", ""))
    run(tmp_path, "mbsync", "-c", conf, "-a")
    folder = tmp_path / "Mail" / "Box"
    files = sorted(path for sub in ("cur", "new") for path in (folder / sub).iterdir())
    assert len(files) == 2
    files[0].rename(folder / "cur" / (files[0].name.split(":")[0] + ":2,S"))
    (folder / "new" / "1795000000.M1P1.here").write_bytes(b"Subject: from mbsync\n\nx\n")
    owner.ok("SELECT Box")
    owner.ok("STORE 2 +FLAGS (\\Answered)")
    run(tmp_path, "mbsync", "-c", conf, "-a")
    assert owner.count("Box") == 3 and owner.count("Box", "UNSEEN") == 2
    assert guest.count(box, "UNSEEN") == 2
    assert any(path.name.endswith("FR") or "R" in path.name.split(":2,")[-1] for path in (folder / "cur").iterdir())


def test_rights_that_dovecot_wrote(roost, people):
    owner, guest = people
    # Complete when it comes: roost-index watches the Maildir.
    folder = roost.home(owner.local) / "Old"
    made = roost.home(owner.local).stat()
    for path in (folder, folder / "cur", folder / "new", folder / "tmp"):
        path.mkdir()
        os.chown(path, made.st_uid, made.st_gid)
    (folder / "dovecot-acl").write_text(f"user={guest.user} lrs\nuser=eve@example.test lrwstipekxa\n")
    os.chown(folder / "dovecot-acl", made.st_uid, made.st_gid)
    folder = folder.rename(roost.home(owner.local) / "Maildir" / ".Old")
    assert "Old" in owner.listed()
    assert owner.ok("GETACL Old")[0].endswith(f"eve@example.test lrswipkxteacd {guest.user} lrs")
    name = f"other/{owner.local}/Old"
    wait_until(lambda: guest.command(f"MYRIGHTS {name}")[0] == f"* MYRIGHTS {name} lrs", what="the guest to be told")
    owner.ok("SETACL Old eve@example.test lr")
    roost.ctl("export", "--format", "dovecot", owner.user)
    assert sorted((folder / "dovecot-acl").read_text().splitlines()) == [
        "user=eve@example.test lr", f"user={guest.user} lrs"]
