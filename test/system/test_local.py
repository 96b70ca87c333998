# SPDX-License-Identifier: MIT
"""Aliases of this machine: alias_maps, :include:, owner-."""

import os
import smtplib
import subprocess

import pytest
from mail_helpers import instance_imap, make_message, subjects, wait_for_subject  # noqa: F401
from roost_instance import BUILD, free_ports, wait_until
from sink import Sink

HOST = "mail.example.test"
ALIASES = """
# of people
root: alice
both: alice, bob@example.test,
  bob@example.test
loop: loop2
loop2: loop
part: loop3, alice
loop3: part
alice: alice, bob
list: alice, nobody@example.test
owner-list: bob
away: someone@elsewhere.test
outer: list, bob
broken: alice, "unfinished
missing: :include:/nonexistent/members
members: :include:{dir}/members
bad: :include:{dir}/bad
"plus sign": bob
one: "Alice A." <alice>
exact: \\bob
"""


@pytest.fixture
def sink():
    server = Sink(free_ports(1)[0])
    yield server
    server.close()


@pytest.fixture
def make(make_instance, tmp_path_factory, sink):
    directory = tmp_path_factory.mktemp("aliases")
    for parent in (directory, directory.parent, directory.parent.parent):
        parent.chmod(0o755)

    def start(text=ALIASES, **settings):
        path = directory / "aliases"
        path.write_text(text.replace("{dir}", str(directory)))
        path.chmod(0o644)
        roost = make_instance(settings={
            "local_domains": [HOST, "localhost.test"], "alias_maps": [f"hash:{path}"], "minimal_backoff_time": "1h",
            "maximal_backoff_time": "2h", "relayhost": f"[127.0.0.1]:{sink.port}", "smtp_tls_security_level": "none",
            **settings})
        roost.aliases = path
        return roost

    return start


def send(roost, *to, sender="alice@example.test", subject=None, body="Hello.\n", **options):
    message = make_message("daemon@example.test", to[0], subject, body)
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.send_message(message, sender, list(to), **options)
    return message["Subject"]


def queue(roost):
    return roost.ctl("queue", "list")


def wait_for_empty_queue(roost):
    wait_until(lambda: queue(roost) == [], what="the queue is empty")


def flush_until_empty(roost):
    """What changed in a file counts within a second."""
    def flushed():
        roost.ctl("queue", "flush")
        return queue(roost) == []
    wait_until(flushed, what="the queue is empty")


def wait_for_reason(roost, text):
    wait_until(lambda: text in str(queue(roost)), what=f"{text!r} in the queue")


def test_aliases_lead_to_addresses(make, instance_imap):
    roost = make()
    # The directory does not have this mailbox's name at the host; the alias of it does.
    roost.ctl("domain", "add", HOST)
    for user in ("alice", "bob"):
        roost.add_user(user, domain=HOST)
    alice, bob = instance_imap(f"alice@{HOST}", roost), instance_imap("bob@example.test", roost)
    plain = send(roost, f"root@{HOST}")
    wait_for_subject(alice, plain)
    # "alice: alice, bob" means the mailbox and somebody else.
    wait_for_subject(instance_imap(f"bob@{HOST}", roost), plain)
    # To the name itself: its mailbox does not take the alias's mark for its own.
    own = send(roost, f"alice@{HOST}")
    for user in ("alice", "bob"):
        wait_for_subject(instance_imap(f"{user}@{HOST}", roost), own)
    both = send(roost, f"BOTH@{HOST}", f"both+extension@{HOST}")
    wait_for_subject(bob, both)
    wait_for_empty_queue(roost)
    # One copy for each alias that was asked for, however often it names him.
    assert subjects(bob) == [both, both]
    for name in ("one", "exact"):
        subject = send(roost, f"{name}@{HOST}")
        wait_for_subject(instance_imap(f"{'alice' if name == 'one' else 'bob'}@{HOST}", roost), subject)
    subject = send(roost, f'"plus sign"@{HOST}')
    wait_for_subject(instance_imap(f"bob@{HOST}", roost), subject)
    # sendmail's bare names are users of this host.
    subprocess.run([BUILD / "sendmail", "-i", "root"], input=b"Subject: from cron\n\nx\n", check=True,
                   env={**os.environ, "ROOST_CONF": str(roost.conf)})
    wait_for_subject(alice, "from cron")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(roost, f"unknown@{HOST}")
    assert refused.value.recipients[f"unknown@{HOST}"][0] == 550
    # A change counts without a restart.
    roost.aliases.write_text("fresh: bob@example.test\n")
    subject = wait_until(lambda: _accepted(roost, f"fresh@{HOST}"), what="the new alias is known")
    flush_until_empty(roost)
    wait_for_subject(bob, subject)


