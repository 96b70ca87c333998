# SPDX-License-Identifier: MIT
"""How many recipients a user may send to: in an hour and a day, counted over restarts and between sessions."""

import contextlib
import http.client
import os
import shutil
import signal
import smtplib
import ssl
import subprocess
import threading

import pytest
from mail_helpers import instance_imap, make_message, subjects, wait_for_subject  # noqa: F401
from roost_instance import PASSWORD, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


@contextlib.contextmanager
def logged_in(roost, user=ALICE):
    context = ssl.create_default_context(cafile=str(roost.tls_cert))
    with smtplib.SMTP_SSL("localhost", roost.ports["submissions"], context=context, timeout=120) as client:
        client.login(user, PASSWORD)
        yield client


def send(roost, to=(BOB,), sender=ALICE, subject=None):
    """None, or the reply that refused it."""
    with logged_in(roost, sender) as client:
        try:
            refused = client.sendmail(sender, list(to), make_message(sender, to[0], subject).as_string())
            return next(iter(refused.values()), None)
        except smtplib.SMTPRecipientsRefused as e:
            return next(iter(e.recipients.values()))
        except smtplib.SMTPResponseException as e:
            return e.smtp_code, e.smtp_error


def use_of(roost, user=ALICE):
    rows = roost.ctl("limit", "list", user)
    return (rows[0]["hour"], rows[0]["day"], rows[0]["over"]) if rows else (0, 0, 0)


def counted(roost, action):
    connection = http.client.HTTPConnection("127.0.0.1", roost.ports["metrics"], timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(int(line.split()[-1]) for line in text.splitlines()
               if line.startswith(f'roost_submission_limited_total{{action="{action}"}}'))


def limited(make_instance, **settings):
    return make_instance(users=("alice", "bob", "carol", "postmaster"), settings=settings)


def test_hour_and_day(make_instance, instance_imap):  # noqa: F811
    roost = limited(make_instance, submission_limit_hour=3)
    assert send(roost) is None
    # Every recipient counts, and a refused message does not.
    assert send(roost, [BOB, "carol@example.test"]) is None
    code, text = send(roost, subject="one too many")
    assert code == 450 and text.startswith(b"4.7.1 You may send to 3 recipients in one hour; try again in "), text
    # That it can never be is another matter; other users are not concerned.
    with logged_in(roost, BOB) as client:
        client.ehlo()
        client.mail(BOB)
        for name in ("alice", "carol", "postmaster"):
            assert client.rcpt(f"{name}@example.test")[0] == 250
        assert client.rcpt(BOB) == (550, b"5.7.1 More recipients than the 3 that you may send to in one hour")
        client.rset()
    assert use_of(roost, BOB) == (0, 0, 1)
    assert send(roost, [ALICE], sender=BOB) is None
    assert use_of(roost) == (3, 3, 1)
    assert counted(roost, "rejected") == 2
    # The postmaster hears once of each of them.
    inbox = instance_imap("postmaster@example.test", roost)
    wait_until(lambda: len(subjects(inbox)) == 2, what="two notices")
    assert set(subjects(inbox)) == {f"Sending limit reached: {u}" for u in (ALICE, BOB)}
    status, data = inbox.search(None, "SUBJECT", ALICE)
    text = inbox.fetch(data[0], "(BODY.PEEK[])")[1][0][1].decode()
    for part in (f"{ALICE} has reached the limit of 3 recipients in one hour", "roostctl limit reset alice@example.test",
                 "Sent to in the last hour:       3", "Auto-Submitted: auto-generated", "127.0.0.1"):
        assert part in text, text
    for _ in range(3):
        assert send(roost)[0] == 450
    # It is lifted; a restart and a killed daemon forget nothing.
    assert roost.ctl("limit", "reset", ALICE) == {"users": 1}
    assert use_of(roost) == (0, 0, 0)
    assert send(roost) is None and send(roost) is None
    roost.stop()
    roost.start()
    assert use_of(roost) == (2, 2, 0)
    assert send(roost) is None
    [pid] = roost.pids("roost-smtpd")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: roost.pids("roost-smtpd") not in ([], [pid]), what="roost-smtpd is back")
    assert send(roost)[0] == 450
    inbox = instance_imap("postmaster@example.test", roost)
    wait_until(lambda: len(subjects(inbox)) == 3, what="a notice of the new count")
    # Limits are settings like others: a reload changes them.
    roost.settings.update(submission_limit_hour=0, submission_limit_day=5)
    roost.write_conf()
    roost.reload()
    wait_until(lambda: send(roost) is None, what="the new limit counts")
    while (reply := send(roost)) is None:
        pass
    assert reply[0] == 450 and b"5 recipients in one day" in reply[1]
    assert use_of(roost)[1] == 5
    assert roost.ctl("limit", "reset", "--all")["users"] == 2
    assert roost.ctl("limit", "list") == []
    status, _, error = roost.ctl("limit", "reset", check=False)
    assert status != 0 and "--all" in error


