# SPDX-License-Identifier: MIT
"""URLs that carry their own authorization (RFC 4467, RFC 5092): who made one lets others have what it is of, and nothing
else, for as long as he likes."""

import re
import stat
import subprocess
import time
from urllib.parse import quote

from imap_urls import BODY, MESSAGE, PART, Person, keys_of, other, owner, person  # noqa: F401
from roost_instance import BUILD, wait_until
from test_sleep import wait_asleep


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
