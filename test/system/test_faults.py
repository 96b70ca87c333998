# SPDX-License-Identifier: MIT
"""When parts are missing: database, index, disk, descriptors, patience.

"Temporary" must be said in each protocol's way, nothing accepted may be lost, and all goes on by
itself when the part is back.
"""

import contextlib
import errno
import imaplib
import os
import pwd
import re
import select
import shutil
import signal
import smtplib
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import tls_context
from faults import (ASK, QUICK, TEMPORARY, WORKING, answers, as_expected, ask_pop3, ask_rcpt, assert_temporary,
                    assert_working_again, no_crash, signal_all, without)
from mail_helpers import make_message, subjects
from roost_instance import BUILD, PASSWORD, Postgres, Roost, free_ports, wait_until
from sink import Sink
from test_kill import daemons
from test_proxy import Line


# ---- the database ----


@pytest.fixture
def own_postgres():
    server = Postgres()
    yield server
    with contextlib.suppress(OSError, ValueError):
        signal_all(postgres_processes(server), signal.SIGCONT)
    server.close()


def postgres_processes(server):
    """The server and its backends."""
    parent = int((server.dir / "data" / "postmaster.pid").read_text().split()[0])
    children = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True).stdout.split()
    return [parent, *map(int, children)]


@pytest.fixture
def on_postgres(own_postgres):
    own_postgres.create_database("faults")
    roost = Roost(db="postgresql", dsn=own_postgres.dsn("faults"), settings=QUICK)
    yield roost
    roost.close()


def test_without_postgresql(on_postgres, own_postgres):
    roost = on_postgres
    assert as_expected(answers(roost, "alice@example.test"), WORKING)
    session = imaplib.IMAP4("localhost", roost.ports["imap"], timeout=30)
    session.login("alice@example.test", PASSWORD)
    session.select()
    own_postgres.stop()
    assert_temporary(roost, "alice@example.test")
    assert_temporary(roost, "nobody@example.test")
    status, _, message = roost.ctl("user", "list", check=False)
    assert status == 75, message
    assert session.noop()[0] == "OK", "who is logged in does not need the database"
    own_postgres.start()
    assert_working_again(roost, "alice@example.test", 60)
    assert ask_rcpt("lmtp", "LHLO")(roost, "nobody@example.test").startswith("550")
    no_crash(roost)


def test_a_postgresql_that_hangs(on_postgres, own_postgres):
    roost = on_postgres
    assert as_expected(answers(roost, "alice@example.test"), WORKING)
    pids = postgres_processes(own_postgres)
    signal_all(pids, signal.SIGSTOP)
    try:
        assert_temporary(roost, "alice@example.test")
        assert_temporary(roost, "nobody@example.test")
    finally:
        signal_all(pids, signal.SIGCONT)
    assert_working_again(roost, "alice@example.test", 60)
    no_crash(roost)


def test_mail_waits_while_the_database_is_away(on_postgres, own_postgres):
    """A message of smtpd that has been taken is not bounced because nobody knows the user."""
    roost = on_postgres
    client = smtplib.SMTP("localhost", roost.ports["smtp"], timeout=60)
    client.ehlo("client.example.org")
    client.mail("sender@example.org")
    assert client.rcpt("alice@example.test")[0] == 250
    own_postgres.stop()
    code, text = client.data(b"Subject: taken without a database\r\n\r\nx\r\n")
    own_postgres.start()
    assert code in (250, 451), (code, text)
    assert_working_again(roost, "alice@example.test", 60)
    if code == 250:
        session = imap_session(roost)
        wait_until(lambda: "taken without a database" in subjects(session), 60, what="the message arrives")
    no_crash(roost)


