# SPDX-License-Identifier: MIT
"""The administrator's work: roostctl, the configuration, reload, stop."""

import imaplib
import os
import smtplib
import subprocess

import pytest
from conftest import tls_context
from mail_helpers import deliver, subjects
from roost_instance import BUILD, PASSWORD, wait_until


def test_users_and_domains(roost):
    roost.ctl("domain", "add", "second.test")
    roost.add_user("carol", domain="second.test", quota="1M", name="Carol")
    users = roost.ctl("user", "list", "second.test")
    assert [u["address"] for u in users] == ["carol@second.test"]
    shown = roost.ctl("user", "show", "carol@second.test")
    assert shown["quota_bytes"] == 1 << 20
    roost.ctl("user", "set", "carol@second.test", "--active", "no")
    with pytest.raises(imaplib.IMAP4.error):
        imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost)).login(
            "carol@second.test", PASSWORD)
    status, _, message = roost.ctl("domain", "remove", "second.test", check=False)
    assert status != 0 and "second.test" in message
    roost.ctl("user", "remove", "carol@second.test")
    roost.ctl("domain", "remove", "second.test")
    assert "second.test" not in [d["domain"] for d in roost.ctl("domain", "list")]


def test_mistakes_are_explained(roost):
    for args, word in ((["user", "add", "nodomain"], "nodomain"), (["user", "show", "no@example.test"], "no@"),
                       (["domain", "add", "a b"], "a b"), (["user", "add", "x@unknown.test"], "unknown.test"),
                       (["mailbox", "list", "alice"], "name@domain"),
                       (["fsck", "alice"], "name@domain"), (["quota", "get", "alice"], "name@domain"),
                       (["import", "mbox", "alice", "/dev/null"], "name@domain"),
                       (["mailbox", "create", "alice@example.test", "a/../b"], '"a/../b"'),
                       (["mailbox", "rename", "alice@example.test", "Archive", "Trash"], '"Trash"'),
                       (["mailbox", "rename", "alice@example.test", "Nowhere", "There"], '"Nowhere"'),
                       (["mailbox", "delete", "alice@example.test", "INBOX"], "always exists"),
                       (["import", "mbox", "no@example.test", "/dev/null"], "no such user")):
        status, _, message = roost.ctl(*args, check=False, stdin="pw\n")
        assert status not in (0, 75) and word in message, (args, status, message)
    assert roost.ctl("user", "fly", check=False)[0] == 64
    result = subprocess.run([BUILD / "roostctl", "--help"], capture_output=True, text=True)
    assert result.returncode == 0 and "user add" in result.stdout
    # Of one noun or one verb, wherever the configuration is; and what there is not is said.
    for words, has, has_not in ((["import"], "import mbox USER", "user add"), (["fsck"], "fsck [--repair]", "user add"),
                                (["mailbox", "undelete"], "mailbox undelete USER", "mailbox purge")):
        result = subprocess.run([BUILD / "roostctl", "-c", "/nonexistent", *words, "--help"], capture_output=True,
                                text=True)
        assert (result.returncode, result.stderr) == (0, ""), result
        assert has in result.stdout and has_not not in result.stdout, result.stdout
    assert subprocess.run([BUILD / "roostctl", "fly", "--help"], capture_output=True).returncode == 64


def test_a_new_password_works_and_the_old_one_fails_at_once(roost, user, imap):
    imap(user)
    imap(user)
    roost.ctl("user", "password", user, "--password", "another pw")
    imap(user, "another pw")
    with pytest.raises(imaplib.IMAP4.error):
        imap(user, PASSWORD)


def test_who_and_kick(roost, user, imap):
    client = imap(user)
    client.select()
    mine = wait_until(lambda: [s for s in roost.ctl("who") if s["user"] == user], what="who shows the session")
    assert mine[0]["protocol"] == "imaps" and mine[0]["tls"]
    assert roost.ctl("kick", user)["kicked"] == 1
    with pytest.raises(imaplib.IMAP4.abort):
        for _ in range(2):
            client.noop()
            client.readline()
    wait_until(lambda: not [s for s in roost.ctl("who") if s["user"] == user], what="the session is gone")


def test_status_names_every_service(roost):
    services = {s["service"]: s for s in roost.ctl("status")}
    for name in ("auth", "index", "imap", "idle", "pop3", "lmtp", "smtpd", "qmgr", "master"):
        assert services[name]["state"] == "running", services


