# SPDX-License-Identifier: MIT
"""Domains and users in SQL: PostfixAdmin's tables, changes made in the database itself, bulk, failover."""

import contextlib
import email.policy
import imaplib
import os
import poplib
import re
import smtplib
import sqlite3
import subprocess
import threading
import time

import psycopg2
import pytest
from conftest import database_numbers, tls_context
from mail_helpers import make_message, wait_for_subject
from roost_instance import BUILD, PASSWORD, TOP, Postgres, Roost, wait_until

# The columns that PostfixAdmin 3.3 has in PostgreSQL.
POSTFIXADMIN = """
CREATE TABLE domain (domain varchar(255) PRIMARY KEY, description varchar(255) NOT NULL DEFAULT '',
    aliases integer NOT NULL DEFAULT 0, mailboxes integer NOT NULL DEFAULT 0, maxquota bigint NOT NULL DEFAULT 0,
    quota bigint NOT NULL DEFAULT 0, transport varchar(255), backupmx boolean NOT NULL DEFAULT false,
    created timestamptz DEFAULT now(), modified timestamptz DEFAULT now(), active boolean NOT NULL DEFAULT true,
    password_expiry integer DEFAULT 0);
CREATE TABLE mailbox (username varchar(255) PRIMARY KEY, password varchar(255) NOT NULL DEFAULT '',
    name varchar(255) NOT NULL DEFAULT '', maildir varchar(255) NOT NULL DEFAULT '', quota bigint NOT NULL DEFAULT 0,
    created timestamptz DEFAULT now(), modified timestamptz DEFAULT now(), active boolean NOT NULL DEFAULT true,
    domain varchar(255) REFERENCES domain (domain), local_part varchar(255) NOT NULL,
    phone varchar(30) NOT NULL DEFAULT '', email_other varchar(255) NOT NULL DEFAULT '',
    token varchar(255) NOT NULL DEFAULT '', token_validity timestamptz DEFAULT '2000-01-01',
    password_expiry timestamptz DEFAULT '2000-01-01');
CREATE TABLE alias (address varchar(255) PRIMARY KEY, goto text NOT NULL,
    domain varchar(255) NOT NULL REFERENCES domain (domain), created timestamptz DEFAULT now(),
    modified timestamptz DEFAULT now(), active boolean NOT NULL DEFAULT true);
CREATE TABLE alias_domain (alias_domain varchar(255) PRIMARY KEY REFERENCES domain (domain) ON DELETE CASCADE,
    target_domain varchar(255) NOT NULL REFERENCES domain (domain) ON DELETE CASCADE,
    created timestamptz DEFAULT now(), modified timestamptz DEFAULT now(), active boolean NOT NULL DEFAULT true);
INSERT INTO domain (domain) VALUES ('ALL'), ('site.test'), ('other.test');
INSERT INTO domain (domain, active) VALUES ('closed.test', false);
INSERT INTO domain (domain, backupmx) VALUES ('backup.test', true);
INSERT INTO alias_domain (alias_domain, target_domain) VALUES ('other.test', 'site.test');
"""


def hashed(option):
    return subprocess.run(["openssl", "passwd", option, "-stdin"], input=PASSWORD, capture_output=True, text=True,
                          check=True).stdout.strip()


def sql(dsn, *statements):
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(*((statement,) if isinstance(statement, str) else statement))


def new_database(server):
    name = f"directory{next(database_numbers)}"
    server.create_database(name)
    return server.dsn(name)


def can_log_in(roost, user, password=PASSWORD):
    with imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost), timeout=30) as client:
        try:
            client.login(f'"{user}"', password)
        except imaplib.IMAP4.error as e:
            assert "UNAVAILABLE" not in str(e), e
            return False
        return True


def rcpt_code(roost, address):
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"]) as client:
        client.ehlo("client.example.org")
        client.mail("sender@example.org")
        return client.rcpt(address)[0]