def test_a_locked_sqlite(make_instance):
    roost = make_instance(settings=QUICK)
    lock = sqlite3.connect(roost.state / "db" / "roost.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    # Readers do not wait for somebody who writes; a second writer does, but not for ever.
    assert as_expected(answers(roost, "alice@example.test"), WORKING)
    status, _, message = roost.ctl("user", "password", "bob@example.test", "--password", "x", check=False)
    assert status == 75, message
    lock.rollback()
    lock.close()
    roost.ctl("user", "password", "bob@example.test", "--password", "x")
    assert_working_again(roost, "alice@example.test", 60)
    no_crash(roost)


def test_a_broken_sqlite(make_instance):
    roost = make_instance(settings=QUICK)
    directory = roost.state / "db"
    files = [path.name for path in directory.iterdir()]
    aside = roost.dir / "aside"
    aside.mkdir()
    for name in files:
        (directory / name).rename(aside / name)
    (directory / "roost.db").write_bytes(os.urandom(50000))
    shutil.chown(directory / "roost.db", directory.owner(), directory.group())
    signal_all(daemons(roost, "roost-auth"), signal.SIGKILL)
    wait_until(lambda: "master.child crash daemon=auth" in roost.log())
    assert_temporary(roost, "alice@example.test")
    assert_temporary(roost, "nobody@example.test", ["lmtp", "smtp"])
    for path in directory.iterdir():
        path.unlink()
    for name in files:
        (aside / name).rename(directory / name)
    assert_working_again(roost, "alice@example.test", 60)


# ---- the index ----


def imap_session(roost, user="alice@example.test"):
    client = imaplib.IMAP4("localhost", roost.ports["imap"], timeout=180)
    client.login(user, PASSWORD)
    return client


def lmtp_send(roost, subject, users=("alice@example.test",), size=10):
    """Raises SMTPException when anybody did not get it."""
    message = make_message(to=users[0], subject=subject, body="x" * 60 + "\n" + ("y" * 60 + "\n") * (size // 61))
    with smtplib.LMTP("127.0.0.1", roost.ports["lmtp"]) as client:
        client.ehlo("client.example.org")
        client.mail("sender@example.org")
        replies = [client.rcpt(user) for user in users]
        if all(code == 250 for code, _ in replies):
            # data() of smtplib reads one reply; here each recipient has one.
            code, text = client.data(message.as_bytes())
            replies = [(code, text), *(client.getreply() for _ in users[1:])]
        if any(code != 250 for code, _ in replies):
            raise smtplib.SMTPException(replies)


@pytest.mark.parametrize("how", ["stopped", "missing"])
def test_without_index(make_instance, programs, how):
    roost = make_instance(settings={**QUICK, "program_dir": programs})
    lmtp_send(roost, "before")
    session = imap_session(roost)
    session.select()
    with without(roost, programs, "roost-index", how):
        began = time.monotonic()
        with ThreadPoolExecutor() as pool:
            lmtp = pool.submit(ASK["lmtp"], roost, "bob@example.test")
            submitted = pool.submit(smtp_send, roost, "bob@example.test", "while the index is away")
            login = pool.submit(ASK["imap"], roost, "bob@example.test")
            pop3 = pool.submit(ASK["pop3"], roost, "bob@example.test")
            if how == "missing":
                # What is in the mailbox can be read, nothing can be changed.
                assert subjects(session) == ["before"]
                status, data = session.store("1", "+FLAGS", "\\Flagged")
                assert status == "NO" and b"[UNAVAILABLE]" in data[0], (status, data)
        assert lmtp.result().startswith("451 4"), lmtp.result()
        assert submitted.result() == 250
        assert re.match(TEMPORARY["imap"], login.result()), login.result()
        assert re.match(TEMPORARY["pop3"], pop3.result()), pop3.result()
        print(f"index {how}: {time.monotonic() - began:.1f} s")
    assert_working_again(roost, "alice@example.test", 60)
    # The same session goes on.
    wait_until(lambda: session.store("1", "+FLAGS", "\\Flagged")[0] == "OK", what="STORE works again")
    assert b"\\Flagged" in session.fetch("1", "(FLAGS)")[1][0]
    other = imap_session(roost, "bob@example.test")
    roost.ctl("queue", "flush")
    wait_until(lambda: subjects(other) == ["while the index is away"], 60, what="the queued message arrives")


def smtp_send(roost, user, subject, size=10):
    """The reply's code."""
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=180) as client:
        client.ehlo("client.example.org")
        client.mail("sender@example.org")
        code = client.rcpt(user)[0]
        if code != 250:
            return code
        text = f"From: sender@example.org\r\nSubject: {subject}\r\n\r\n" + ("y" * 60 + "\r\n") * (size // 62)
        return client.data(text.encode())[0]


# ---- a full disk ----


@pytest.fixture
def small_disk():
    """small_disk(bytes, inodes) mounts a file system that is soon full."""
    mounted = []

    def mount(size, inodes=0):
        if os.getuid() != 0:
            pytest.skip("mounting needs root")
        path = Path(tempfile.mkdtemp(prefix="roost-disk-", dir="/tmp"))
        result = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes},mode=755",
                                 "roost-test", path], capture_output=True, text=True)
        if result.returncode:
            path.rmdir()
            pytest.skip(f"mounting is not possible here: {result.stderr.strip()}")
        mounted.append(path)
        owner = pwd.getpwnam("vmail")
        os.chown(path, owner.pw_uid, owner.pw_gid)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)
        path.rmdir()


