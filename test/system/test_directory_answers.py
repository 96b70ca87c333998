# SPDX-License-Identifier: MIT
"""Answers of the directory that are remembered: each change counts at the next recipient, however it was made."""

import contextlib
import os
import re
import signal
import smtplib
import socket
import sqlite3
import subprocess

import psycopg2
import pytest
from conftest import database_numbers
from roost_instance import DOMAIN, TOP, Postgres, Roost, wait_until
from test_directory import POSTFIXADMIN, add_mailbox, hashed, sql

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
LONG = {"auth_cache_ttl": "1h", "mynetworks": []}


@contextlib.contextmanager
def lmtp(roost):
    """A connection that stays; what is asked over it again and again is its function."""
    with smtplib.LMTP("127.0.0.1", roost.ports["lmtp"]) as client:
        client.ehlo("client.example.org")

        def code(address):
            client.rset()
            client.mail("sender@example.org")
            return client.rcpt(address)[0]

        yield code


def smtp_code(roost, address):
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.ehlo("client.example.org")
        client.mail("sender@example.org")
        return client.rcpt(address)[0]


def auth_status(roost):
    return next(s for s in roost.ctl("status") if "lookups_known" in s)


def known(roost):
    return auth_status(roost)["lookups_known"]


def wait_for_watch(roost):
    wait_until(lambda: auth_status(roost)["lookups_remembered"], what="changes are heard of")


def assert_remembered(roost, ask, address, code):
    """Asked twice, the second answer is a remembered one."""
    assert ask(address) == code, address
    before = known(roost)
    assert ask(address) == code, address
    assert known(roost) > before, address


@pytest.fixture(scope="module")
def site(postgres):
    name = f"answers{next(database_numbers)}"
    postgres.create_database(name)
    roost = Roost(db="postgresql", dsn=postgres.dsn(name), settings=LONG)
    roost.dsn = postgres.dsn(name)
    roost.ctl("domain", "add", "other.test")
    wait_for_watch(roost)
    yield roost
    roost.close()


@pytest.fixture(params=["postgresql", "sqlite"])
def either(request, make_instance):
    """With SQLite nobody would tell of a change, so that nothing is remembered."""
    roost = make_instance(request.param, settings=LONG)
    if request.param == "postgresql":
        wait_for_watch(roost)
    return roost


def test_changes_by_roostctl(either):
    roost = either
    with lmtp(roost) as ask:
        def both(address):
            return ask(address), smtp_code(roost, address)

        def twice(address, *codes):
            assert both(address) == codes, address
            assert both(address) == codes, address

        twice(ALICE, 250, 250)
        roost.ctl("user", "set", ALICE, "--active", "no")
        twice(ALICE, 550, 550)
        roost.ctl("user", "set", ALICE, "--active", "yes")
        twice(ALICE, 250, 250)
        twice(f"carol@{DOMAIN}", 550, 550)
        roost.add_user("carol")
        twice(f"carol@{DOMAIN}", 250, 250)
        twice(f"carol+notes@{DOMAIN}", 250, 250)
        roost.ctl("user", "remove", f"carol@{DOMAIN}")
        twice(f"carol@{DOMAIN}", 550, 550)
        twice(f"carol+notes@{DOMAIN}", 550, 550)
        # Aliases are smtpd's.
        twice(f"team@{DOMAIN}", 550, 550)
        roost.ctl("alias", "add", f"team@{DOMAIN}", BOB)
        twice(f"team@{DOMAIN}", 550, 250)
        roost.ctl("alias", "remove", f"team@{DOMAIN}")
        twice(f"team@{DOMAIN}", 550, 550)
        roost.ctl("alias", "add", f"@{DOMAIN}", BOB)
        twice(f"anybody@{DOMAIN}", 550, 250)
        roost.ctl("alias", "remove", f"@{DOMAIN}")
        twice(f"anybody@{DOMAIN}", 550, 550)
        twice("bob@second.test", 550, 554)
        roost.ctl("domain-alias", "add", "second.test", DOMAIN)
        twice("bob@second.test", 250, 250)
        roost.ctl("domain-alias", "remove", "second.test")
        twice("bob@second.test", 550, 554)
        roost.ctl("user", "set", BOB, "--host", "mail.example.net")
        assert [ask(BOB), ask(BOB)] == [450, 450], "his mail is elsewhere"
        roost.ctl("user", "set", BOB, "--host", "")
        twice(BOB, 250, 250)
        roost.ctl("domain", "set", DOMAIN, "--active", "no")
        twice(BOB, 550, 550)
        roost.ctl("domain", "set", DOMAIN, "--active", "yes")
        twice(BOB, 250, 250)