# ---- PostfixAdmin ----


def add_mailbox(dsn, address, password, quota=0, active=True, goto=None):
    local, domain = address.split("@")
    sql(dsn,
        ("INSERT INTO mailbox (username, password, name, maildir, quota, active, domain, local_part) "
         "VALUES (%s, %s, 'Some One', %s, %s, %s, %s, %s)",
         (address, password, f"{domain}/{local}/", quota, active, domain, local)),
        ("INSERT INTO alias (address, goto, domain, active) VALUES (%s, %s, %s, %s)",
         (address, goto or address, domain, active)))


@pytest.fixture(scope="module")
def site(postgres):
    """An instance on PostfixAdmin's tables; its .dsn is that of the database."""
    dsn = new_database(postgres)
    sql(dsn, POSTFIXADMIN)
    roost = Roost(db="postgresql", dsn=dsn, users=(), domain=None,
                  settings={"directory_schema": "postfixadmin", "allow_weak_schemes": "yes",
                            "lmtp_create_mailbox": "yes", "mynetworks": []})
    roost.dsn = dsn
    yield roost
    roost.close()


def test_postfixadmin_passwords(site):
    stored = {"sha": hashed("-6"), "prefixed": "{SHA512-CRYPT}" + hashed("-6"), "crypt": "{CRYPT}" + hashed("-5"),
              "md5": hashed("-1"), "md5crypt": "{CRYPT}" + hashed("-1")}
    for local, password in stored.items():
        add_mailbox(site.dsn, f"{local}@site.test", password)
        assert can_log_in(site, f"{local}@site.test"), local
        assert not can_log_in(site, f"{local}@site.test", "another"), local
    assert can_log_in(site, "sha@other.test"), "by the name of an alias domain"
    add_mailbox(site.dsn, "off@site.test", hashed("-6"), active=False)
    add_mailbox(site.dsn, "shut@closed.test", hashed("-6"))
    assert not can_log_in(site, "off@site.test")
    assert not can_log_in(site, "shut@closed.test")


