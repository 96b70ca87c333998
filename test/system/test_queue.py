# SPDX-License-Identifier: MIT
"""The queue under load, and what an administrator does with it while it runs."""

import email
import email.policy
import os
import re
import shutil
import smtplib
import sqlite3
import subprocess
import threading
import time

import pytest
from mail_helpers import instance_imap, make_message, subjects  # noqa: F401
from queue_files import fill
from roost_instance import BUILD, wait_until
from sink import Sink
from waiting_mta import dns, make, ports  # noqa: F401

pytestmark = pytest.mark.skipif(not shutil.which("nsd"), reason="NSD must be installed")

HANGS, LIVES, GONE = "127.0.0.21", "127.0.0.22", "127.0.0.23"
RECORDS = f"""
*.hung IN MX 10 mx.hung
mx.hung IN A {HANGS}
lives IN A {LIVES}
gone IN A {GONE}
"""


def send(roost, to, subject=None, sender="alice@example.test", **options):
    message = make_message(sender, to, subject)
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.send_message(message, sender, [to], **options)
    return message


def queue(roost, *selection):
    return roost.ctl("queue", "list", *selection)


def count(roost, verb, *selection):
    return roost.ctl("queue", verb, *selection)["messages"]


def wait_for_states(roost, **wanted):
    def states():
        rows = queue(roost)
        return {name: sum(r["queue"] == name for r in rows) for name in wanted} == wanted
    wait_until(states, what=f"the queue holds {wanted}")


# ---- the administrator ----


def test_messages_are_chosen_by_what_they_are(make, ports):
    roost = make()
    with Sink(ports[0], LIVES, faults={"mail": "450 4.3.2 later"}):
        for sender, to in (("alice@example.test", "a@lives.test"), ("bob@example.test", "b@lives.test"),
                           ("alice@example.test", "c@lives.test"), ("", "d@lives.test")):
            send(roost, to, sender=sender, subject=f"for {to}")
        wait_for_states(roost, deferred=4)
        assert {m["recipients"][0] for m in queue(roost, "--sender", "alice@example.test")} == {"a@lives.test", "c@lives.test"}
        assert [m["recipients"] for m in queue(roost, "--sender", "<>")] == [["d@lives.test"]]
        assert len(queue(roost, "--site", "lives.test")) == 4 and queue(roost, "--site", "other.test") == []
        assert len(queue(roost, "--recipient", "b@lives.test")) == 1
        assert queue(roost, "--older", "1h") == [] and len(queue(roost, "--newer", "1h")) == 4
        # What names nothing chooses nothing.
        status, _, error = roost.ctl("queue", "delete", check=False)
        assert status != 0 and "--all" in error and len(queue(roost)) == 4
        assert count(roost, "hold", "--sender", "@example.test") == 3
        wait_for_states(roost, hold=3, deferred=1)
        assert len(queue(roost, "--queue", "hold")) == 3
        held = queue(roost, "--recipient", "a@lives.test")[0]["id"]
        # The text, with the field that was added on the way in.
        cat = subprocess.run([BUILD / "roostctl", "-c", roost.conf, "queue", "cat", held], capture_output=True, check=True)
        message = email.message_from_bytes(cat.stdout, policy=email.policy.default)
        assert message["Subject"] == "for a@lives.test" and message["Received"] and message.get_content().strip() == "Hello."
        assert count(roost, "delete", "--queue", "hold", "--recipient", "c@lives.test") == 1
        # Over a restart what is held stays so.
        roost.stop()
        roost.start()
        wait_for_states(roost, hold=2, deferred=1)
    with Sink(ports[0], LIVES) as sink:
        assert count(roost, "release", held) == 1
        wait_until(lambda: len(sink.messages) == 1, what="the released one arrives")
        assert count(roost, "requeue", "--all") == 2
        wait_until(lambda: len(sink.messages) == 3, what="all arrive")
        wait_until(lambda: queue(roost) == [], what="the queue is empty")


