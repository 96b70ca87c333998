# SPDX-License-Identifier: MIT
"""Log-ins while the database is slow, and with rows that make no sense."""

import contextlib
import imaplib
import threading
import time

import psycopg2
from conftest import make_roost, tls_context
from roost_instance import PASSWORD, Roost, wait_until
from test_directory import new_database, sql


def log_in(roost, user, password=PASSWORD):
    """How long it took, and the response code or ''. """
    client = imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost), timeout=60)
    began = time.monotonic()
    try:
        client.login(user, password)
        answer = ""
    except imaplib.IMAP4.error as e:
        answer = str(e)
    seconds = time.monotonic() - began
    with contextlib.suppress(imaplib.IMAP4.error, OSError):
        client.logout()
    return seconds, answer


def test_a_slow_database_does_not_hold_up_whom_it_knows(postgres, request):
    roost = make_roost("postgresql", request, settings={"db_timeout": "8s", "auth_workers": 4})
    dsn = roost.settings["postgresql"]
    try:
        for n in range(10):
            roost.add_user(f"new{n}")
        assert log_in(roost, "alice@example.test")[1] == ""
        with contextlib.closing(psycopg2.connect(dsn)) as holder:
            # Each query waits for this lock until db_timeout.
            holder.cursor().execute("LOCK TABLE mailbox IN ACCESS EXCLUSIVE MODE")
            others = []
            waiting = [threading.Thread(target=lambda n=n: others.append(log_in(roost, f"new{n}@example.test")))
                       for n in range(10)]
            for thread in waiting:
                thread.start()
            wait_until(lambda: any(s.get("jobs_pending", 0) >= 4 for s in roost.ctl("status")), what="the others wait")
            known = [log_in(roost, "alice@example.test") for _ in range(3)]
            answered = list(others)
            for thread in waiting:
                thread.join()
        assert all(answer == "" for _, answer in known), known
        assert not answered, "they were served while the others waited"
        assert all("UNAVAILABLE" in answer for _, answer in others), others
        wait_until(lambda: log_in(roost, "new1@example.test")[1] == "", what="it works again")
    finally:
        roost.close()


ODD = {  # local part: (password, quota_bytes, active, max_connections, networks), what log-ins get
    "good": (("{PLAIN}" + PASSWORD, None, "t", None, None), ""),
    "nopassword": ((None, None, "t", None, None), "AUTHENTICATIONFAILED"),
    "empty": (("", None, "t", None, None), "AUTHENTICATIONFAILED"),
    "bare": ((PASSWORD, None, "t", None, None), "AUTHENTICATIONFAILED"),
    "noscheme": (("{NOSUCH}x", None, "t", None, None), "AUTHENTICATIONFAILED"),
    "unclosed": (("{PLAIN" + PASSWORD, None, "t", None, None), "AUTHENTICATIONFAILED"),
    "quota": (("{PLAIN}" + PASSWORD, "much", "t", None, None), "UNAVAILABLE"),
    "nolimit": (("{PLAIN}" + PASSWORD, "-1", "t", "-1", None), ""),
    "fraction": (("{PLAIN}" + PASSWORD, "1.5", "t", None, None), "UNAVAILABLE"),
    "huge": (("{PLAIN}" + PASSWORD, "99999999999999999999999", "t", None, None), "UNAVAILABLE"),
    "connections": (("{PLAIN}" + PASSWORD, None, "t", "many", None), "UNAVAILABLE"),
    "off": (("{PLAIN}" + PASSWORD, None, "false", None, None), "CONTACTADMIN"),
    "active": (("{PLAIN}" + PASSWORD, None, None, None, None), ""),
    "networks": (("{PLAIN}" + PASSWORD, None, "t", None, "everywhere"), "AUTHENTICATIONFAILED"),
}


def test_rows_that_make_no_sense(postgres):
    dsn = new_database(postgres)
    rows = ", ".join("(" + ", ".join("NULL" if v is None else f"'{v}'" for v in (local, *row)) + ")"
                     for local, (row, _) in ODD.items())
    sql(dsn, "CREATE TABLE people (local text, secret text, quota text, active text, connections text, networks text)",
        f"INSERT INTO people VALUES {rows}", "CREATE TABLE domains (name text)",
        "INSERT INTO domains VALUES ('example.test')")
    roost = Roost(db="postgresql", dsn=dsn, users=(), domain=None, settings={
        "login_delay_max": "0s",
        "query_user": "SELECT secret AS password, quota AS quota_bytes, active, networks, "
                      "connections AS max_connections FROM people WHERE local = :local",
        "query_domain": "SELECT 1 AS active FROM domains WHERE name = :domain",
        "query_alias": "SELECT NULL AS target FROM domains WHERE name = :address",
        "query_domain_alias": "SELECT NULL AS target FROM domains WHERE name = :domain || 'x'"})
    try:
        for local, (_, wanted) in ODD.items():
            answer = log_in(roost, f"{local}@example.test")[1]
            assert wanted in answer and bool(wanted) == bool(answer), (local, answer)
        assert log_in(roost, "bare@example.test", "{PLAIN" + PASSWORD)[1] != ""
        assert roost.process.poll() is None
    finally:
        roost.close()


NAMES = ["' OR '1'='1", "alice@example.test' --", "alice@example.test'; DROP TABLE mailbox; --", "$1", ":local",
         "alice\\\\' OR 1=1", "%", "alice%@example.test", "_____@example.test"]


def test_names_are_data(roost):
    for name in NAMES:
        assert "AUTHENTICATIONFAILED" in log_in(roost, f'"{name}"')[1], name
    assert log_in(roost, "alice@example.test")[1] == ""
