# SPDX-License-Identifier: MIT
"""A process serves one client of its user after the other, and never one of somebody else."""

import os
import poplib
import signal
import smtplib
import time

from roost_instance import PASSWORD, wait_until
from test_imap_session import Wire


def session(roost, user):
    """Logs in and out; the process that served, and what FETCH said before a SELECT."""
    wire = Wire(roost, user)
    said = wire.command("FETCH 1 UID")[-1]
    pid = wait_until(lambda: [s["pid"] for s in roost.ctl("who") if s["user"] == user], what="who shows the session")
    wire.command("SELECT INBOX")
    wire.send("z LOGOUT")
    wire.until("z OK")
    wire.socket.close()
    wait_until(lambda: not [s for s in roost.ctl("who") if s["user"] == user], what="the session is gone")
    return pid[0], said


def test_the_next_client_of_a_user(own_roost):
    ann, ben = own_roost.add_user("ann"), own_roost.add_user("ben")

    def again():
        # Time passes between two looks at a busy machine; a process waits for five seconds.
        begin = time.monotonic()
        first, second = session(own_roost, ann), session(own_roost, ann)
        return time.monotonic() - begin < 4 and (first, second)

    first, second = wait_until(again, what="two sessions within four seconds")
    assert first[0] == second[0]
    # Nothing of the first session is left in the second.
    assert first[1] == second[1] == "t BAD Select a mailbox first"
    assert session(own_roost, ben)[0] != first[0]


def test_a_process_with_old_settings_is_not_used_again(own_roost):
    user = own_roost.add_user("carl")
    before = session(own_roost, user)[0]
    own_roost.ctl("reload")
    assert session(own_roost, user)[0] != before


def test_a_kicked_session_is_not_used_again(own_roost):
    user = own_roost.add_user("dora")
    wire = Wire(own_roost, user)
    pid = wait_until(lambda: [s["pid"] for s in own_roost.ctl("who") if s["user"] == user], what="who shows it")[0]
    own_roost.ctl("kick", user)
    wire.until("* BYE")
    assert wire.at_end()
    assert session(own_roost, user)[0] != pid


def test_a_user_who_is_switched_off_meanwhile(own_roost):
    user = own_roost.add_user("emma")
    session(own_roost, user)
    own_roost.ctl("user", "set", user, "--active", "no")
    try:
        Wire(own_roost, user)
    except AssertionError as error:
        assert "NO" in str(error)
    else:
        raise AssertionError("the user could log in")


def sockets(pid):
    return sum(os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:") for fd in os.listdir(f"/proc/{pid}/fd"))


def test_a_silent_session_holds_no_connection_to_auth(own_roost):
    """It is kept for the next log-in of the user, but not by those who stay."""
    wire = Wire(own_roost, own_roost.add_user("fred"))
    pid = wait_until(lambda: [s["pid"] for s in own_roost.ctl("who") if s["user"].startswith("fred@")],
                     what="who shows it")[0]
    wire.command("NOOP")
    before = sockets(pid)
    wire.send("i IDLE")
    wire.until("+ idling")
    assert sockets(pid) == before - 1


def test_auth_is_started_again_between_two_sessions(own_roost):
    """The process that is used again finds its connection to roost-auth broken, and makes another."""
    user = own_roost.add_user("gina")

    def again():
        first = session(own_roost, user)
        for pid in own_roost.pids("roost-auth"):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: own_roost.ctl("user", "list"), what="roost-auth answers again")
        return first[0] == session(own_roost, user)[0]

    wait_until(again, what="two sessions of one process")


def within_four_seconds(call):
    """call's answer, when it took less time than a process waits for its next client."""
    def attempt():
        begin = time.monotonic()
        answer = call()
        return time.monotonic() - begin < 4 and answer

    return wait_until(attempt, what="done within four seconds")


# ---- POP3 ----


