# SPDX-License-Identifier: MIT
"""sendmail and mailq, as programs on the machine call them."""

import email
import email.policy
import os
import pwd
import shutil
import struct
import zlib

import pytest
from conftest import make_roost
from mail_helpers import make_message, subjects, wait_for_subject
from programs import run, write_secret
from roost_instance import BUILD, Roost, free_ports, wait_until

HOST = "mail.example.test"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_roost(request):
    """Its own host name is a local domain; mail for others waits for a relay that is down."""
    instance = make_roost(request.param, request, settings={
        "relayhost": f"[127.0.0.1]:{free_ports(1)[0]}", "minimal_backoff_time": "1h"})
    instance.ctl("domain", "add", HOST)
    yield instance
    instance.close()


@pytest.fixture
def sendmail(roost, tmp_path):
    """sendmail(ARGS, text, status=0) runs it against the instance."""

    def call(*args, text="", status=0, program=BUILD / "sendmail", as_user=()):
        data = text if isinstance(text, bytes) else text.encode()
        return run("/" if as_user else tmp_path, *as_user, program, *args, stdin=data, status=status,
                   ROOST_CONF=roost.conf)

    return call


def message_of(session, number=1):
    _, data = session.fetch(str(number), "(BODY.PEEK[])")
    return email.message_from_bytes(data[0][1].replace(b"\r\n", b"\n"), policy=email.policy.default)


def test_recipients_as_arguments(sendmail, user, other_user, imap):
    sendmail("-f", user, "-i", other_user, user, text="Subject: by arguments\n\nOne.\n.\n..two\n.\nlast\n")
    for address in (user, other_user):
        session = imap(address)
        wait_for_subject(session, "by arguments")
        message = message_of(session)
        assert message.get_content() == "One.\n.\n..two\n.\nlast\n"
        assert message["Return-Path"] == f"<{user}>"
        # What a message must have and this one had not.
        assert message["Date"] and message["Message-ID"] and message["From"], message.as_string()


def test_a_dot_ends_the_message_without_i(sendmail, user, imap):
    sendmail("-f", user, user, text="Subject: until the dot\n\nOne.\n.\nTwo.\n")
    session = imap(user)
    wait_for_subject(session, "until the dot")
    assert message_of(session).get_content() == "One.\n"


def test_recipients_from_the_header(sendmail, user, other_user, roost, imap):
    hidden = roost.add_user(f"hidden-{user.split('@')[0]}")
    sendmail("-t", "-oi", "-f", user, text=f"""From: "The Sender" <{user}>
To: First Reader <{other_user}>,
  Nobody Else:;
Bcc: {hidden}
Subject: from the header

Text.
""")
    for address in (other_user, hidden):
        session = imap(address)
        wait_for_subject(session, "from the header")
        message = message_of(session)
        assert message["Bcc"] is None and hidden not in message["To"]
        assert message["From"] == f"The Sender <{user}>" or message["From"] == f'"The Sender" <{user}>'


def test_eight_bit_and_long_lines(sendmail, user, imap):
    body = "Grüße. ".encode() * 100 + b"\n" + b"x" * 990 + b"\n"
    sendmail("-f", user, "-i", user, text=b"Subject: eight bits\nMIME-Version: 1.0\n"
             b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + body)
    session = imap(user)
    wait_for_subject(session, "eight bits")
    assert message_of(session).get_content().encode() == body


@pytest.mark.skipif(os.getuid() != 0, reason="to run it as another user takes root")
def test_cron_as_an_ordinary_user(roost, sendmail, user, imap):
    # A bare name is a user of this host; so is the caller.
    name = f"root-{user}".split("@")[0]
    roost.ctl("alias", "add", f"{name}@{HOST}", user)
    # The build may lie where others cannot go.
    program = shutil.copy(BUILD / "sendmail", roost.dir / "sendmail")
    sendmail("-FCronDaemon", "-i", "-B8BITMIME", "-oem", name, program=program,
             text="From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@mail> backup\n"
                  "Auto-Submitted: auto-generated\n\nall well\n",
             as_user=["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"])
    session = imap(user)
    wait_for_subject(session, "Cron <root@mail> backup")
    message = message_of(session)
    assert message["Return-Path"] == f"<{pwd.getpwnam('nobody').pw_name}@{HOST}>"
    assert message["Auto-Submitted"] == "auto-generated"


def test_unknown_recipients_and_bad_usage(sendmail, user):
    result = sendmail("-f", user, "nobody@example.test", text="Subject: x\n\nx\n", status=67)
    assert b"nobody@example.test" in result.stderr and b"5.1.1" in result.stderr
    assert b"no recipients" in sendmail("-t", text="Subject: to nobody\n\nx\n", status=64).stderr
    sendmail("--no-such-option", user, status=64)
    sendmail("-f", "a b@c d", user, text="Subject: x\n\nx\n", status=64)


def test_smtp_on_standard_input(sendmail, user, imap):
    answers = sendmail("-bs", text=f"EHLO localhost\r\nMAIL FROM:<{user}>\r\nRCPT TO:<{user}>\r\nDATA\r\n"
                       "Subject: by -bs\r\n\r\n..\r\n.\r\nQUIT\r\n").stdout.decode().split("\r\n")
    codes = [line[:3] for line in answers if line[3:4] == " "]
    assert codes == ["220", "250", "250", "250", "354", "250", "221"], answers
    session = imap(user)
    wait_for_subject(session, "by -bs")
    assert message_of(session).get_content() == ".\n"