def pipelined(roost, addresses, break_in=lambda: None):
    """(code, address) of each reply to recipients that are sent at once; break_in is called before that."""
    with socket.create_connection(("127.0.0.1", roost.ports["lmtp"]), timeout=60) as s, s.makefile("rb") as replies:
        def reply():
            while (line := replies.readline())[3:4] == b"-":
                pass
            return line

        reply()
        s.sendall(b"LHLO client.example.org\r\nMAIL FROM:<sender@example.org>\r\n")
        assert [reply()[:3], reply()[:3]] == [b"250", b"250"]
        break_in()
        s.sendall(b"".join(b"RCPT TO:<%s>\r\n" % a.encode() for a in addresses) + b"RSET\r\n")
        lines = [reply() for _ in addresses]
        assert reply()[:3] == b"250"
        return [(int(line[:3]), re.search(b"<(.*)>", line)[1].decode()) for line in lines]


def test_pipelined_recipients(either):
    """Looked up together, answered one by one; also when roost-auth is killed in between."""
    roost = either
    addresses = [f"{('alice', 'nobody', 'bob')[n % 3]}@{DOMAIN}" for n in range(200)]
    expected = [(550 if a.startswith("nobody") else 250, a) for a in addresses]
    assert pipelined(roost, addresses) == expected
    assert pipelined(roost, addresses) == expected
    roost.ctl("user", "set", ALICE, "--active", "no")
    assert {code for code, a in pipelined(roost, addresses) if a == ALICE} == {550}
    roost.ctl("user", "set", ALICE, "--active", "yes")

    def kill_auth():
        pipelined(roost, [ALICE])
        for pid in roost.pids("roost-auth"):
            os.kill(pid, signal.SIGKILL)

    got = pipelined(roost, addresses, kill_auth)
    assert [a for _, a in got] == addresses
    assert all(code in (right, 451) for (code, _), (right, _) in zip(got, expected)), got
    wait_until(lambda: pipelined(roost, addresses) == expected, what="roost-auth is back")


def test_changes_in_sqlite_itself(make_instance):
    roost = make_instance("sqlite", settings=LONG)
    with lmtp(roost) as ask, contextlib.closing(sqlite3.connect(roost.state / "db" / "roost.db")) as db:
        for active, code in ((1, 250), (0, 550), (1, 250)):
            db.execute("UPDATE mailbox SET active = ? WHERE local = 'alice'", (active,))
            db.commit()
            assert [ask(ALICE), smtp_code(roost, ALICE), ask(ALICE)] == [code] * 3
    assert known(roost) == 0


def test_changes_in_a_file_of_users(make_instance, readable):
    users = readable / "users"
    users.write_text(f"{ALICE}:{{PLAIN}}secret1\n")
    users.chmod(0o644)
    roost = make_instance("postgresql", settings={**LONG, "passwd_file": users})
    with lmtp(roost) as ask:
        assert [ask(ALICE), ask(ALICE)] == [250, 250]
        users.write_text(f"{ALICE}:{{PLAIN}}secret1::::::nologin\n")
        assert [ask(ALICE), ask(ALICE)] == [550, 550]
    assert known(roost) == 0


# The statement, an address that it changes the answer for, the code at SMTP before and after, and what undoes it.
CHANGES = [
    ("UPDATE mailbox SET active = 0 WHERE local = 'alice'", ALICE, 250, 550, "UPDATE mailbox SET active = 1"),
    ("INSERT INTO mailbox (domain, local, password) VALUES ('example.test', 'dora', '')", f"dora@{DOMAIN}", 550, 250,
     "DELETE FROM mailbox WHERE local = 'dora'"),
    ("INSERT INTO alias (domain, local, target) VALUES ('example.test', 'staff', 'bob@example.test')",
     f"staff@{DOMAIN}", 550, 250, "DELETE FROM alias"),
    ("INSERT INTO alias (domain, local, target) VALUES ('example.test', '', 'bob@example.test')", f"any@{DOMAIN}", 550,
     250, "TRUNCATE alias"),
    ("UPDATE domain SET active = 0 WHERE name = 'example.test'", BOB, 250, 550, "UPDATE domain SET active = 1"),
    ("INSERT INTO domain_alias (alias, target) VALUES ('third.test', 'example.test')", "bob@third.test", 554, 250,
     "DELETE FROM domain_alias"),
    ("INSERT INTO domain (name) VALUES ('fourth.test'); "
     "INSERT INTO alias (domain, local, target) VALUES ('fourth.test', '', 'bob@example.test')", "x@fourth.test", 554, 250,
     "DELETE FROM alias; DELETE FROM domain WHERE name = 'fourth.test'"),
]