def test_what_counts(make_instance):
    """Only what was accepted: not a message with a bad end, to nobody, or that its recipient's side refuses."""
    roost = limited(make_instance, submission_limit_hour=4)
    with logged_in(roost) as client:
        client.ehlo()
        client.mail(ALICE)
        client.rcpt(BOB)
        client.rset()
        client.mail(ALICE)
        assert client.rcpt("nobody@example.test")[0] == 550
        assert client.rcpt(BOB)[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(b"Subject: x\r\n\r\nbare\nline feed\r\n.\r\n")
        assert client.getreply()[0] == 550
        # All recipients refuse it at the end of the data.
        roost.ctl("quota", "set", "carol@example.test", "--storage", "1K")
        client.mail(ALICE)
        assert client.rcpt("carol@example.test")[0] == 250
        code, text = client.data(b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" + b"y" * 5000)
        assert code == 552, text
    assert use_of(roost) == (0, 0, 0)
    # Port 25 without a log-in is no user's, whatever it sends.
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
        for _ in range(6):
            client.sendmail(ALICE, [BOB], make_message(ALICE, BOB).as_string())
    assert roost.ctl("limit", "list") == []


def test_sessions_at_once(make_instance):
    """Of a limit no more is taken than it has, however many send at the same time."""
    roost = limited(make_instance, submission_limit_hour=20, mail_fsync="no")
    accepted, other = [], []
    barrier = threading.Barrier(6)

    def run(number):
        with logged_in(roost) as client:
            barrier.wait(120)
            for i in range(8):
                try:
                    client.sendmail(ALICE, [BOB], make_message(ALICE, BOB, f"{number}-{i}").as_string())
                    accepted.append(f"{number}-{i}")
                except smtplib.SMTPRecipientsRefused as e:
                    other.append(e.recipients[BOB][0])
                except smtplib.SMTPResponseException as e:
                    other.append(e.smtp_code)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == 20 and other == [450] * 28
    assert use_of(roost)[:2] == (20, 20)
    assert roost.log().count("submission_limit.notice queued") == 1


def test_hold(make_instance, instance_imap):  # noqa: F811
    roost = limited(make_instance, submission_limit_hour=1, submission_limit_action="hold",
                    submission_limit_notice_recipient="carol@example.test")
    assert send(roost, subject="goes") is None
    assert send(roost, subject="waits") is None
    assert send(roost, [BOB, "carol@example.test"], subject="waits too") is None
    wait_until(lambda: len(roost.ctl("queue", "list", "--queue", "hold")) == 2, what="two are held")
    assert counted(roost, "held") == 3
    carol = instance_imap("carol@example.test", roost)
    wait_for_subject(carol, f"Sending limit reached: {ALICE}")
    status, data = carol.search(None, "SUBJECT", "Sending")
    text = carol.fetch(data[0], "(BODY.PEEK[])")[1][0][1].decode()
    assert f"roostctl queue release --sender {ALICE}" in text
    bob = instance_imap(BOB, roost)
    assert subjects(bob) == ["goes"]
    # As the notice says.
    roost.ctl("limit", "reset", ALICE)
    roost.ctl("queue", "release", "--sender", ALICE)
    for subject in ("waits", "waits too"):
        wait_for_subject(bob, subject)
    wait_for_subject(carol, "waits too")
    assert subjects(carol).count(f"Sending limit reached: {ALICE}") == 1


@pytest.mark.skipif(not shutil.which("swaks"), reason="swaks must be installed")
def test_swaks(make_instance):
    roost = limited(make_instance, submission_limit_day=2)

    def swaks(*to):
        result = subprocess.run(
            ["swaks", "--server", f"127.0.0.1:{roost.ports['submission']}", "-tls", "--auth", "PLAIN", "--auth-user", ALICE,
             "--auth-password", PASSWORD, "--from", ALICE, "--to", ",".join(to)], capture_output=True, text=True, timeout=120)
        return result.returncode, result.stdout

    assert swaks(BOB, "carol@example.test")[0] == 0
    code, text = swaks(BOB)
    assert code == 24 and "450 4.7.1 You may send to 2 recipients in one day" in text, text