def delivered_record():
    """What the queue manager appends to a queue file when the first recipient has the message."""
    fields = struct.pack("=IBBIQIII", 0, 1, 0, 1, 0, 0, 0, 0)
    return struct.pack("=II", len(fields), zlib.crc32(fields)) + fields


def test_deferred_with_nothing_left_to_do(monkeypatch):
    """Somebody has it, but the queue manager ended before it could take the file away."""
    monkeypatch.setenv("MALLOC_PERTURB_", "85")  # freed memory does not go on as before
    instance = Roost(settings={"relayhost": f"[127.0.0.1]:{free_ports(1)[0]}", "minimal_backoff_time": "1h"})
    try:
        run(instance.dir, BUILD / "sendmail", "-f", "root@example.test", "someone@elsewhere.test",
            stdin=b"Subject: done\n\nx\n", ROOST_CONF=instance.conf)
        row = wait_until(lambda: [m for m in instance.ctl("queue", "list") if m["queue"] == "deferred"],
                         what="it is deferred")[0]
        instance.stop()
        with open(instance.state / "queue" / "deferred" / row["id"], "ab") as file:
            file.write(delivered_record())
        instance.start()
        wait_until(lambda: instance.ctl("queue", "list") == [], what="the queue is empty")
        instance.stop()
        assert "master.child crash" not in instance.log_path.read_text()
    finally:
        instance.close()


def test_mailq_shows_what_waits(roost, sendmail, user, imap):
    assert b"empty" in sendmail(program=BUILD / "mailq").stdout
    sendmail("-f", user, "-N", "never", "someone@elsewhere.test", text="Subject: waits\n\nx\n")
    wait_until(lambda: [m for m in roost.ctl("queue", "list") if m["queue"] == "deferred"], what="it is deferred")
    for shown in (sendmail(program=BUILD / "mailq").stdout.decode(), sendmail("-bp").stdout.decode()):
        assert user in shown and "someone@elsewhere.test" in shown and "-- 1 message\n" in shown
        # Why it waits.
        assert "127.0.0.1" in shown
    sendmail("-q")
    for row in roost.ctl("queue", "list"):
        roost.ctl("queue", "delete", row["id"])
    assert b"empty" in sendmail(program=BUILD / "mailq").stdout


def test_newaliases(sendmail, make_instance, tmp_path):
    """It says what is wrong in the files of aliases; the shared instance has none."""
    sendmail("-bi")
    files = [tmp_path / "aliases", tmp_path / "more"]
    instance = make_instance(settings={"local_domains": ["local.test"], "alias_maps": [f"hash:{files[0]}", files[1]]})

    def newaliases(status, program=("newaliases",)):
        return run(tmp_path, BUILD / program[0], *program[1:], status=status, ROOST_CONF=instance.conf)

    files[0].write_text("# a comment\nroot: alice@example.test,\n  bob@example.test\nwebmaster: root\n")
    said = newaliases(66)
    assert f"{files[0]}: 2 aliases" in said.stdout.decode() and f"{files[1]} (alias_maps): " in said.stderr.decode()
    files[1].write_text("one: alice@example.test\n")
    assert newaliases(0).stderr == b""
    files[1].write_text("one: alice@example.test\nno colon here\n")
    for program in ("newaliases",), ("sendmail", "-bi"):
        assert f"{files[1]}:2: " in newaliases(65, program).stderr.decode()


def test_mutt_with_sendmail(roost, user, other_user, imap, tmp_path):
    conf = write_secret(tmp_path / "muttrc", f"""
set folder = {tmp_path}
set sendmail = "{BUILD}/sendmail -C {roost.conf} -oem -oi"
set from = "{user}"
set use_envelope_from = yes
set copy = no
""")
    run(tmp_path, "mutt", "-n", "-F", conf, "-s", "Grüße", "-b", user, "--", other_user,
        stdin=".\nSchöne Grüße.\n".encode())
    for address in (user, other_user):
        session = imap(address)
        wait_for_subject(session, "Grüße")
        message = message_of(session)
        assert message.get_content() == ".\nSchöne Grüße.\n" and message["Bcc"] is None


def test_without_a_running_roost(make_instance, tmp_path):
    instance = make_instance()
    instance.stop()
    text = make_message(to="alice@example.test").as_bytes()
    for command in (["sendmail", "-t"], ["sendmail", "alice@example.test"], ["sendmail", "-bs"], ["mailq"],
                    ["sendmail", "-q"]):
        result = run(tmp_path, BUILD / command[0], *command[1:], stdin=text, status=75, ROOST_CONF=instance.conf)
        assert result.stderr, command
    instance.start()
    run(tmp_path, BUILD / "sendmail", "-t", stdin=text, ROOST_CONF=instance.conf)


def test_a_configuration_that_is_not_there(tmp_path):
    result = run(tmp_path, BUILD / "sendmail", "-C", tmp_path / "none.conf", "alice@example.test", status=78)
    assert b"none.conf" in result.stderr
