# SPDX-License-Identifier: MIT
"""Mail that Dovecot or Courier has kept is taken over in place; and Dovecot takes it back."""

import gzip
import hashlib
import imaplib
import os
import poplib
import pwd
import re
import shutil
import sys
from pathlib import Path

import pytest
from roost_instance import PASSWORD, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import servers  # noqa: E402

USER = "mover"
ADDRESS = "mover@example.test"

FOLDERS = ["Sent", "Archive", "Archive.2026", "Archive.2026.Q1", "Gr&APYA3w-e", "Gr&APYA3w-e.&ZeVnLIqe-",
           "A folder with blanks", "Empty", "INBOX.Child"]


@pytest.fixture
def dovecot(monkeypatch):
    if not shutil.which("dovecot"):
        pytest.skip("Dovecot is not installed")
    if os.getuid() != 0:
        pytest.skip("Dovecot has to be started as root")
    (port,) = servers.free_ports(1)
    pop3 = "service pop3-login {{\n  inet_listener pop3 {{\n    port = %d\n  }}\n}}\n" % port
    monkeypatch.setattr(servers, "DOVECOT_CONF",
                        servers.DOVECOT_CONF.replace("protocols = imap", "protocols = pop3 imap") + pop3)
    server = servers.Dovecot()
    server.ports["pop3"] = port
    yield server
    if server.process.poll() is None:
        server.close()


def log_in(server):
    client = imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=30)
    client.login(ADDRESS, servers.PASSWORD)
    return client


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def message(n, size=10):
    return (f"From: a@example.org\r\nSubject: number {n}\r\nMessage-ID: <{n}@example.org>\r\n\r\n"
            + "line of text\r\n" * size).encode()


def quoted(name):
    return f'"{name}"'


def fill(client, separator="."):
    for n, folder in enumerate(FOLDERS):
        ok(client.create(quoted(folder.replace(".", separator))))
        if n % 2 == 0:
            ok(client.subscribe(quoted(folder.replace(".", separator))))
    ok(client.subscribe("INBOX"))
    flags = [None, "(\\Seen)", "(\\Seen \\Flagged $Forwarded)", "(\\Answered own-word)", "(\\Draft)",
             "(\\Deleted \\Seen other)"]
    for box in ["INBOX", *[f for f in FOLDERS if f != "Empty"]]:
        box = box.replace(".", separator)
        for n in range(12):
            date = f'"{n + 1:2}-Mar-20{n + 10} 11:22:{n:02} +0100"'
            ok(client.append(quoted(box), flags[n % len(flags)], date, message(n, n + 1)))
        ok(client.select(quoted(box)))
        # Gaps: in the middle and at the end.
        for uid in (3, 4, 12):
            ok(client.uid("STORE", str(uid), "+FLAGS", "(\\Deleted)"))
            ok(client.uid("EXPUNGE", str(uid)))
        ok(client.uid("STORE", "1", "+FLAGS", "(later)"))
    ok(client.uid("COPY", "1:2", quoted("Empty")))


def folders(client, lsub=False):
    """The names of folders as tuples of levels, in modified UTF-7."""
    found = set()
    for line in ok(client.lsub() if lsub else client.list()):
        if line is None:
            continue
        attributes, separator, name = re.fullmatch(rb'\(([^)]*)\) "(.)" (.+)', line).groups()
        if rb"\NonExistent" in attributes or rb"\Noselect" in attributes:
            continue
        found.add(tuple(name.decode().strip('"').split(separator.decode())))
    return found