def test_postfixadmin_mail(site):
    add_mailbox(site.dsn, "anna@site.test", hashed("-6"), quota=1048576)
    add_mailbox(site.dsn, "ben@site.test", hashed("-6"), goto="ben@site.test,anna@site.test")
    sql(site.dsn, "INSERT INTO alias (address, goto, domain) VALUES ('team@site.test', "
                  "'anna@site.test,ben@site.test', 'site.test'), ('gone@site.test', 'anna@site.test', 'site.test')",
        "UPDATE alias SET active = false WHERE address = 'gone@site.test'")
    codes = {a: rcpt_code(site, a) for a in
             ["anna@site.test", "anna@other.test", "team@site.test", "gone@site.test", "nobody@site.test",
              "x@closed.test", "x@backup.test", "x@all"]}
    good = {"anna@site.test", "anna@other.test", "team@site.test"}
    assert {a for a, code in codes.items() if code == 250} == good, codes
    assert all(code // 100 == 5 for a, code in codes.items() if a not in good), codes
    sql(site.dsn, "INSERT INTO alias (address, goto, domain) VALUES ('@site.test', 'anna@site.test', 'site.test')")
    assert rcpt_code(site, "nobody@site.test") == 250, "the catch-all"
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"]) as client:
        client.sendmail("sender@example.org", ["ben@site.test", "anna+notes@other.test"],
                        make_message(subject="from the table").as_bytes(policy=email.policy.SMTP))
    with imaplib.IMAP4_SSL("localhost", site.ports["imaps"], ssl_context=tls_context(site), timeout=30) as client:
        client.login("anna@site.test", PASSWORD)
        wait_for_subject(client, "from the table")
        wait_for_subject(client, "from the table", "notes")  # an alias to oneself keeps the detail
        assert b" 1024)" in client.getquotaroot("INBOX")[1][1][0]
    assert (site.home("anna", "site.test")).is_dir()


def test_postfixadmin_is_only_read(site):
    add_mailbox(site.dsn, "carl@site.test", hashed("-6"), quota=5000)
    shown = site.ctl("user", "show", "carl@site.test")
    assert (shown["name"], shown["quota_bytes"], shown["active"]) == ("Some One", 5000, True)
    assert "carl@site.test" in [u["address"] for u in site.ctl("user", "list", "site.test")]
    domains = {d["domain"]: d["active"] for d in site.ctl("domain", "list")}
    assert domains == {"site.test": True, "closed.test": False}
    assert site.ctl("domain-alias", "list") == [{"alias": "other.test", "target": "site.test", "active": True}]
    assert all(a["address"] != "carl@site.test" for a in site.ctl("alias", "list"))
    for words in [("user", "add", "new@site.test", "--password", "x1"), ("user", "remove", "carl@site.test"),
                  ("user", "set", "carl@site.test", "--active", "no"), ("domain", "add", "new.test"),
                  ("domain", "remove", "site.test"), ("alias", "add", "a@site.test", "b@site.test"),
                  ("domain-alias", "add", "x.test", "site.test")]:
        status, document, message = site.ctl(*words, check=False)
        assert status == 1 and "PostfixAdmin" in message and document["error"], (words, status, message)
    assert can_log_in(site, "carl@site.test")


def test_postfixadmin_without_its_tables(postgres):
    """An empty database is not filled with tables of ours; all is a temporary failure."""
    dsn = new_database(postgres)
    roost = Roost(db="postgresql", dsn=dsn, users=(), domain=None, settings={"directory_schema": "postfixadmin"})
    try:
        assert rcpt_code(roost, "x@site.test") == 451
        with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            assert cursor.fetchone() == (0,)
        sql(dsn, POSTFIXADMIN)
        wait_until(lambda: rcpt_code(roost, "x@site.test") == 550, what="the tables are used")
    finally:
        roost.close()


# ---- changes made in the database itself ----


def is_watched(roost):
    return any(s.get("database_watched") for s in roost.ctl("status"))


def assert_a_change_counts(roost, dsn, user, statement):
    """The statement sets another password; the old one is in the cache for an hour."""
    wait_until(lambda: is_watched(roost), what="roost-auth listens")
    assert can_log_in(roost, user)
    new = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input="another 7", capture_output=True, text=True,
                         check=True).stdout.strip()
    sql(dsn, (statement, (new,)))
    wait_until(lambda: not can_log_in(roost, user), what="the old password fails")
    assert can_log_in(roost, user, "another 7")


def test_a_change_in_the_database(make_instance):
    roost = make_instance("postgresql", settings={"auth_cache_ttl": "1h", "login_delay_max": "0s"})
    dsn = roost.settings["postgresql"]
    assert_a_change_counts(roost, dsn, "alice@example.test",
                                   "UPDATE mailbox SET password = %s WHERE local = 'alice'")
    assert can_log_in(roost, "bob@example.test")
    sql(dsn, "UPDATE domain SET active = 0")
    wait_until(lambda: not can_log_in(roost, "bob@example.test"), what="the domain is off")


def test_a_change_in_postfixadmin(site):
    watch = TOP / "src" / "auth" / "postfixadmin_watch.sql"
    sql(site.dsn, watch.read_text())
    add_mailbox(site.dsn, "dora@site.test", hashed("-6"))
    assert_a_change_counts(site, site.dsn, "dora@site.test",
                                   "UPDATE mailbox SET password = %s WHERE username = 'dora@site.test'")


