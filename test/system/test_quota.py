# SPDX-License-Identifier: MIT
"""Quota: what fits, what does not, and what others read of it."""

import imaplib
import smtplib
import sqlite3
import subprocess
import threading

import pytest
from conftest import tls_context
from mail_helpers import deliver, make_message, subjects
from roost_instance import PASSWORD, wait_until


def numbers(answer, root="User quota"):
    """(bytes, limit, messages, limit) of one root."""
    rows = {r["resource"]: r for r in answer["roots"] if r["root"] == root}
    return tuple(rows[name][key] for name in ("STORAGE", "MESSAGE") for key in ("usage", "limit"))


def log_in(roost, address):
    client = imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost))
    client.login(address, PASSWORD)
    return client


# 100 bytes with LF line ends.
HUNDRED = b"Subject: a hundred bytes\r\n\r\n" + b"x" * 73 + b"\r\n"


def append(client, folder="INBOX", message=HUNDRED):
    status, data = client.append(folder, None, None, message)
    return status, data[0]


def test_twenty_clients_at_the_limit(roost, user):
    """Never a byte over, never one short."""
    roost.ctl("quota", "set", user, "--storage", 100 * 150)
    stored = []

    def fill():
        client = log_in(roost, user)
        while True:
            status, text = append(client)
            if status != "OK":
                assert text.startswith(b"[OVERQUOTA]"), text
                break
            stored.append(1)
        client.logout()

    threads = [threading.Thread(target=fill) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored) == 150
    assert numbers(roost.ctl("quota", "get", user)) == (15000, 15000, 150, None)


def test_get_set_recalc(roost, imap):
    user = roost.add_user("limits")
    assert numbers(roost.ctl("quota", "get", user)) == (0, None, 0, None)
    client = imap(user)
    assert append(client)[0] == "OK"
    answer = roost.ctl("quota", "set", user, "--storage", "300", "--messages", "10", "--rules",
                       "Trash:+100;Junk:ignore;Archive:max=200")
    assert numbers(answer) == (100, 300, 1, 10)
    assert answer["rules"].endswith("Trash:+100;Junk:ignore;Archive:max=200")
    assert numbers(answer, "Mailbox quota: Archive") == (0, 200, 0, None)
    # The session that was there before has to keep to it.
    assert [append(client)[0] for _ in range(3)] == ["OK", "OK", "NO"]
    assert append(client, "Trash")[0] == "OK"
    assert append(client, "Trash")[1].startswith(b"[OVERQUOTA]")
    assert [append(client, "Junk")[0] for _ in range(5)] == ["OK"] * 5
    client.select("INBOX")
    assert client._command_complete("MOVE", client._command("MOVE", b"1:3", b"Archive"))[0] == "NO"
    assert client._command_complete("MOVE", client._command("MOVE", b"1:2", b"Archive"))[0] == "OK"
    shown = roost.ctl("user", "show", user)
    assert (shown["quota_bytes"], shown["quota_messages"]) == (300, 10)
    assert shown["quota_rules"] == "Trash:+100;Junk:ignore;Archive:max=200"
    maildir = roost.home("limits") / "Maildir"
    wait_until(lambda: (maildir / "maildirsize").exists(), what="maildirsize is there")
    for path in (maildir / ".Archive" / "new").iterdir():
        path.unlink()
    (maildir / "maildirsize").write_text("1S\n99 99\n")
    assert numbers(roost.ctl("quota", "recalc", user)) == (200, 300, 2, 10)
    assert (maildir / "maildirsize").read_text() == "300S,10C\n200 2\n"
    # Nothing but what was given changes; "default" is what the settings say.
    roost.ctl("quota", "set", user, "--messages", "default", "--rules", "")
    assert numbers(roost.ctl("quota", "get", user)) == (700, 300, 7, None)
    assert roost.ctl("user", "show", user)["quota_rules"] == ""


def test_mistakes(roost, user):
    for args in (["--storage", "x"], ["--messages", "1M"], [], ["--rules", "Trash:100M"]):
        status, _, message = roost.ctl("quota", "set", user, *args, check=False)
        assert status not in (0, 75) and message, args
    assert roost.ctl("quota", "get", "nobody@example.test", check=False)[0] != 0