def pop3_session(roost, user):
    """Reads and deletes the first message; the process that served, how many there were, and the message."""
    client = poplib.POP3("127.0.0.1", roost.ports["pop3"], timeout=30)
    client.user(user)
    client.pass_(PASSWORD)
    pids = wait_until(lambda: [s["pid"] for s in roost.ctl("who") if s["user"] == user], what="who shows the session")
    count, text = client.stat()[0], client.retr(1)[1]
    client.dele(1)
    client.quit()
    wait_until(lambda: not [s for s in roost.ctl("who") if s["user"] == user], what="the session is gone")
    return pids[0], count, text[-1]


def test_the_next_pop3_client_of_a_user(own_roost):
    """Each session sees what the one before left, and what came meanwhile."""
    user, other = own_roost.add_user("iris"), own_roost.add_user("jack")

    def deliver(*texts):
        with smtplib.SMTP("127.0.0.1", own_roost.ports["smtp"], timeout=30) as client:
            for text in texts:
                client.sendmail("a@example.org", [user, other], f"Subject: x\r\n\r\n{text}\r\n")

    def three():
        deliver("one", "two")
        first = pop3_session(own_roost, user)
        deliver("three")
        return [first, pop3_session(own_roost, user), pop3_session(own_roost, user), pop3_session(own_roost, other)]

    first, second, third, somebody = within_four_seconds(three)
    assert first[0] == second[0] == third[0] != somebody[0]
    assert [first[1:], second[1:], third[1:]] == [(2, b"one"), (2, b"two"), (1, b"three")]


# ---- SMTP: clients are known by their host only ----


def smtp_session(roost, sender, source="127.0.0.1"):
    """Says MAIL and leaves; the process that served, and the reply's code."""
    def shown():
        return [s["pid"] for s in roost.ctl("who") if s["service"] == "smtp"]

    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], source_address=(source, 0), timeout=30) as client:
        client.ehlo("client.example")
        code = client.mail(sender)[0]
        pids = wait_until(shown, what="who shows the session")
    wait_until(lambda: not shown(), what="the session is gone")
    return pids[0], code


def test_the_next_smtp_client_of_a_host(make_instance):
    roost = make_instance(settings={"mynetworks": "192.0.2.0/24"})
    sender = "a@example.org"
    first, second, other = within_four_seconds(lambda: [smtp_session(roost, sender), smtp_session(roost, sender),
                                                        smtp_session(roost, sender, source="127.0.0.2")])
    assert first[0] == second[0] != other[0]
    assert first[1] == second[1] == other[1] == 250


def test_mail_through_a_process_that_serves_again(make_instance):
    """Its connections to roost-auth and roost-lmtp are those of the session before, or new ones when they broke."""
    roost = make_instance()
    user = roost.add_user("hugh")
    for n in range(3):
        with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=30) as client:
            client.sendmail("a@example.org", [user], f"Subject: number {n}\r\n\r\ntext\r\n")
        for name in ("roost-lmtp", "roost-auth") if n == 1 else ():
            for pid in roost.pids(name):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: roost.ctl("user", "list"), what="roost-auth answers")
    wait_until(lambda: len(list((roost.home("hugh") / "Maildir").glob("new/*"))) == 3, what="three messages are there")


def test_a_table_that_changed_counts_for_a_process_that_serves_again(make_instance, readable):
    table = readable / "access"
    table.write_text("nobody.example OK\n")
    roost = make_instance(settings={"mynetworks": "192.0.2.0/24", "smtpd_delay_reject": "no",
                                    "smtpd_sender_restrictions": f"check_sender_access texthash:{table}"})

    def pid_when(text, code):
        table.write_text(text)
        return wait_until(lambda: [pid for pid, said in [smtp_session(roost, "a@example.org")] if said == code],
                          what=f"MAIL is answered with {code}")

    wait_until(lambda: pid_when("nobody.example OK\n", 250) == pid_when("example.org REJECT\n", 554),
               what="one process gives both answers")