def test_a_change_that_nobody_tells_of(postgres):
    """PostfixAdmin without its triggers: the administrator says so."""
    dsn = new_database(postgres)
    sql(dsn, POSTFIXADMIN)
    roost = Roost(db="postgresql", dsn=dsn, users=(), domain=None,
                  settings={"directory_schema": "postfixadmin", "auth_cache_ttl": "1h", "login_delay_max": "0s"})
    try:
        users = ["anna@site.test", "ben@site.test"]
        for user in users:
            add_mailbox(dsn, user, hashed("-6"))
            assert can_log_in(roost, user)
        sql(dsn, "UPDATE mailbox SET active = false")
        assert [can_log_in(roost, user) for user in users] == [True, True], "remembered"
        roost.ctl("cache-flush", users[0])
        assert [can_log_in(roost, user) for user in users] == [False, True]
        roost.ctl("cache-flush")
        assert [can_log_in(roost, user) for user in users] == [False, False]
        status, _, message = roost.ctl("db", "upgrade", check=False)
        assert status == 1 and "another program's" in message
    finally:
        roost.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_schema_is_upgraded(make_instance, kind):
    """Also under a running server, when an older dump was restored."""
    roost = make_instance(kind)
    now = roost.ctl("db", "init")
    assert now["database"] == kind and now["version"] >= 7
    older = "UPDATE schema_version SET version = 6"
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(roost.state / "db" / "roost.db")) as db:
            db.execute(older)
            db.commit()
    else:
        sql(roost.settings["postgresql"], older + "; DROP TRIGGER roost_directory_changed ON alias")
    assert roost.ctl("db", "upgrade") == now
    assert can_log_in(roost, "alice@example.test")
    if kind == "postgresql":
        wait_until(lambda: any(s.get("lookups_remembered") for s in roost.ctl("status")), what="the trigger is back")


def test_aliases_lose_single_targets(roost):
    alias = "several@example.test"
    roost.ctl("alias", "add", alias, "alice@example.test", "bob@example.test", "carl@elsewhere.test")

    def targets():
        return next((a["targets"] for a in roost.ctl("alias", "list") if a["address"] == alias), None)

    roost.ctl("alias", "remove", alias, "bob@example.test")
    assert targets() == ["alice@example.test", "carl@elsewhere.test"]
    assert roost.ctl("alias", "remove", alias, "bob@example.test", check=False)[0] == 1
    roost.ctl("alias", "remove", alias)
    assert targets() is None


def test_a_change_while_nobody_listens():
    server = Postgres()
    server.create_database("watch")
    roost = Roost(db="postgresql", dsn=server.dsn("watch"), settings={"auth_cache_ttl": "1h", "db_timeout": "1s",
                                                                      "login_delay_max": "0s"})
    try:
        wait_until(lambda: is_watched(roost), what="roost-auth listens")
        assert can_log_in(roost, "alice@example.test")
        server.stop()
        wait_until(lambda: not is_watched(roost), what="the loss is seen")
        assert can_log_in(roost, "alice@example.test"), "from the cache"
        server.start()
        sql(server.dsn("watch"), "UPDATE mailbox SET active = 0")
        wait_until(lambda: not can_log_in(roost, "alice@example.test"), what="the change counts")
    finally:
        roost.close()
        server.close()


# ---- app passwords, protocols and networks, masters ----


def can_log_in_pop3(roost, user, password=PASSWORD):
    client = poplib.POP3_SSL("localhost", roost.ports["pop3s"], context=tls_context(roost), timeout=30)
    try:
        client.user(user)
        client.pass_(password)
    except poplib.error_proto as e:
        assert b"SYS/TEMP" not in e.args[0], e
        return False
    finally:
        client.close()
    return True


def can_submit(roost, user, password=PASSWORD):
    with smtplib.SMTP_SSL("localhost", roost.ports["submissions"], context=tls_context(roost), timeout=60) as client:
        try:
            client.login(user, password)
        except smtplib.SMTPAuthenticationError as e:
            assert e.smtp_code == 535, e
            return False
    return True