def test_pop3_deletes_make_room(roost, lmtp, pop3, user):
    deliver(lmtp, user, body="x\n" * 1000)
    used = numbers(roost.ctl("quota", "get", user))[0]
    assert used > 2000
    roost.ctl("quota", "set", user, "--storage", used + 10)
    with pytest.raises(smtplib.SMTPException):
        deliver(lmtp, user)
    client = pop3(user)
    client.dele(1)
    client.quit()
    assert numbers(roost.ctl("quota", "get", user)) == (0, used + 10, 0, None)
    deliver(lmtp, user)


def lmtp_replies(roost, recipients, message, size=None):
    client = smtplib.LMTP("127.0.0.1", roost.ports["lmtp"])
    client.ehlo_or_helo_if_needed()
    client.mail("sender@example.org", [f"size={size}"] if size else [])
    replies = [client.rcpt(r) for r in recipients]
    if any(code == 250 for code, _ in replies):
        client.putcmd("data")
        assert client.getreply()[0] == 354
        client.send(message + b"\r\n.\r\n")
        replies += [client.getreply() for code, _ in replies if code == 250]
    client.quit()
    return [(code, text.decode()) for code, text in replies]


def test_lmtp_replies(make_instance):
    roost = make_instance(settings={"quota_rules": ["Junk:ignore"], "default_quota": "5K",
                                    "default_quota_messages": "3"})
    big = make_message(body="y\n" * 10000).as_bytes()
    assert lmtp_replies(roost, ["alice@example.test"], big, 30000)[0][0] == 552
    # Not said at RCPT, it is said at the end.
    accepted, refused = lmtp_replies(roost, ["alice@example.test"], big)
    assert accepted[0] == 250 and refused[0] == 552 and refused[1].startswith("5.2.2")
    assert lmtp_replies(roost, ["alice+junk@example.test"], big, 30000)[1][0] == 250
    for _ in range(3):
        assert lmtp_replies(roost, ["alice@example.test"], b"Subject: x\r\n\r\n")[1][0] == 250
    assert lmtp_replies(roost, ["alice@example.test"], b"")[0][0] == 552
    assert numbers(roost.ctl("quota", "get", "alice@example.test"))[1:] == (5 << 10, 3, 3)
    # One full mailbox does not keep the others from theirs.
    assert [c for c, _ in lmtp_replies(roost, ["alice@example.test", "bob@example.test"], b"S: x\r\n")] == [
        552, 250, 250]
    roost.settings["quota_full_tempfail"] = "yes"
    roost.write_conf()
    roost.reload()
    wait_until(lambda: lmtp_replies(roost, ["alice@example.test"], b"")[0][0] == 452, what="4xx")
    assert lmtp_replies(roost, ["alice@example.test"], b"")[0][1].startswith("4.2.2")
    accepted, deferred = lmtp_replies(roost, ["bob@example.test"], big)
    assert accepted[0] == 250 and deferred[0] == 452
    # A rule that nobody can read is not taken over.
    roost.settings["quota_rules"] = ["Junk:whatever"]
    roost.write_conf()
    status, _, message = roost.ctl("reload", check=False)
    assert status != 0 and "quota_rules" in message


FIRST_VERSION = ("DROP TABLE quota; CREATE TABLE quota (domain TEXT NOT NULL, local TEXT NOT NULL,"
                 " bytes BIGINT NOT NULL DEFAULT 0, messages BIGINT NOT NULL DEFAULT 0,"
                 " changed BIGINT NOT NULL DEFAULT 0, PRIMARY KEY (domain, local));"
                 " ALTER TABLE mailbox DROP COLUMN protocols; ALTER TABLE mailbox DROP COLUMN networks;"
                 " ALTER TABLE mailbox DROP COLUMN max_connections; ALTER TABLE mailbox DROP COLUMN max_connections_per_ip;"
                 " ALTER TABLE mailbox DROP COLUMN host; ALTER TABLE mailbox DROP COLUMN acl_groups; ALTER TABLE mailbox DROP COLUMN last_login_ip; ALTER TABLE mailbox DROP COLUMN last_login_protocol;"
                 " ALTER TABLE app_password DROP COLUMN last_used_ip; ALTER TABLE app_password DROP COLUMN last_used_protocol;"
                 " UPDATE schema_version SET version = 1")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_directory_of_the_first_version(make_instance, kind):
    roost = make_instance(kind)
    roost.stop()
    if kind == "sqlite":
        db = sqlite3.connect(roost.state / "db" / "roost.db")
        db.executescript(FIRST_VERSION)
        db.close()
    else:
        subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-c",
                        "DROP FUNCTION roost_directory_changed CASCADE; " + FIRST_VERSION,
                        roost.settings["postgresql"]], check=True)
    roost.start()
    roost.ctl("quota", "set", "alice@example.test", "--rules", "Junk:ignore")
    assert roost.ctl("quota", "get", "alice@example.test")["rules"] == "Junk:ignore"
    assert subjects(log_in(roost, "alice@example.test")) == []