def fill(directory):
    """Takes all space and all inodes; returns how to give them back."""
    made = []
    with contextlib.suppress(OSError):
        for n in range(100000):
            path = directory / f"filler{n}"
            made.append(path)
            with open(path, "wb", buffering=0) as f:
                while n == 0:
                    try:
                        f.write(b"\0" * 65536)
                    except OSError as e:
                        if e.errno != errno.ENOSPC:
                            raise
                        break
            if n == 0:
                # Not a byte is left, but inodes may be.
                assert shutil.disk_usage(directory).free < 65536

    def give_back():
        for path in made:
            path.unlink(missing_ok=True)

    return give_back


def temporary_refusal(action):
    """An LMTP or SMTP action is refused, for the time being."""
    with pytest.raises(smtplib.SMTPException) as caught:
        action()
    codes = set(re.findall(r"\((\d\d\d), b", str(caught.value))) - {"250"}
    assert codes and codes <= {"451", "452"}, caught.value


def test_a_full_mail_disk(make_instance, small_disk):
    disk = small_disk("24M", 2000)
    roost = make_instance(settings={**QUICK, "mail_dir": disk})
    lmtp_send(roost, "before", size=5000)
    session = imap_session(roost)
    session.select()
    give_back = fill(disk)
    # Of one whose mailbox is open, of one who never had mail, of both, and of one with a new folder.
    temporary_refusal(lambda: lmtp_send(roost, "lost?", size=200000))
    temporary_refusal(lambda: lmtp_send(roost, "lost?", ["bob@example.test"]))
    temporary_refusal(lambda: lmtp_send(roost, "lost?", ["alice@example.test", "bob@example.test"], size=200000))
    temporary_refusal(lambda: lmtp_send(roost, "lost?", ["alice+new@example.test"], size=200000))
    status, data = session.append("INBOX", None, None, b"Subject: appended?\r\n\r\n" + b"x" * 200000)
    assert status == "NO", data
    for command in (lambda: session.create("Folder"), lambda: session.store("1", "+FLAGS", "(\\Seen one two)"),
                    lambda: session.copy("1", "Sent")):
        assert command()[0] in ("OK", "NO")
    assert session.noop()[0] == "OK"
    # The queue has another disk: smtpd takes the message and tries again later.
    assert smtp_send(roost, "alice@example.test", "queued meanwhile", size=200000) == 250
    no_crash(roost)
    give_back()
    assert subjects(session) == ["before"] or "queued meanwhile" in subjects(session)
    lmtp_send(roost, "after", ["alice@example.test", "bob@example.test"], size=200000)
    wait_until(lambda: set(subjects(session)) == {"before", "after", "queued meanwhile"}, 60,
               "the queued message arrives")
    assert session.store("1", "+FLAGS", "(\\Seen three)")[0] == "OK"
    session.logout()
    assert subjects(imap_session(roost, "bob@example.test")) == ["after"]
    # Nothing half-written was left behind where anybody would see it, and the files say the same.
    before = {user: subjects(imap_session(roost, user)) for user in ("alice@example.test", "bob@example.test")}
    roost.stop()
    for user in ("alice", "bob"):
        shutil.rmtree(disk / "example.test" / user / "index")
    roost.start()
    for user, found in before.items():
        assert subjects(imap_session(roost, user)) == found
    no_crash(roost)