def test_app_passwords(roost, user):
    made = roost.ctl("user", "app-password", "add", user, "--name", "phone", "--protocols", "IMAP, smtp")
    phone = made["password"]
    assert re.fullmatch(r"([a-z2-7]{6}-){3}[a-z2-7]{6}", phone)
    assert can_log_in(roost, user, phone) and can_submit(roost, user, phone)
    assert can_log_in(roost, user, phone.replace("-", "").upper()), "as people type it"
    assert not can_log_in_pop3(roost, user, phone)
    assert not can_log_in(roost, user, phone[:-1] + ("a" if phone[-1] != "a" else "b"))
    assert can_log_in_pop3(roost, user), "the person's own goes on"
    assert f"user={user} app=phone" in roost.log()
    elsewhere = roost.ctl("user", "app-password", "add", user, "--name", "office", "--networks", "192.0.2.0/24")
    here = roost.ctl("user", "app-password", "add", user, "--name", "here", "--networks", "127.0.0.0/8 ::1")
    old = roost.ctl("user", "app-password", "add", user, "--name", "old", "--expires", "2020-01-31")
    later = roost.ctl("user", "app-password", "add", user, "--name", "later", "--expires", "2d")
    passwords = [p["password"] for p in (elsewhere, here, old, later)]
    assert [can_log_in(roost, user, p) for p in passwords] == [False, True, False, True]

    def app_passwords():
        return {p["name"]: p for p in roost.ctl("user", "app-password", "list", user)}

    wait_until(lambda: app_passwords()["later"]["last_used"], what="the last use is recorded")
    listed = app_passwords()
    assert sorted(listed) == ["here", "later", "office", "old", "phone"]
    assert listed["phone"]["protocols"] == "imap smtp" and abs(listed["phone"]["last_used"] - time.time()) < 60
    assert listed["office"]["last_used"] is None and listed["old"]["expires"] == 1580428800
    assert "password" not in listed["phone"]
    roost.ctl("user", "app-password", "remove", user, "--name", "phone")
    assert not can_log_in(roost, user, phone), "at once"
    roost.ctl("user", "set", user, "--active", "no")
    assert not can_log_in(roost, user, here["password"])
    assert phone not in roost.log()


OWN_SCHEMA = {
    "query_user": "SELECT secret AS password FROM people WHERE address = :address",
    "query_domain": "SELECT 1 AS active FROM domains WHERE name = :domain",
    "query_alias": "SELECT NULL AS target FROM domains WHERE name = :address",
    "query_domain_alias": "SELECT NULL AS target FROM domains WHERE name = :domain || 'x'"}
OWN_APP_PASSWORDS = {
    "query_app_passwords": "SELECT label AS name, secret AS password, place AS networks, until AS expires, "
                           "seen AS last_used, seen_from AS last_used_ip FROM keys WHERE address = :address",
    "query_app_password_used": "UPDATE keys SET seen = :now, seen_from = :ip || ' ' || :protocols "
                               "WHERE address = :address AND label = :name",
    "query_app_password_add": "INSERT INTO keys (address, label, secret, place, until) VALUES "
                              "(:address, :name, :password, :networks, :expires)",
    "query_app_password_remove": "DELETE FROM keys WHERE address = :local || '@' || :domain AND label = :name"}