@pytest.mark.parametrize("change, address, before, after, undo", CHANGES)
def test_changes_in_postgresql_itself(site, change, address, before, after, undo):
    def ask(address):
        return smtp_code(site, address)

    assert_remembered(site, ask, address, before)
    sql(site.dsn, change)
    wait_until(lambda: ask(address) == after, what="the change counts")
    assert_remembered(site, ask, address, after)
    sql(site.dsn, undo)
    wait_until(lambda: ask(address) == before, what="the change back counts")


def test_a_login_changes_nothing(site):
    """Its time is written to the table, which is no reason to forget."""
    with lmtp(site) as ask:
        assert_remembered(site, ask, ALICE, 250)
        sql(site.dsn, "UPDATE mailbox SET last_login = 1 WHERE local = 'alice'")
        sql(site.dsn, "UPDATE mailbox SET active = 0 WHERE local = 'bob'")  # notices come in their order
        wait_until(lambda: ask(BOB) == 550, what="bob's change counts")
        sql(site.dsn, "UPDATE mailbox SET active = 1 WHERE local = 'bob'")
        wait_until(lambda: ask(BOB) == 250, what="bob is back")
        assert_remembered(site, ask, ALICE, 250)
        before = auth_status(site)
        sql(site.dsn, "UPDATE mailbox SET last_login = 2 WHERE local = 'alice'", "NOTIFY somebody_else")
        assert ask(ALICE) == 250
        assert auth_status(site)["answers"] >= before["answers"]


def test_quota_counts_at_once(site):
    """What is remembered is the limit; how full a mailbox is, is looked at each time."""
    with smtplib.LMTP("127.0.0.1", site.ports["lmtp"]) as client:
        client.ehlo("client.example.org")

        def code(size):
            client.rset()
            client.mail("sender@example.org", [f"SIZE={size}"])
            return client.rcpt(ALICE)[0]

        assert [code(50000), code(50000)] == [250, 250]
        site.ctl("quota", "set", ALICE, "--storage", 20000)
        assert [code(50000), code(50000), code(25000)] == [552, 552, 250]
        client.rset()
        client.sendmail("sender@example.org", [ALICE], b"Subject: half\r\n\r\n" + (b"x" * 70 + b"\r\n") * 150)
        assert [code(25000), code(100)] == [552, 250], "with the same limit, remembered"
        sql(site.dsn, "UPDATE mailbox SET quota_bytes = NULL WHERE local = 'alice'")
        wait_until(lambda: code(50000) == 250, what="the change counts")


def test_the_time_is_bounded(make_instance):
    """Without the triggers nobody tells; with them what is old is asked again all the same."""
    roost = make_instance("postgresql", settings={"auth_cache_ttl": "1s"})
    wait_for_watch(roost)
    with lmtp(roost) as ask:
        assert_remembered(roost, ask, ALICE, 250)
        sql(roost.settings["postgresql"], "SET session_replication_role = replica;"  # no triggers
                                          "UPDATE mailbox SET active = 0 WHERE local = 'alice'")
        wait_until(lambda: ask(ALICE) == 550, timeout=10, what="the answer is too old")


def test_without_triggers_nothing_is_remembered(make_instance):
    roost = make_instance("postgresql", settings=LONG)
    dsn = roost.settings["postgresql"]
    wait_for_watch(roost)
    with lmtp(roost) as ask:
        assert_remembered(roost, ask, ALICE, 250)
        sql(dsn, "ALTER TABLE alias DISABLE TRIGGER USER", "ALTER TABLE mailbox DISABLE TRIGGER USER")
        wait_until(lambda: not auth_status(roost)["lookups_remembered"], what="the loss is seen")
        sql(dsn, "UPDATE mailbox SET active = 0 WHERE local = 'alice'")
        assert ask(ALICE) == 550
        sql(dsn, "UPDATE mailbox SET active = 1 WHERE local = 'alice'")
        assert ask(ALICE) == 250
        sql(dsn, "ALTER TABLE alias ENABLE TRIGGER USER", "ALTER TABLE mailbox ENABLE TRIGGER USER")
        wait_for_watch(roost)
        assert_remembered(roost, ask, ALICE, 250)