def test_mailboxes(roost, user, lmtp):
    deliver(lmtp, user)
    roost.ctl("mailbox", "create", user, "Projects/Ünïcode")
    rows = {m["name"]: m for m in roost.ctl("mailbox", "list", user)}
    assert rows["INBOX"]["messages"] == 1
    assert "Projects/Ünïcode" in rows
    roost.ctl("mailbox", "rename", user, "Projects", "Done")
    roost.ctl("mailbox", "delete", user, "Done/Ünïcode")
    assert "Done/Ünïcode" not in [m["name"] for m in roost.ctl("mailbox", "list", user)]


def test_reload_keeps_sessions(make_instance, imap):
    instance = make_instance()
    client = imap("alice@example.test", instance=instance)
    client.select()
    instance.settings["imap_max_errors"] = 3
    instance.write_conf()
    instance.reload()
    assert client.noop()[0] == "OK"
    assert imap("alice@example.test", instance=instance).select()[0] == "OK"


def test_a_reload_with_mistakes_changes_nothing(make_instance, imap):
    instance = make_instance()
    good = instance.conf.read_text()
    instance.conf.write_text(good + "imap_max_erors = 3\n")
    status, _, message = instance.ctl("status", check=False)
    assert status == 78 and "did you mean 'imap_max_errors'" in message
    os.kill(instance.process.pid, 1)
    wait_until(lambda: "imap_max_errors" in instance.log(), what="the log names the mistake")
    assert imap("alice@example.test", instance=instance).select()[0] == "OK"


def test_a_reload_does_not_stop_what_cannot_start_again(make_instance):
    """What only the daemons can tell: tables, restrictions, files that they read."""
    instance = make_instance()
    smtpd = instance.pids("roost-smtpd")
    instance.settings["smtpd_recipient_restrictions"] = ["permit_mynetworks", "reject_bogus"]
    instance.settings["transport_maps"] = ["file:/nonexistent/transport"]
    instance.settings["srs_domain"] = "srs.example.test"
    instance.write_conf()
    status, _, message = instance.ctl("reload", check=False)
    assert status != 0
    for text in ("'reject_bogus' is no restriction", "/nonexistent/transport", "srs_domain needs srs_secrets"):
        assert text in message, message
    checked = subprocess.run([BUILD / "roost", "-c", instance.conf, "--check"], capture_output=True, text=True)
    assert checked.returncode == 78 and "'reject_bogus' is no restriction" in checked.stderr
    assert instance.pids("roost-smtpd") == smtpd
    with smtplib.SMTP("127.0.0.1", instance.ports["smtp"]) as client:
        assert client.ehlo()[0] == 250


def test_check_tells_all_mistakes(tmp_path):
    conf = tmp_path / "roost.conf"
    conf.write_text("hostnam = x\nlogin_timeout = soon\nmax_line = 1\n")
    result = subprocess.run([BUILD / "roost", "-c", conf, "--check"], capture_output=True, text=True)
    assert result.returncode == 78
    for text in (f"{conf}:1: setting 'hostnam'", f"{conf}:2: setting 'login_timeout'", f"{conf}:3: setting 'max_line'"):
        assert text in result.stderr
    conf.write_text(f"program_dir = {BUILD}\n")
    result = subprocess.run([BUILD / "roost", "-c", conf, "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_second_start_on_the_same_state_is_refused(make_instance):
    instance = make_instance()
    result = subprocess.run([BUILD / "roost", "-c", instance.conf], capture_output=True, text=True, timeout=30)
    assert result.returncode != 0 and "running" in result.stderr.lower()
    assert instance.ctl("status")


def test_stop_ends_every_process(make_instance):
    instance = make_instance()
    pid = instance.process.pid
    instance.ctl("stop")
    instance.process.wait(30)
    assert instance.process.returncode == 0
    assert not instance.ready_path.exists()
    left = subprocess.run(["pgrep", "-s", str(pid)], capture_output=True, text=True).stdout
    assert left == ""
    instance.process = None


def test_mail_survives_a_restart(make_instance, imap):
    import smtplib

    instance = make_instance()
    deliver(lambda: smtplib.LMTP("127.0.0.1", instance.ports["lmtp"]), "alice@example.test", subject="kept")
    instance.stop()
    instance.start()
    assert subjects(imap("alice@example.test", instance=instance)) == ["kept"]