def test_app_passwords_in_a_schema_of_somebody_elses(postgres):
    user = "anna@own.test"
    dsn = new_database(postgres)
    sql(dsn, "CREATE TABLE people (address text, secret text)", "CREATE TABLE domains (name text)",
        "INSERT INTO domains VALUES ('own.test')", f"INSERT INTO people VALUES ('{user}', '{hashed('-6')}')",
        "CREATE TABLE keys (address text, label text, secret text, place text, until bigint, seen bigint, seen_from text)")
    roost = Roost(db="postgresql", dsn=dsn, users=(), domain=None, settings={"login_delay_max": "0s", **OWN_SCHEMA})
    try:
        assert can_log_in(roost, user)
        for words, setting in ((["add", user, "--name", "x"], "query_app_password_add"),
                               (["list", user], "query_app_passwords"),
                               (["remove", user, "--name", "x"], "query_app_password_remove")):
            status, _, message = roost.ctl("user", "app-password", *words, check=False)
            assert status == 1 and setting in message, (words, message)
        roost.settings.update(OWN_APP_PASSWORDS)
        roost.stop()
        roost.write_conf()
        roost.start()
        phone = roost.ctl("user", "app-password", "add", user, "--name", "phone")["password"]
        away = roost.ctl("user", "app-password", "add", user, "--name", "away", "--networks", "192.0.2.0/24")["password"]
        old = roost.ctl("user", "app-password", "add", user, "--name", "old", "--expires", "2020-01-31")["password"]
        assert can_log_in(roost, user) and f"user={user} app=" not in roost.log()
        assert [can_log_in(roost, user, p) for p in (phone, away, old)] == [True, False, False]
        assert f"user={user} app=phone" in roost.log()

        def listed():
            return {p["name"]: p for p in roost.ctl("user", "app-password", "list", user)}

        wait_until(lambda: listed()["phone"]["last_used"], what="the last use is recorded")
        assert listed()["phone"]["last_used_ip"] == "127.0.0.1 imap" and listed()["old"]["expires"] == 1580428800
        roost.ctl("user", "app-password", "remove", user, "--name", "phone")
        assert not can_log_in(roost, user, phone) and set(listed()) == {"away", "old"}
    finally:
        roost.close()


def test_app_password_arguments(roost, user):
    def fails(*words):
        status, _, message = roost.ctl("user", "app-password", *words, check=False)
        assert status not in (0, 75), words
        return message

    roost.ctl("user", "app-password", "add", user, "--name", "one")
    assert "already" in fails("add", user, "--name", "one")
    assert "no user" in fails("add", "nobody@example.test", "--name", "one")
    assert "gopher" in fails("add", user, "--name", "two", "--protocols", "imap gopher")
    assert "300.1.1.1" in fails("add", user, "--name", "two", "--networks", "300.1.1.1")
    assert "--expires" in fails("add", user, "--name", "two", "--expires", "soon")
    assert "no app password" in fails("remove", user, "--name", "two")
    assert fails("add", user) and fails("grow", user)


def test_protocols_and_networks_of_a_user(roost, user):
    roost.ctl("user", "set", user, "--protocols", "pop3")
    assert [f(roost, user) for f in (can_log_in, can_log_in_pop3, can_submit)] == [False, True, False]
    assert "reason=protocol" in roost.log()
    app = roost.ctl("user", "app-password", "add", user, "--name", "all")["password"]
    assert not can_log_in(roost, user, app)
    roost.ctl("user", "set", user, "--protocols", "", "--networks", "192.0.2.7")
    assert not can_log_in(roost, user) and not can_log_in_pop3(roost, user)
    roost.ctl("user", "set", user, "--networks", "127.0.0.1 ::1")
    assert can_log_in(roost, user)
    shown = roost.ctl("user", "show", user)
    assert (shown["protocols"], shown["networks"]) == ("", "127.0.0.1 ::1")


def test_master_users(make_instance):
    roost = make_instance(settings={"auth_master_user_separator": "*", "master_users": ["Bob@example.test"],
                                    "login_delay_max": "0s"}, users=("alice",))
    roost.add_user("bob", password="master 5")
    roost.add_user("carol", password="carol 5")
    alice = "alice@example.test"
    assert can_log_in(roost, f"{alice}*bob@example.test", "master 5")
    assert f"auth.login ok user={alice} master=bob@example.test" in roost.log()
    assert can_log_in_pop3(roost, f"{alice}*bob@example.test", "master 5")
    app = roost.ctl("user", "app-password", "add", "bob@example.test", "--name", "x")["password"]
    for name, password in [(f"{alice}*bob@example.test", PASSWORD), (f"{alice}*bob@example.test", app),
                           (f"{alice}*carol@example.test", "carol 5"), ("nobody@example.test*bob@example.test", "master 5"),
                           (f"{alice}*", "master 5"), ("*bob@example.test", "master 5"), (alice, "master 5")]:
        assert not can_log_in(roost, name, password), name
    assert can_log_in(roost, alice)
    roost.ctl("user", "set", "bob@example.test", "--active", "no")
    assert not can_log_in(roost, f"{alice}*bob@example.test", "master 5")