def snapshot(client, separator):
    """All that a client can know of a user's mail."""
    found = {}
    for folder in folders(client):
        name = quoted(separator.join(folder))
        status = ok(client.status(name, "(MESSAGES UIDVALIDITY UIDNEXT)"))[0].decode()
        numbers = {key: int(value) for key, value in re.findall(r"([A-Z]+) (\d+)", status.rsplit("(", 1)[1])}
        messages = {}
        ok(client.select(name, readonly=True))
        if numbers["MESSAGES"]:
            data = ok(client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
            for head, body in [d for d in data if isinstance(d, tuple)]:
                tail = data[data.index((head, body)) + 1]
                text = head.decode() + (tail.decode() if isinstance(tail, bytes) else "")
                uid = int(re.search(r"UID (\d+)", text).group(1))
                flags = re.search(r"FLAGS \(([^)]*)\)", text).group(1).split()
                date = imaplib.Internaldate2tuple(text.encode())
                messages[uid] = (frozenset(f for f in flags if f != "\\Recent"), date,
                                 re.search(r"RFC822.SIZE (\d+)", text).group(1),
                                 hashlib.sha256(body).hexdigest())
        assert len(messages) == numbers["MESSAGES"]
        found[folder] = (numbers["UIDVALIDITY"], numbers["UIDNEXT"], messages)
    return found, folders(client, lsub=True)


def assert_same(before, after):
    assert after[1] == before[1]  # subscriptions
    for folder, (uidvalidity, uidnext, messages) in before[0].items():
        assert folder in after[0]
        assert after[0][folder][0] == uidvalidity, folder
        assert after[0][folder][2] == messages, folder
        assert after[0][folder][1] >= uidnext, folder


def hand_over(source, target):
    """A tree moves to another server's home, and belongs to the user that both run as."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
    owner = pwd.getpwnam("vmail")
    for path in [target.parent, target, *target.rglob("*")]:
        os.lchown(path, owner.pw_uid, owner.pw_gid)


def test_from_dovecot_and_back(dovecot, make_instance, imap):
    roost = make_instance()
    client = log_in(dovecot)
    fill(client)
    before = snapshot(client, ".")
    client.logout()
    maildir = dovecot.home(USER) / "Maildir"
    assert (maildir / "subscriptions").read_text().startswith("V\t2")

    roost.add_user(USER)
    hand_over(maildir, roost.home(USER) / "Maildir")
    client = imap(ADDRESS, instance=roost)
    assert_same(before, snapshot(client, "/"))
    client.logout()

    # Roost's own files say the same, without the index.
    roost.stop()
    roost.remove_index(USER)
    roost.start()
    client = imap(ADDRESS, instance=roost)
    adopted = snapshot(client, "/")
    assert_same(before, adopted)

    # A new folder gets a UIDVALIDITY that Dovecot had not given.
    ok(client.create("New"))
    ok(client.subscribe("New"))
    now = snapshot(client, "/")
    assert now[0][("New",)][0] not in {uidvalidity for uidvalidity, _, _ in before[0].values()}

    # Some work in Roost, then back.
    ok(client.append("INBOX", "(\\Seen fresh-word)", '"20-Nov-2026 10:00:00 +0000"', message(100)))
    ok(client.select("INBOX"))
    ok(client.uid("STORE", "5", "-FLAGS", "(\\Seen)"))
    ok(client.uid("STORE", "1", "+FLAGS", "(fresh-word \\Flagged)"))
    ok(client.uid("STORE", "7", "+FLAGS", "(\\Deleted)"))
    ok(client.uid("EXPUNGE", "7"))
    ok(client.uid("COPY", "1:2", "New"))
    ok(client.unsubscribe("Sent"))
    now = snapshot(client, "/")
    done = roost.ctl("export", "--format", "dovecot", ADDRESS)
    assert done == [{"user": ADDRESS, "folders": len(now[0]), "keywords_lost": 0,
                     "messages": sum(len(f[2]) for f in now[0].values())}]
    client.logout()
    roost.stop()

    hand_over(roost.home(USER) / "Maildir", maildir)
    client = log_in(dovecot)
    assert_same(now, snapshot(client, "."))
    ok(client.append("INBOX", None, None, message(101)))
    after = snapshot(client, ".")
    (uid,) = set(after[0][("INBOX",)][2]) - set(now[0][("INBOX",)][2])
    assert uid >= now[0][("INBOX",)][1]
    ok(client.create("Newer"))
    newer = snapshot(client, ".")[0][("Newer",)][0]
    assert newer not in {uidvalidity for uidvalidity, _, _ in now[0].values()}
    client.logout()


def test_export_over_dovecots_old_files(dovecot, make_instance, imap):
    """Dovecot's own index from before is still there and must not mislead it."""
    roost = make_instance()
    client = log_in(dovecot)
    fill(client)
    client.logout()
    maildir = dovecot.home(USER) / "Maildir"
    roost.add_user(USER)
    hand_over(maildir, roost.home(USER) / "Maildir")
    assert list((roost.home(USER) / "Maildir").glob("dovecot.index*"))
    client = imap(ADDRESS, instance=roost)
    ok(client.select("Archive/2026"))
    ok(client.uid("STORE", "1", "+FLAGS", "(one two three)"))
    ok(client.uid("STORE", "5:9", "-FLAGS", "(\\Seen other)"))
    ok(client.uid("MOVE", "2", "Sent"))
    now = snapshot(client, "/")
    client.logout()
    roost.ctl("export", "--format", "dovecot", ADDRESS)
    hand_over(roost.home(USER) / "Maildir", maildir)
    client = log_in(dovecot)
    assert_same(now, snapshot(client, "."))
    client.logout()


def uidls(port, password):
    client = poplib.POP3("127.0.0.1", port, timeout=30)
    client.user(ADDRESS)
    client.pass_(password)
    lines = client.uidl()[1]
    client.quit()
    return lines


def test_pop3_clients_get_nothing_again(dovecot, make_instance):
    """The setting for Dovecot's default; and what its list of UIDs says about single messages."""
    roost = make_instance(settings={"pop3_uidl_format": "%08Xu%08Xv"})
    client = log_in(dovecot)
    fill(client)
    client.logout()
    maildir = dovecot.home(USER) / "Maildir"
    uidlist = (maildir / "dovecot-uidlist").read_text()
    assert "\n5 :" in uidlist
    (maildir / "dovecot-uidlist").write_text(uidlist.replace("\n5 :", "\n5 Pfrom-elsewhere.5 :"))
    before = uidls(dovecot.ports["pop3"], servers.PASSWORD)
    assert len(before) == 9 and b"3 from-elsewhere.5" in before
    roost.add_user(USER)
    hand_over(maildir, roost.home(USER) / "Maildir")
    assert uidls(roost.ports["pop3"], PASSWORD) == before
    roost.ctl("export", "--format", "dovecot", ADDRESS)
    hand_over(roost.home(USER) / "Maildir", maildir)
    assert uidls(dovecot.ports["pop3"], servers.PASSWORD) == before


def test_pop3_ids_by_file_name(dovecot, make_instance):
    """Dovecot's %f, which is the file's name without the flags."""
    roost = make_instance(settings={"pop3_uidl_format": "%f"})
    client = log_in(dovecot)
    fill(client)
    client.logout()
    maildir = dovecot.home(USER) / "Maildir"
    names = sorted(path.name.split(":")[0] for sub in ("new", "cur") for path in (maildir / sub).iterdir())
    assert len(names) == 9 and all(",S=" in name and ",W=" in name for name in names)
    roost.add_user(USER)
    hand_over(maildir, roost.home(USER) / "Maildir")
    first = uidls(roost.ports["pop3"], PASSWORD)
    assert sorted(line.split(b" ")[1].decode() for line in first) == names
    # Another name without sizes gets them, in the file and before that in the id.
    own_mail = roost.home(USER) / "Maildir" / "new" / "1700000009.M1P1.other"
    write(own_mail, "Subject: x\n\nx\n")
    own(roost.home(USER))
    assert uidls(roost.ports["pop3"], PASSWORD) == [*first, b"10 1700000009.M1P1.other,S=14,W=17"]


def write(path, text, mtime=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if mtime:
        os.utime(path, (mtime, mtime))


def own(home):
    if os.getuid() == 0:
        owner = pwd.getpwnam("vmail")
        for path in [home, *home.rglob("*")]:
            os.lchown(path, owner.pw_uid, owner.pw_gid)


def flags_by_uid(client, name):
    ok(client.select(name, readonly=True))
    data = ok(client.uid("FETCH", "1:*", "(FLAGS)"))
    return {int(re.search(rb"UID (\d+)", d).group(1)):
            set(re.search(rb"FLAGS \(([^)]*)\)", d).group(1).decode().split()) - {"\\Recent"} for d in data if d}


def test_from_courier(make_instance, imap):
    roost = make_instance()
    roost.add_user(USER)
    maildir = roost.home(USER) / "Maildir"
    text = message(1).replace(b"\r\n", b"\n")
    a, b, c = (f"170000000{n}.M{n}P77V0000000000000801I00000000000000{n}_0.mail,S={len(text)}" for n in (1, 2, 3))
    write(maildir / "cur" / f"{a}:2,S", text, 1600000001)
    write(maildir / "cur" / f"{b}:2,FS", text, 1600000002)
    write(maildir / "new" / c, text, 1600000003)
    write(maildir / "courierimapuiddb", f"1 1130000000 20\n7 {a}\n15 {b}\n")
    write(maildir / "courierimapkeywords" / ":list", f"$Forwarded\nown-word\n\n{a}:0 1\n")
    write(maildir / "courierimapkeywords" / b, "own-word\n")
    write(maildir / "courierimapsubscribed", "INBOX\nINBOX.Sent\nINBOX.Sent.Old\nINBOX.Entwürfe.Straße\n")
    write(maildir / "maildirsize", f"10000000S\n{3 * len(text)} 3\n")
    for folder in (".Sent", ".Sent.Old", ".Entwürfe", ".Entwürfe.Straße"):
        write(maildir / folder / "maildirfolder", "")
        for sub in ("cur", "new", "tmp"):
            (maildir / folder / sub).mkdir(parents=True, exist_ok=True)
    write(maildir / ".Sent" / "cur" / f"{c}:2,S", text)
    write(maildir / ".Sent" / "courierimapuiddb", f"1 1130000055 4\n3 {c}\n")
    write(maildir / ".Entwürfe.Straße" / "cur" / f"{c}:2,S", text)
    write(maildir / ".Entwürfe.Straße" / "courierimapuiddb", f"1 1130000066 9\n8 {c}\n")
    (maildir / "tmp").mkdir()
    own(roost.home(USER))
    client = imap(ADDRESS, instance=roost)
    assert flags_by_uid(client, "INBOX") == {7: {"\\Seen", "$Forwarded", "own-word"},
                                             15: {"\\Seen", "\\Flagged", "own-word"}, 20: set()}
    assert flags_by_uid(client, "Sent") == {3: {"\\Seen"}}
    found, subscribed = snapshot(client, "/")
    assert found[("INBOX",)][0] == 1130000000 and found[("Sent",)][0] == 1130000055
    # Courier writes names in UTF-8 since its version 5; every other program in modified UTF-7.
    deep = ("Entw&APw-rfe", "Stra&AN8-e")
    assert found[deep][0] == 1130000066 and set(found[deep][2]) == {8}
    assert (maildir / ".Entw&APw-rfe.Stra&AN8-e").is_dir() and not (maildir / ".Entwürfe").exists()
    assert subscribed == {("INBOX",), ("Sent",), ("Sent", "Old"), deep}


def test_damaged_lists(make_instance, imap):
    """What can be read is kept; the others get new UIDs above; the log says so."""
    roost = make_instance()
    roost.add_user(USER)
    maildir = roost.home(USER) / "Maildir"
    text = message(1).replace(b"\r\n", b"\n")
    for n in (1, 2, 3):
        write(maildir / "cur" / f"170000000{n}.M{n}.mail:2,S", text)
    write(maildir / "dovecot-uidlist",
          b"3 V1234567 N3\n5 :1700000001.M1.mail\n\xff\x00rubbish\n90 :\n8 :1700000003.M3.ma")
    write(maildir / ".Compressed" / "cur" / f"1700000001.M1.mail,S={len(text)}:2,S", gzip.compress(text))
    write(maildir / ".Compressed" / "cur" / "1700000002.M2.mail:2,S", gzip.compress(text))
    write(maildir / ".Compressed" / "dovecot-uidlist",
          f"1 1234568 9\n4 1700000001.M1.mail,S={len(text)}\n6 1700000002.M2.mail\n")
    write(maildir / ".Bad" / "cur" / "1700000001.M1.mail:2,S", text)
    (maildir / "secret").write_text("3 V1 N9\n5 :1700000001.M1.mail\n")
    os.symlink("../secret", maildir / ".Bad" / "dovecot-uidlist")
    for folder in (maildir, maildir / ".Compressed", maildir / ".Bad"):
        for sub in ("cur", "new", "tmp"):
            (folder / sub).mkdir(exist_ok=True)
    own(roost.home(USER))
    client = imap(ADDRESS, instance=roost)
    found = snapshot(client, "/")[0]
    assert found[("INBOX",)][0] == 1234567
    assert set(found[("INBOX",)][2]) == {5, 91, 92}
    assert set(found[("Compressed",)][2]) == {4, 6}
    bodies = {m[3] for m in found[("Compressed",)][2].values()}
    assert bodies == {hashlib.sha256(message(1)).hexdigest()}
    assert found[("Bad",)][0] != 1
    assert len(list((maildir / ".Compressed" / "cur").glob(f"*,S={len(text)},*"))) == 2
    wait_until(lambda: "index.adopt ok" in roost.log() and "bad=3" in roost.log(), what="the log says it")