def warnings(client):
    return [s for s in subjects(client) if "full" in s or "voll" in s]


def test_warnings(make_instance, tmp_path):
    template = tmp_path / "template"
    template.write_text("From: Postmeister <postmaster@%{domain}>\nSubject: %{percent} Prozent voll, %{other}\n\n"
                        "%{user}: %{used} von %{limit}\n")
    roost = make_instance(settings={"quota_warning": ["80%", "95%", "messages=50%"]})
    alice = "alice@example.test"
    roost.ctl("quota", "set", alice, "--storage", 100 << 10)
    client = log_in(roost, alice)
    block = b"Subject: block\r\n\r\n" + (b"x" * 98 + b"\r\n") * 103  # 10,213 bytes of 102,400

    def wait_for(n):
        wait_until(lambda: len(warnings(client)) >= n, what=f"{n} warnings")
        assert len(warnings(client)) == n

    for _ in range(8):
        assert append(client, "Sent", block)[0] == "OK"
    assert warnings(client) == []
    append(client, "Sent", block)
    wait_for(1)
    assert warnings(client) == ["Your mailbox is 80% full"]
    client.select("INBOX")
    text = client.fetch("1", "(BODY.PEEK[])")[1][0][1].decode()
    assert "The mailbox alice@example.test holds 89.7 KB of 100.0 KB." in text
    assert "To: alice@example.test\r\n" in text and "Auto-Submitted: auto-generated\r\n" in text
    # Once only, even after a restart, until it was below it in between.
    append(client, "Sent")
    client.logout()
    roost.stop()
    roost.settings["quota_warning_template"] = template
    roost.write_conf()
    roost.start()
    client = log_in(roost, alice)
    append(client, "Sent")
    assert len(warnings(client)) == 1
    client.select("Sent")
    client.store("1:3", "+FLAGS", "\\Deleted")
    client.expunge()
    for _ in range(2):
        append(client, "Sent", block)
    wait_for(2)
    assert warnings(client)[1] == "80 Prozent voll, %{other}"
    # The last one finds its way into a mailbox that is full.
    append(client, "Sent", block)
    room = roost.ctl("quota", "get", alice)["roots"][0]
    room = room["limit"] - room["usage"]
    assert append(client, "Sent", b"Subject: rest\r\n\r\n" + b"y" * (room - 15))[0] == "OK"
    wait_for(3)
    assert warnings(client)[2].startswith("95 Prozent")
    usage = {r["resource"]: r for r in roost.ctl("quota", "get", alice)["roots"]}["STORAGE"]
    assert usage["usage"] > usage["limit"]
    # Messages; by LMTP too. New limits by themselves warn nobody.
    bob = "bob@example.test"
    roost.ctl("quota", "set", bob, "--messages", 4)
    client = log_in(roost, bob)
    for _ in range(2):
        assert lmtp_replies(roost, [bob], b"Subject: x\r\n\r\n")[1][0] == 250
    wait_for(1)
    client.select("INBOX")
    assert b"bob@example.test: 2 messages von 4 messages" in client.fetch("3", "(BODY.PEEK[])")[1][0][1]
    assert roost.log().count("index.quota warning") == 4
    for bad in ("no header\n", "Subject: x\n\nno sender\n"):
        template.write_text(bad)
        status, _, message = roost.ctl("reload", check=False)
        assert status != 0 and "quota_warning_template" in message


def test_bad_thresholds(make_instance):
    roost = make_instance()
    for bad in ("95", "0%", "101%", "disk=5%"):
        roost.settings["quota_warning"] = [bad]
        roost.write_conf()
        status, _, message = roost.ctl("reload", check=False)
        assert status != 0 and "quota_warning" in message