def test_mail_while_the_disk_fills_up(make_instance, small_disk):
    """Every step of a delivery meets the full disk once; what got a 250 is there."""
    disk = small_disk("8M", 4000)
    roost = make_instance(settings={**QUICK, "mail_dir": disk})
    accepted, refused = [], 0
    for n in range(400):
        try:
            lmtp_send(roost, f"m{n}", size=(n * 7919) % 60000)
            accepted.append(f"m{n}")
        except smtplib.SMTPException as e:
            assert re.match(r"\[\(45[12], b", str(e)), e
            refused += 1
    assert accepted and refused > 20, (len(accepted), refused)
    session = imap_session(roost)
    assert subjects(session) == accepted
    # Deleting mail on a full disk is the way out, also when its files could not follow their flags.
    assert session.store("1:20", "+FLAGS", "\\Deleted")[0] == "OK"
    maildir = disk / "example.test/alice/Maildir"
    wait_until(lambda: f"index.pending failed maildir={maildir} " in roost.log() or
               len(list(maildir.glob("cur/*T"))) >= 20, 60, "the files follow their flags, or cannot")
    other = imap_session(roost)
    assert subjects(other) == accepted
    assert other.fetch("1:*", "BODY.PEEK[]")[0] == "OK"
    other.logout()
    assert session.expunge()[0] == "OK"
    assert subjects(session) == accepted[20:]
    session.logout()
    no_crash(roost)
    roost.stop()
    shutil.rmtree(disk / "example.test" / "alice" / "index")
    roost.start()
    assert subjects(imap_session(roost)) == accepted[20:]


def test_a_full_queue_disk(make_instance, small_disk):
    disk = small_disk("4M", 200)
    roost = make_instance(settings={**QUICK, "queue_dir": disk, "relayhost": "[127.0.0.1]:9"})
    give_back = fill(disk)

    def relay():
        with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
            client.sendmail("alice@example.test", ["far@elsewhere.test"], b"Subject: x\r\n\r\n" + b"x\r\n" * 100000)

    temporary_refusal(relay)
    temporary_refusal(lambda: submit_small(roost))
    no_crash(roost)
    give_back()
    relay()
    rows = roost.ctl("queue", "list")
    assert len(rows) == 1, rows
    no_crash(roost)


@pytest.mark.parametrize("size,inodes", [("8M", 4000), ("16M", 80)], ids=["no space", "no inodes"])
def test_a_queue_disk_fills_up(make_instance, small_disk, size, inodes):
    """Nothing is lost of what was taken: half is delivered and half comes back, for which there is room again as the
    queue shrinks."""
    port = free_ports(1)[0]
    roost = make_instance(settings={**QUICK, "queue_dir": small_disk(size, inodes), "relayhost": f"[127.0.0.1]:{port}",
                                    "minimal_backoff_time": "1s", "maximal_backoff_time": "2s"})
    accepted, refused = set(), 0
    for n in range(400):
        to = f"{'yes' if n % 2 else 'no'}{n}@elsewhere.test"
        with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
            try:
                client.sendmail("alice@example.test", [to], b"Subject: x\r\n\r\n" + (b"x" * 98 + b"\r\n") * (n * 7919 % 2000))
                accepted.add(to)
            except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as e:
                code = e.smtp_code if isinstance(e, smtplib.SMTPResponseException) else e.recipients[to][0]
                assert 400 <= code < 500, e
                refused += 1
        if refused > 60:
            break
    assert len(accepted) > 10 and refused > 60, (len(accepted), refused)

    def waiting():
        return {to for m in roost.ctl("queue", "list") for to in m["recipients"]}

    assert waiting() == accepted
    roost.stop()
    roost.start()
    wait_until(lambda: waiting() == accepted, what="it is all there after a restart")
    with Sink(port, faults={"rcpt": lambda s: "550 5.1.1 no" if "<no" in s.line else None}) as sink:
        wait_until(lambda: roost.ctl("queue", "list") == [], 120, "the queue is empty")
        arrived = [re.search("<(.*?)>", rcpt).group(1) for m in sink.messages for rcpt in m.rcpts]
    assert sorted(arrived) == sorted(to for to in accepted if to.startswith("yes"))
    session = imap_session(roost)
    session.select()
    _, data = session.fetch("1:*", "(BODY.PEEK[])")
    returned = [re.search(r"Final-Recipient: rfc822; *(\S+)", part[1].decode()).group(1) for part in data
                if isinstance(part, tuple)]
    assert sorted(returned) == sorted(to for to in accepted if to.startswith("no"))
    no_crash(roost)