def test_requeued_mail_takes_a_new_way(make, ports):
    roost = make()
    with Sink(ports[0], LIVES) as sink:
        send(roost, "someone@gone.hung.test")
        wait_for_states(roost, active=0, deferred=1)
        roost.settings["transport_maps"] = [f"inline:{{ {{ gone.hung.test = smtp:[{LIVES}]:{ports[0]} }} }}"]
        roost.write_conf()
        roost.reload()
        # The settings reach the daemons one after the other.
        wait_until(lambda: count(roost, "requeue", "--all") >= 0 and sink.messages, what="it arrives")


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_reload_may_name_a_table_in_another_place(make, ports, kind):
    """Which nothing that runs may open before."""
    roost = make()
    place = roost.dir / "tables"
    place.mkdir(mode=0o755)
    way = f"smtp:[{LIVES}]:{ports[0]}"
    if kind == "file":
        (place / "transport").write_text(f"gone.hung.test {way}\n")
        table = f"file:{place}/transport"
    else:
        with sqlite3.connect(place / "ways.db") as db:
            db.execute("CREATE TABLE way (name TEXT, value TEXT)")
            db.execute("INSERT INTO way VALUES ('gone.hung.test', ?)", (way,))
        (place / "ways").write_text(f"dbpath = {place}/ways.db\n"
                                       "query = SELECT value FROM way WHERE name = '%s'\n")
        table = f"sqlite:{place}/ways"
    with Sink(ports[0], LIVES) as sink:
        roost.settings["transport_maps"] = [table]
        roost.write_conf()
        roost.reload()
        send(roost, "someone@gone.hung.test")
        wait_until(lambda: sink.messages, what="it arrives")


def test_a_new_queue_manager_waits_for_the_one_before_it(make, ports):
    """Or it would deliver what that one has under way once more."""
    roost = make()
    arrived, go_on = threading.Event(), threading.Event()

    def hold(_session):
        arrived.set()
        go_on.wait(60)

    with Sink(ports[0], LIVES, faults={"end": hold}) as sink:
        send(roost, "someone@lives.test")
        assert arrived.wait(60)
        roost.settings["srs_lifetime"] = "20d"  # what a qmgr has from its start
        roost.write_conf()
        roost.reload()
        wait_until(lambda: "qmgr.queue waits" in roost.log(), what="the new one waits")
        go_on.set()
        wait_until(lambda: roost.log().count("qmgr.queue loaded") == 2, what="its turn comes")
        wait_until(lambda: queue(roost) == [], what="the queue is empty")
        assert len(sink.messages) == 1


# ---- reports ----


def report_to(session, subject):
    wait_until(lambda: subject in subjects(session), what=f"{subject!r} arrives")
    number = subjects(session).index(subject) + 1
    _, data = session.fetch(str(number), "(BODY.PEEK[])")
    return email.message_from_bytes(data[0][1], policy=email.policy.default)


def test_a_delay_is_told_once(make, ports, instance_imap):  # noqa: F811
    roost = make(delay_warning_time="1s", minimal_backoff_time="1s", maximal_backoff_time="1s",
                 notify_classes=["delay"], delay_notice_recipient="bob@example.test")
    with Sink(ports[0], LIVES, faults={"rcpt": "450 4.2.1 busy"}):
        send(roost, "someone@lives.test")
        send(roost, "other@lives.test", sender="carol@example.test", rcpt_options=["NOTIFY=FAILURE"])
        report = report_to(instance_imap("alice@example.test", roost), "Your mail is delayed")
        fields = list(list(report.iter_parts())[1].iter_parts())[1]
        assert fields["Action"] == "delayed" and fields["Status"] == "4.2.1" and fields["Will-Retry-Until"]
        report_to(instance_imap("bob@example.test", roost), "Postmaster copy: mail is delayed")
        tried = roost.log().count("qmgr.delivery deferred")
        wait_until(lambda: roost.log().count("qmgr.delivery deferred") > tried + 4, what="it is tried again")
        assert subjects(instance_imap("alice@example.test", roost)) == ["Your mail is delayed"]
        assert len(queue(roost)) == 2