# ---- many at once ----


def run_ctl(roost, *words):
    """Without --json: (exit status, standard output, standard error)."""
    result = subprocess.run([BUILD / "roostctl", "-c", roost.conf, *map(str, words)], capture_output=True, text=True,
                            timeout=60, stdin=subprocess.DEVNULL)
    return result.returncode, result.stdout, result.stderr


def test_import_and_export(own_roost, tmp_path):
    roost = own_roost
    files = {"domain": "domain,active\nbulk.test,\nshut.test,no\n",
             "user": "address,password,password_hash,name,quota_bytes,active,protocols\r\n"
                     f'ann@bulk.test,{PASSWORD},,"Ann ""A"", B.",2M,yes,\r\n'
                     f"\r\nben@bulk.test,,{hashed('-6')},,,,imap smtp\r\n"
                     f"cid@bulk.test,{PASSWORD},,,0,no,\r\n",
             "alias": "address,targets\nteam@bulk.test,ann@bulk.test ben@bulk.test\n",
             "domain-alias": '[{"alias": "b.test", "target": "bulk.test"}]'}
    for noun, text in files.items():
        path = tmp_path / (noun + (".json" if text[0] == "[" else ".csv"))
        path.write_text(text, newline="")
        assert roost.ctl(noun, "import", path)["imported"] >= 1
    assert [can_log_in(roost, f"{u}@bulk.test") for u in ("ann", "ben", "cid")] == [True, True, False]
    assert can_log_in_pop3(roost, "ann@b.test") and not can_log_in_pop3(roost, "ben@bulk.test")
    assert rcpt_code(roost, "team@b.test") == 250
    status, csv_text, _ = run_ctl(roost, "user", "export")
    assert status == 0 and "$6$" not in csv_text
    assert 'ann@bulk.test,"Ann ""A"", B.",2097152,,,yes,,' in csv_text
    # What comes out goes in elsewhere, hashes too.
    kept = {}
    for noun in files:
        for form in ("csv", "json"):
            words = ["--with-hashes"] if noun == "user" else []
            kept[noun, form] = tmp_path / f"out-{noun}.{form}"
            kept[noun, form].write_text(run_ctl(roost, noun, "export", "--format", form, *words)[1])
    for form in ("csv", "json"):
        for domain in ("b.test", "bulk.test", "shut.test", "example.test"):
            if domain == "b.test":
                roost.ctl("domain-alias", "remove", domain)
            else:
                roost.ctl("domain", "remove", domain, "--force")
        assert roost.ctl("user", "list") == []
        for noun in files:
            roost.ctl(noun, "import", kept[noun, form])
            assert run_ctl(roost, noun, "export", "--format", "csv", *(["--with-hashes"] if noun == "user" else []))[1] \
                == kept[noun, "csv"].read_text()
        assert [can_log_in(roost, f"{u}@bulk.test") for u in ("ann", "ben", "cid")] == [True, True, False]