def _accepted(roost, to):
    try:
        return send(roost, to)
    except smtplib.SMTPRecipientsRefused:
        return None


def test_a_list_has_an_owner(make, instance_imap, sink):
    roost = make("""
list: alice@example.test, gone@example.test, someone@elsewhere.test
owner-list: bob@example.test
outer: list, alice@example.test
quiet: someone@elsewhere.test
""")
    subject = send(roost, f"outer@{HOST}", sender="author@elsewhere.test")
    alice, bob = instance_imap("alice@example.test", roost), instance_imap("bob@example.test", roost)
    wait_for_subject(alice, subject)
    # Not the author but the owner hears of the member that is gone.
    wait_until(lambda: "Mail could not be delivered" in subjects(bob),
               what="the owner gets a report")
    wait_for_empty_queue(roost)
    assert len(sink.messages) == 1 and f"<owner-list@{HOST}>" in sink.messages[0].mail
    assert "someone@elsewhere.test" in str(sink.messages[0].rcpts)
    before = len(sink.messages)
    send(roost, f"quiet@{HOST}", sender="author@elsewhere.test")
    wait_until(lambda: len(sink.messages) > before, what="the mail goes on")
    last = sink.messages[-1]
    assert "author@elsewhere.test" in last.mail
    assert b"Delivered-To: quiet@" + HOST.encode() in last.data
    # What has been here comes back instead of going round.
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.sendmail("alice@example.test", [f"quiet@{HOST}"],
                        f"Subject: again\r\nDelivered-To: quiet@{HOST}\r\n\r\nx\r\n")
    wait_until(lambda: len(subjects(alice)) > 2, what="the report about the circle")
    assert len(sink.messages) == before + 1


def test_loops(make, instance_imap):
    roost = make()
    alice = instance_imap("alice@example.test", roost)
    send(roost, f"loop@{HOST}", subject="round")
    wait_until(lambda: len(subjects(alice)) == 1, what="the report about the loop")
    assert "5.4.6" in roost.log()
    wait_for_empty_queue(roost)


def test_include(make, instance_imap):
    roost = make(ALIASES + "here: :include:{dir}/members\n")
    directory = roost.aliases.parent
    members = directory / "members"
    members.write_text("# who\nalice@example.test, bob@example.test\n\nalice@example.test\n:include:%s/more\n" % directory)
    (directory / "more").write_text("bob@example.test\n")
    members.chmod(0o644)
    (directory / "more").chmod(0o644)
    subject = send(roost, f"members@{HOST}")
    for user in ("alice", "bob"):
        session = instance_imap(f"{user}@example.test", roost)
        wait_for_subject(session, subject)
    wait_for_empty_queue(roost)
    assert subjects(session) == [subject]
    # Whoever else may write the file would decide who gets the mail: it waits.
    bad = directory / "bad"
    bad.write_text("bob@example.test\n")
    bad.chmod(0o664)
    held = send(roost, f"bad@{HOST}")
    wait_for_reason(roost, "others than its owner may write it")
    bad.chmod(0o644)
    if os.getuid() == 0:
        os.chown(bad, 12345, -1)
        roost.ctl("queue", "flush")
        wait_for_reason(roost, "its owner is neither root nor one of alias_include_owners")
        os.chown(bad, 0, -1)
    flush_until_empty(roost)
    wait_for_subject(session, held)
    send(roost, f"missing@{HOST}")
    wait_for_reason(roost, "/nonexistent/members: No such file or directory")


def test_what_is_wrong_in_a_file_keeps_mail_waiting(make, instance_imap):
    roost = make()
    line = ALIASES.splitlines().index('broken: alice, "unfinished') + 1
    wait_until(lambda: f"line={line} " in roost.log() and "a quote that does not end" in roost.log(),
               what="the line in the log")
    subject = send(roost, f"broken@{HOST}")
    wait_for_reason(roost, "a quote that does not end")
    roost.aliases.write_text("broken: alice@example.test\n")
    flush_until_empty(roost)
    wait_for_subject(instance_imap("alice@example.test", roost), subject)