def test_the_postmaster_sees_what_bounces(make, ports, instance_imap):  # noqa: F811
    roost = make(notify_classes="delay, bounce", bounce_notice_recipient="bob@example.test")
    with Sink(ports[0], LIVES, faults={"rcpt": "550 5.1.1 no such user"}):
        send(roost, "nobody@lives.test", subject="lost")
        report_to(instance_imap("alice@example.test", roost), "Mail could not be delivered")
        copy = report_to(instance_imap("bob@example.test", roost), "Postmaster copy: mail could not be delivered")
        # The header is enough for the postmaster.
        assert list(copy.iter_parts())[2].get_content_type() == "text/rfc822-headers"
        wait_until(lambda: queue(roost) == [], what="the queue is empty")


# ---- delivery programs that rest ----


def test_delivery_programs_rest_and_come_back(make, ports):
    """Who has nothing to deliver ends, and the next message starts it again, with the settings of that time."""
    roost = make(max_idle="1s")
    programs = ("roost-smtp", "roost-lmtp-client")

    def all_rest():
        wait_until(lambda: not any(roost.pids(name) for name in programs), 30, "the delivery programs rest")

    def status(service):
        return next(row for row in roost.ctl("status") if row["service"] == service)

    all_rest()
    assert "master.child exit" not in roost.log()
    with Sink(ports[0], LIVES) as sink:
        send(roost, "someone@lives.test", subject="the first")
        wait_until(lambda: len(sink.messages) == 1, what="the first arrives")
        assert roost.pids("roost-smtp")
        all_rest()
        # A reload has new sockets and settings for who is not there to take them.
        roost.ctl("reload")
        assert roost.pids("roost-qmgr")
        send(roost, "someone@lives.test", subject="the second")
        wait_until(lambda: len(sink.messages) == 2, what="the second arrives")
        all_rest()
        # An administrator's question wakes them as well, and is answered.
        assert status("smtp")["sessions"] == 0
        daemons = {d["name"]: d for d in status("master")["daemons"]}
        assert daemons["smtp"]["state"] in ("starting", "ready", "resting")
        assert not any(d["restarts"] for d in daemons.values())
    all_rest()
    roost.stop()


# ---- load ----


def memory_kb(pid):
    """What a process has to itself."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(n) for n in re.findall(r"Private_\w+: +(\d+) kB", file.read()))


def fill_as_roost(directory, *args):
    """The files are the user's that roost-qmgr runs as."""
    fill(directory, *args)
    if os.getuid() == 0:
        for path in (directory, *directory.iterdir()):
            shutil.chown(path, "vmail", "vmail")


def test_many_deferred_messages_cost_little(make):
    roost = make()
    before = memory_kb(roost.pids("roost-qmgr")[0])
    roost.stop()
    now = int(time.time())
    fill_as_roost(roost.state / "queue" / "deferred", 10000, lambda n: f"u@d{n % 100}.hung.test", now - 600, now + 3600)
    roost.start()
    status = wait_until(lambda: (s := roost.ctl("status")) and s, what="an answer")
    assert status
    loaded = wait_until(lambda: re.findall(r"qmgr.queue loaded .*deferred=10000.*", roost.log()), what="the queue is loaded")
    assert loaded
    grown = memory_kb(roost.pids("roost-qmgr")[0]) - before
    # 16 bytes for each of the first, nothing for the others, and some slack.
    assert grown < 1000, grown
    assert len(queue(roost)) == 10000
    assert count(roost, "delete", "--site", "d7.hung.test") == 100
    assert len(queue(roost, "--sender", "alice@example.test")) == 9900


def test_a_crowd_of_dead_destinations_delays_nobody_else(make, ports):
    roost = make(qmgr_message_active_limit="1000", default_process_limit="20")
    roost.stop()
    now = int(time.time())
    fill_as_roost(roost.state / "queue" / "deferred", 3000, lambda n: f"u@d{n % 300}.hung.test", now - 600, now - 60)
    with Sink(ports[0], HANGS, faults={"greeting": "hang"}) as dead, Sink(ports[0], LIVES) as sink:
        roost.start()
        wait_until(lambda: dead.sessions >= 10, what="the dead ones are being tried")
        for n in range(5):
            send(roost, "someone@lives.test", subject=f"past them {n}")
            wait_until(lambda: len(sink.messages) > n, what="mail to the living one arrives")