@pytest.mark.parametrize("row, why", [
    ("alice@example.test,pw1 pw1", "line 3: alice@example.test is there already"),
    ("x2@elsewhere.test,pw1 pw1", "line 3: there is no domain"),
    ("not an address,pw1 pw1", "line 3: \"not an address\""),
    ("x2@example.test", "line 3"),
    ('x2@example.test,"pw', "line 3"),
    ("x2@example.test,", "line 3: \"password\" is missing"),
])
def test_an_import_is_all_or_nothing(roost, tmp_path, row, why):
    path = tmp_path / "users.csv"
    path.write_text(f"address,password\nx1@example.test,pw1 pw1\n{row}\n")
    status, _, message = roost.ctl("user", "import", path, check=False)
    assert status not in (0, 75) and why in message, message
    assert roost.ctl("user", "show", "x1@example.test", check=False)[0] != 0
    path.write_text("address,colour\nx1@example.test,blue\n")
    assert "colour" in roost.ctl("user", "import", path, check=False)[2]


# ---- several servers, many users ----


def test_a_second_server_takes_over():
    """The first of two servers is killed under load: temporary failures at most, then the second answers."""
    first, second = Postgres(), Postgres()
    roost = None
    try:
        for server in (first, second):
            server.create_database("two")
        dsn = f"host=127.0.0.1,127.0.0.1 port={first.port},{second.port} user=roost dbname=two"
        roost = Roost(db="postgresql", dsn=dsn, settings={"auth_cache_ttl": "0s", "db_timeout": "1s"})
        copy = subprocess.run([first.bin / "pg_dump", "--clean", first.dsn("two")], capture_output=True, check=True)
        subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=0", second.dsn("two")], input=copy.stdout,
                       capture_output=True, check=True)
        answers, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                answers.append((time.monotonic(), rcpt_code(roost, "alice@example.test")))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: len(answers) > 20, what="some answers")
            killed = time.monotonic()
            first.stop()
            wait_until(lambda: sum(t > killed + 1 for t, _ in answers) > 20, what="answers of the second")
            second.stop()
            wait_until(lambda: answers[-1][1] == 451, what="nobody answers")
            second.start()
            wait_until(lambda: answers[-1][1] == 250, what="the second is back")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert {code for _, code in answers} <= {250, 451}, "never: no such user"
        assert can_log_in(roost, "alice@example.test")
    finally:
        if roost:
            roost.close()
        first.close()
        second.close()


def test_lookups_use_the_index(postgres, make_instance):
    """What a look-up costs does not grow with the users; LARGE_DIRECTORY=1000000 for the full size."""
    count = int(os.environ.get("LARGE_DIRECTORY", "20000"))
    roost = make_instance("postgresql")
    dsn = roost.settings["postgresql"]
    sql(dsn, "INSERT INTO mailbox (domain, local, password) SELECT 'example.test', 'many' || n, '{SHA512-CRYPT}x' "
             f"FROM generate_series(1, {count}) n",
        "INSERT INTO alias (domain, local, target) SELECT 'example.test', 'list' || n, 'alice@example.test' "
        f"FROM generate_series(1, {count}) n",
        "INSERT INTO app_password (domain, local, name, password) SELECT 'example.test', 'many' || n, 'x', 'y' "
        f"FROM generate_series(1, {count}) n", "ANALYZE")
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        for table in ("mailbox", "alias", "app_password"):
            cursor.execute(f"EXPLAIN SELECT * FROM {table} WHERE domain = 'example.test' AND local = 'many77'")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Index" in plan and "Seq Scan" not in plan, plan
    for n in range(1, 101):
        assert rcpt_code(roost, f"list{n}@example.test") == 250


@pytest.mark.parametrize("words, offered", [
    (["user", "app"], {"app-password"}),
    (["-c", "/x.conf", "user", "export", "--"], {"--format", "--with-hashes"}),
    (["domain"], {"domain", "domain-alias"}),
    (["alias", "im"], {"import"}),
])
def test_completion(words, offered):
    script = subprocess.run([BUILD / "roostctl", "--completion"], capture_output=True, text=True, check=True).stdout
    script += f'COMP_WORDS=(roostctl {" ".join(words)}); COMP_CWORD={len(words)}; _roostctl; echo "${{COMPREPLY[@]}}"\n'
    out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(out.stdout.split()) == offered and not out.stderr