def submit_small(roost):
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
        client.sendmail("alice@example.test", ["far@elsewhere.test"], b"Subject: x\r\n\r\nx\r\n")


# ---- descriptors used up ----


@pytest.mark.parametrize("program", ["roost-proxy", "roost-auth", "roost-index", "roost-lmtp", "roost-imap",
                                     "roost-smtpd", "roost-pop3", "roost-qmgr"])
def test_no_descriptors_left(make_instance, programs, program):
    (programs / program).unlink()
    limit = 90 if program == "roost-index" else 40  # its threads have some each
    (programs / program).write_text(f"#!/bin/sh\nulimit -n {limit}\nexec {BUILD / program}\n")
    (programs / program).chmod(0o755)
    roost = make_instance(settings={**QUICK, "program_dir": programs})
    assert as_expected(answers(roost, "alice@example.test"), WORKING)
    before = daemons(roost, program)
    held = []
    for _ in range(30):
        for name in ("imap", "pop3", "smtp", "lmtp"):
            with contextlib.suppress(OSError):
                client = Line(roost.ports[name])
                client.send(f'a LOGIN bob@example.test "{PASSWORD}"\r\nb SELECT INBOX\r\n' if name == "imap" else
                            f"USER alice@example.test\r\nPASS {PASSWORD}\r\n" if name == "pop3" else
                            "NOOP\r\n")
                held.append(client)
    # The processor must not be burnt with an accept that cannot succeed.
    spent = sum(map(cpu_seconds, before))
    time.sleep(1)
    spent = sum(map(cpu_seconds, before)) - spent
    assert spent < 0.5, f"{spent} s of processor in one second"
    for client in held:
        client.close()
    assert_working_again(roost, "alice@example.test", 60)
    assert daemons(roost, program) == before
    no_crash(roost)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- reload ----