def test_more_wait_than_qmgr_knows_of(make, ports):
    """Only the earliest are in memory; the others are read from the directory when those are used up, and flushed too."""
    roost = make()
    roost.stop()
    now, early, late = int(time.time()), 8192 + 4096, 20
    deferred = roost.state / "queue" / "deferred"
    fill_as_roost(deferred, early + late, lambda n: f"u{n}@{'gone' if n < early else 'lives'}.test", now - 600, now - 60)
    for path in sorted(deferred.iterdir())[early:]:
        os.utime(path, (now - 30, now - 30))
    with Sink(ports[0], LIVES) as sink:
        roost.start()
        wait_until(lambda: len(sink.messages) == late, 90, "what was due last arrives")
        wait_for_states(roost, deferred=early)
    assert roost.ctl("queue", "list", "--site", "gone.test")[0]["reason"]
    assert count(roost, "flush") == early
    assert count(roost, "delete", "--all") == early
    assert queue(roost) == []


@pytest.mark.skipif(os.getuid() != 0, reason="without root's rights qmgr does not start on such a directory")
def test_a_deferred_directory_that_cannot_be_read_at_the_start(make, ports):
    """The next scan reads it, and what is due is sent without anybody asking for it."""
    roost = make()
    roost.stop()
    now = int(time.time())
    deferred = roost.state / "queue" / "deferred"
    fill_as_roost(deferred, 3, lambda n: f"u{n}@lives.test", now - 600, now - 60)
    deferred.chmod(0)
    loaded = roost.log().count("qmgr.queue loaded")
    roost.start()
    wait_until(lambda: roost.log().count("qmgr.queue loaded") > loaded, what="the queue is loaded")
    assert "qmgr.scan failed" in roost.log()
    deferred.chmod(0o700)
    with Sink(ports[0], LIVES) as sink:
        wait_until(lambda: len(sink.messages) == 3, 90, "what was due arrives")
    wait_until(lambda: queue(roost) == [], what="the queue is empty")


# ---- transcripts for the postmaster ----


def test_a_server_that_does_not_understand_us_is_told_of(make, ports, instance_imap):  # noqa: F811
    """One transcript for each message that met such an error, and none for refusals that are none of the protocol."""
    roost = make(notify_classes=["protocol"], error_notice_recipient="alice@example.test")
    faults = {"rcpt": "501 5.5.4 what is this", "mail": None}
    with Sink(ports[0], LIVES, faults=faults) as sink:
        send(roost, "someone@lives.test", subject="not understood", sender="bob@example.test")
        inbox = instance_imap("alice@example.test", roost)
        wait_until(lambda: subjects(inbox) == [f"SMTP client: errors from mx.lives.test[{LIVES}]"]
                   or subjects(inbox) == [f"SMTP client: errors from lives.test[{LIVES}]"], what="the postmaster hears of it")
        inbox.select("INBOX")
        _, data = inbox.fetch("1", "(BODY.PEEK[])")
        text = email.message_from_bytes(data[0][1]).get_payload(decode=True).decode()
        wanted = (" In:  220 ", " Out: EHLO mail.example.test\r\n", " Out: MAIL FROM:<bob@example.test>",
                  " Out: RCPT TO:<someone@lives.test>", " In:  501 5.5.4 what is this\r\n", "Message: ")
        assert [line for line in wanted if line not in text] == [], text
        assert "Subject: not understood" not in text
        faults["rcpt"] = "550 5.1.1 nobody"
        send(roost, "someone@lives.test", subject="nobody", sender="bob@example.test")
        faults["rcpt"] = "550 5.1.1 nobody"
        wait_until(lambda: queue(roost) == [], what="both have failed")
        faults["rcpt"] = None
        send(roost, "someone@lives.test", subject="taken", sender="bob@example.test")
        wait_until(lambda: len(sink.messages) == 1, what="it arrives")
        wait_until(lambda: queue(roost) == [], what="the queue is empty")
        assert len(subjects(inbox)) == 1
