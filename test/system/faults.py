# SPDX-License-Identifier: MIT
"""What each protocol says when all works and when something is missing for the moment; how parts are taken away."""

import base64
import contextlib
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

from roost_instance import BUILD, PASSWORD, wait_until
from test_kill import daemons
from test_proxy import Line

QUICK = {"login_delay_max": "0s", "db_timeout": "1s", "auth_cache_ttl": "0s", "minimal_backoff_time": "1s",
         "maximal_backoff_time": "2s"}


# ---- what each protocol says ----


def ask_imap(roost, user, password=PASSWORD):
    client = Line(roost.ports["imap"])
    client.line()
    client.send(f'a LOGIN {user} "{password}"\r\n')
    return client.until("a ")[-1][2:]


def ask_pop3(roost, user):
    client = Line(roost.ports["pop3"])
    client.line()
    client.send(f"USER {user}\r\nPASS {PASSWORD}\r\n")
    client.line()
    return client.line()


def submission(roost, user):
    """The connection, and what the log-in is answered with."""
    client = Line(roost.ports["submission"])
    initial = base64.b64encode(f"\0{user}\0{PASSWORD}".encode()).decode()
    client.send(f"EHLO client.example.org\r\nAUTH PLAIN {initial}\r\n")
    client.until("250 ")
    return client, client.line()


def ask_submission(roost, user):
    return submission(roost, user)[1]


def ask_rcpt(name, hello):
    def ask(roost, user):
        client = Line(roost.ports[name])
        client.send(f"{hello} client.example.org\r\n")
        client.until("250 ")
        client.send(f"MAIL FROM:<sender@example.org>\r\nRCPT TO:<{user}>\r\n")
        client.line()
        return client.line()

    return ask


ASK = {"imap": ask_imap, "pop3": ask_pop3, "submission": ask_submission, "lmtp": ask_rcpt("lmtp", "LHLO"),
       "smtp": ask_rcpt("smtp", "EHLO")}
TEMPORARY = {"imap": r"NO \[UNAVAILABLE\]", "pop3": r"-ERR \[(SYS/TEMP|IN-USE)\]", "submission": "454 4",
             "lmtp": "45[01] 4", "smtp": "45[01] 4"}
WORKING = {"imap": "OK", "pop3": r"\+OK", "submission": "235", "lmtp": "250", "smtp": "250"}


def answers(roost, user, protocols=ASK):
    with ThreadPoolExecutor(len(protocols)) as pool:
        futures = {name: pool.submit(ASK[name], roost, user) for name in protocols}
    return {name: future.result() for name, future in futures.items()}


def as_expected(found, expected):
    return all(re.match(expected[name], answer or "") for name, answer in found.items())


def assert_temporary(roost, user, protocols=ASK):
    found = answers(roost, user, protocols)
    assert as_expected(found, TEMPORARY), found


def assert_working_again(roost, user, seconds):
    """Not a word of permanent failure may be heard on the way."""

    def works():
        found = answers(roost, user)
        assert all(as_expected({n: a}, WORKING) or as_expected({n: a}, TEMPORARY) for n, a in found.items()), found
        return as_expected(found, WORKING)

    wait_until(works, seconds, "all protocols work again")


def no_crash(roost):
    found = [line for line in roost.log().splitlines()
             if "session.crash" in line or "master.child crash" in line or "AddressSanitizer" in line]
    assert found == []
    return True


# ---- making parts go away ----


def signal_all(pids, signum):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


@contextlib.contextmanager
def without(roost, programs, program, how):
    """The daemon does not answer (stopped), or is dead and cannot be started (missing)."""
    pids = daemons(roost, program)
    if how == "stopped":
        signal_all(pids, signal.SIGSTOP)
    else:
        (programs / program).unlink()
        signal_all(pids, signal.SIGKILL)
        wait_until(lambda: not daemons(roost, program), what=f"{program} is dead")
    try:
        yield
    finally:
        if how == "stopped":
            signal_all(pids, signal.SIGCONT)
        else:
            (programs / program).symlink_to(BUILD / program)