def test_reload_under_load_drops_nothing(make_instance):
    roost = make_instance(settings=QUICK)
    stopping = threading.Event()
    faults, done = [], []

    def repeat(action):
        while not stopping.is_set():
            try:
                action()
                done.append(action)
            except Exception as e:
                faults.append(repr(e))

    session = imap_session(roost, "bob@example.test")
    session.select()

    def whole_imap_session():
        client = imap_session(roost)
        client.select()
        client.logout()

    def whole_tls_session():
        client = imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost), timeout=60)
        client.login("alice@example.test", PASSWORD)
        client.logout()

    def whole_pop3_session():
        assert ask_pop3(roost, "bob@example.test").startswith(("+OK", "-ERR [IN-USE]"))

    actions = [lambda: lmtp_send(roost, "m"), lambda: session.noop(), whole_imap_session, whole_tls_session,
               whole_pop3_session, lambda: smtp_send(roost, "alice@example.test", "s") == 250 or faults.append("smtp")]
    threads = [threading.Thread(target=repeat, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for n in range(20):
        roost.settings["imap_max_errors"] = 20 + n
        roost.write_conf()
        roost.reload()
    count = roost.log().count("master.reload ok")
    stopping.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert count >= 20
    assert all(action in done for action in actions)
    assert session.noop()[0] == "OK"
    no_crash(roost)


def replace_smtpd(roost, n):
    """Such a setting needs another process."""
    roost.settings["smtpd_hard_error_limit"] = 10 + n
    roost.write_conf()
    roost.reload()


def test_a_reload_that_replaces_smtpd_ends_no_session(make_instance):
    roost = make_instance(settings=QUICK)
    sessions = [smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) for _ in range(2)]
    sessions[1].starttls(context=tls_context(roost))
    old = roost.pids("roost-smtpd")
    for session in sessions:
        session.ehlo()
        assert session.mail("sender@elsewhere.test")[0] == 250
    replace_smtpd(roost, 1)
    wait_until(lambda: "service.retire begin" in roost.log(), what="the old process is told")
    new = wait_until(lambda: [pid for pid in roost.pids("roost-smtpd") if pid not in old])
    assert smtp_send(roost, "alice@example.test", "by the new one") == 250
    for n, session in enumerate(sessions):
        assert session.rcpt("alice@example.test")[0] == 250
        assert session.data(f"Subject: by the old one {n}\r\n\r\n")[0] == 250
    assert set(old) < set(roost.pids("roost-smtpd"))
    for session in sessions:
        session.quit()
    wait_until(lambda: roost.pids("roost-smtpd") == new, what="the old process ends")
    session = imap_session(roost)
    wait_until(lambda: len(subjects(session)) == 3, what="all arrive")
    # One that was replaced and still serves hears of the end, too.
    last = smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60)
    last.ehlo()
    replace_smtpd(roost, 2)
    wait_until(lambda: roost.log().count("service.retire begin") == 2)
    roost.stop()
    assert last.getreply()[0] == 421
    assert "master.child killed" not in roost.log()


def test_smtpd_replaced_under_load_loses_no_client(make_instance):
    roost = make_instance(settings=QUICK)
    stopping = threading.Event()
    faults, done = [], []

    def whole_session(tls):
        with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
            if tls:
                client.starttls(context=tls_context(roost))
            client.ehlo()
            assert client.mail("sender@elsewhere.test")[0] == 250
            assert client.rcpt("alice@example.test")[0] == 250
        done.append(tls)

    def repeat(tls):
        while not stopping.is_set():
            try:
                whole_session(tls)
            except Exception as e:
                faults.append(repr(e))

    threads = [threading.Thread(target=repeat, args=(tls,)) for tls in (False, False, False, True)]
    for thread in threads:
        thread.start()
    for n in range(20):
        count = roost.log().count("service.retire begin")
        replace_smtpd(roost, n)
        wait_until(lambda: roost.log().count("service.retire begin") > count)
    stopping.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert {True, False} == set(done)
    wait_until(lambda: len(roost.pids("roost-smtpd")) == 1, what="those that were replaced end")
    no_crash(roost)


# ---- patience ----


def test_a_client_that_does_not_read_a_large_fetch(make_instance):
    roost = make_instance(settings={**QUICK, "client_write_timeout": "3s"})
    session = imap_session(roost)
    for n in range(3):
        session.append("INBOX", None, None, b"Subject: big\r\n\r\n" + b"0123456789" * 1500000)
    clients = []
    for tls in (False, True):
        client = Line(roost.ports["imaps" if tls else "imap"])
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if tls:
            client.start_tls(tls_context(roost))
        client.line()
        client.send(f'a LOGIN alice@example.test "{PASSWORD}"\r\nb SELECT INBOX\r\n')
        client.until("b OK")
        client.send("c FETCH 1:* BODY.PEEK[]\r\nd NOOP\r\n")
        clients.append(client)
    # The others are served meanwhile.
    began = time.monotonic()
    session.select()
    assert len(session.fetch("1:*", "(BODY.PEEK[])")[1][0][1]) > 15000000
    lmtp_send(roost, "meanwhile")
    assert as_expected(answers(roost, "bob@example.test"), WORKING)
    print(f"others served in {time.monotonic() - began:.1f} s")
    session.logout()
    wait_until(lambda: [s for s in roost.ctl("who") if s["user"] == "alice@example.test"] == [], 30,
               "the sessions that are not read end")
    # The session notices by itself, or the proxy that speaks TLS for it does.
    assert len(re.findall("reason=timeout|proxy.relay stalled", roost.log())) >= 2
    for client in clients:
        client.close()
    no_crash(roost)