def test_the_memory_is_bounded(make_instance):
    roost = make_instance("postgresql", settings={**LONG, "auth_cache_size": "64K"})
    wait_for_watch(roost)
    with lmtp(roost) as ask:
        for n in range(1000):
            assert ask(f"nobody{n}@{DOMAIN}") == 550
            assert n % 50 or ask(ALICE) == 250
        status = auth_status(roost)
        assert 100 < status["answers"] < 1000 and status["answers_bytes"] <= 65536
        assert_remembered(roost, ask, f"nobody999@{DOMAIN}", 550)
        before = known(roost)
        assert ask(ALICE) == 250 and known(roost) == before + 1, "what is used stays"
    roost.settings["auth_cache_size"] = 0
    roost.write_conf()
    roost.reload()
    wait_until(lambda: auth_status(roost)["answers"] == 0, what="what there was is gone")
    wait_for_watch(roost)
    with lmtp(roost) as ask:
        before = known(roost)
        assert [ask(ALICE), ask(ALICE)] == [250, 250]
        assert known(roost) == before and auth_status(roost)["answers"] == 0


def test_the_database_is_away():
    """Who was known a moment ago gets mail; nobody is told that somebody is unknown."""
    server = Postgres()
    server.create_database("answers")
    roost = Roost(db="postgresql", dsn=server.dsn("answers"), settings={**LONG, "db_timeout": "1s"})
    try:
        wait_for_watch(roost)
        with lmtp(roost) as ask:
            assert_remembered(roost, ask, ALICE, 250)
            assert_remembered(roost, ask, f"nobody@{DOMAIN}", 550)
            server.stop()
            wait_until(lambda: not auth_status(roost)["lookups_remembered"], what="the loss is seen")
            assert [ask(ALICE), ask(BOB), ask(f"nobody@{DOMAIN}")] == [250, 451, 451]
            server.start()
            sql(server.dsn("answers"), "UPDATE mailbox SET active = 0 WHERE local = 'alice'",
                f"INSERT INTO mailbox (domain, local, password) VALUES ('{DOMAIN}', 'nobody', '')")
            wait_until(lambda: ask(ALICE) != 250, what="the database is back")
            wait_until(lambda: [ask(ALICE), ask(BOB), ask(f"nobody@{DOMAIN}")] == [550, 250, 250],
                       what="what was missed counts")
    finally:
        roost.close()
        server.close()


def test_postfixadmin(postgres):
    """Its tables tell of changes when the triggers are there; until then nothing is remembered."""
    name = f"answers{next(database_numbers)}"
    postgres.create_database(name)
    dsn = postgres.dsn(name)
    sql(dsn, POSTFIXADMIN)
    roost = Roost(db="postgresql", dsn=dsn, users=(), domain=None,
                  settings={**LONG, "directory_schema": "postfixadmin", "mynetworks": []})
    try:
        add_mailbox(dsn, "anna@site.test", hashed("-6"))
        assert [smtp_code(roost, "anna@site.test") for _ in range(2)] == [250, 250]
        assert known(roost) == 0
        watch = TOP / "src" / "auth" / "postfixadmin_watch.sql"
        for _ in range(2):  # again after an update
            subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", watch, dsn], check=True, capture_output=True)
        wait_for_watch(roost)
        with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'roost_%'")
            assert cursor.fetchone() == (5,)

        def ask(address):
            return smtp_code(roost, address)

        for change, address, before, after in [
                ("UPDATE mailbox SET active = false", "anna@site.test", 250, 550),
                ("UPDATE mailbox SET active = true", "anna@site.test", 550, 250),
                ("INSERT INTO alias (address, goto, domain) VALUES ('t@site.test', 'anna@site.test', 'site.test')",
                 "t@site.test", 550, 250),
                ("UPDATE alias SET active = false WHERE address = 't@site.test'", "t@site.test", 250, 550),
                ("DELETE FROM alias_domain", "anna@other.test", 250, 550),
                ("UPDATE domain SET active = false WHERE domain = 'site.test'", "anna@site.test", 250, 550)]:
            assert_remembered(roost, ask, address, before)
            sql(dsn, change)
            wait_until(lambda: ask(address) == after, what=change)  # noqa: B023
    finally:
        roost.close()