def test_a_slow_loris_ends_at_login_timeout(make_instance):
    roost = make_instance(settings={**QUICK, "login_timeout": "2s"})
    starts = {"imap": "a LOGIN ", "pop3": "USER ", "submission": "EHLO ", "imaps": "\x16\x03\x01"}
    began = time.monotonic()
    clients = {name: Line(roost.ports[name]) for name in starts}
    ended = {}
    for name, client in clients.items():
        client.send(starts[name])
        client.sock.settimeout(0.05)
    while len(ended) < len(clients):
        assert time.monotonic() - began < 60, f"only {ended} ended"
        for name, client in clients.items():
            if name in ended:
                continue
            try:
                client.send("x" if name != "imaps" else "\x00")
                if client.sock.recv(4096) == b"":
                    ended[name] = time.monotonic() - began
            except TimeoutError:
                pass
            except OSError:
                ended[name] = time.monotonic() - began
    assert all(seconds > 1 for seconds in ended.values()), ended
    # Commands that are no log-in do not help either.
    began = time.monotonic()
    client = Line(roost.ports["imap"])
    with contextlib.suppress(OSError):
        while client.line() is not None:
            client.send("n NOOP\r\n")
            time.sleep(0.05)
    assert 1 < time.monotonic() - began < 60
    no_crash(roost)


BALANCED = {"proxy_protocol_networks": ["127.0.0.0/8"]}


def send_log_in(roost, address, user, password):
    client = Line(roost.ports["imaps"], tls_context(roost),
                  f"PROXY TCP4 {address} 192.0.2.100 40000 993\r\n".encode())
    client.line()
    client.send(f'a LOGIN {user} "{password}"\r\n')
    return client


def refused_after(roost, address, user, password):
    """Seconds from the log-in to its refusal."""
    began = time.monotonic()
    client = send_log_in(roost, address, user, password)
    assert "AUTHENTICATIONFAILED" in client.until("a ")[-1]
    client.close()
    return time.monotonic() - began


def test_failed_log_ins_are_slowed_down_by_address_and_by_user(make_instance):
    """A loaded machine makes all of it longer, so that nothing is said of how long it takes at most: who is not to wait
    is served while others do."""
    roost = make_instance(settings={**BALANCED, "login_delay_max": "2s"})
    for n in range(2):
        roost.add_user(f"calm{n}")
    doubled = [0.25, 0.5, 1, 2, 2]
    # One address that tries many users.
    times = [refused_after(roost, "203.0.113.5", f"user{n}@example.test", "wrong") for n in range(5)]
    assert all(seconds >= least for seconds, least in zip(times, doubled)), times
    # One user that many addresses try, whether there is such a user or not.
    for user in ("alice@example.test", "nobody@example.test"):
        times = [refused_after(roost, f"203.0.113.{100 + n}", user, f"wrong {n}") for n in range(5)]
        assert all(seconds >= least for seconds, least in zip(times, doubled)), (user, times)
    # Nobody else waits, nor does the right password, even from that address: from now on one more would wait for 8
    # seconds, and another one for 16.
    roost.settings["login_delay_max"] = "60s"
    roost.write_conf()
    roost.reload()
    failed = roost.log().count("auth.login fail")
    waiting = [send_log_in(roost, "203.0.113.5", "alice@example.test", f"still wrong {n}") for n in range(2)]
    wait_until(lambda: roost.log().count("auth.login fail") == failed + 2, what="both are found wrong")
    for address, user in (("203.0.113.77", "calm0@example.test"), ("203.0.113.5", "calm1@example.test"),
                          ("203.0.113.78", "alice@example.test")):
        client = send_log_in(roost, address, user, PASSWORD)
        assert client.until("a ")[-1].startswith("a OK"), (address, user)
        client.close()
    answered = [client for client in waiting if select.select([client.sock], [], [], 0)[0]]
    assert len(answered) < 2, "one of them waits still"
    for client in waiting:
        client.close()
