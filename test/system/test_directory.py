# SPDX-License-Identifier: MIT
"""Domains and users in SQL: PostfixAdmin's tables, changes made in the database itself, bulk, failover."""

import contextlib
import email.policy
import imaplib
import smtplib
import subprocess

import psycopg2
import pytest
from conftest import database_numbers, tls_context
from mail_helpers import make_message, wait_for_subject
from roost_instance import PASSWORD, TOP, Postgres, Roost, wait_until

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
            client.login(user, password)
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


def assert_changes_within_a_second(roost, dsn, user, statement):
    """The statement sets another password; the old one is in the cache."""
    wait_until(lambda: is_watched(roost), what="roost-auth listens")
    assert can_log_in(roost, user)
    new = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input="another 7", capture_output=True, text=True,
                         check=True).stdout.strip()
    sql(dsn, (statement, (new,)))
    wait_until(lambda: not can_log_in(roost, user), timeout=1, what="the old password fails")
    assert can_log_in(roost, user, "another 7")


def test_a_change_in_the_database(make_instance):
    roost = make_instance("postgresql", settings={"auth_cache_ttl": "1h", "login_delay_max": "0s"})
    dsn = roost.settings["postgresql"]
    assert_changes_within_a_second(roost, dsn, "alice@example.test",
                                   "UPDATE mailbox SET password = %s WHERE local = 'alice'")
    assert can_log_in(roost, "bob@example.test")
    sql(dsn, "UPDATE domain SET active = 0")
    wait_until(lambda: not can_log_in(roost, "bob@example.test"), timeout=1, what="the domain is off")


def test_a_change_in_postfixadmin(site):
    watch = TOP / "src" / "auth" / "postfixadmin_watch.sql"
    sql(site.dsn, watch.read_text())
    add_mailbox(site.dsn, "dora@site.test", hashed("-6"))
    assert_changes_within_a_second(site, site.dsn, "dora@site.test",
                                   "UPDATE mailbox SET password = %s WHERE username = 'dora@site.test'")


def test_a_change_while_nobody_listens():
    server = Postgres()
    server.create_database("watch")
    roost = Roost(db="postgresql", dsn=server.dsn("watch"), settings={"auth_cache_ttl": "1h", "db_timeout": "1s",
                                                                      "login_delay_max": "0s"})
    try:
        wait_until(lambda: is_watched(roost), what="roost-auth listens")
        assert can_log_in(roost, "alice@example.test")
        server.stop()
        wait_until(lambda: not is_watched(roost), timeout=5, what="the loss is seen")
        assert can_log_in(roost, "alice@example.test"), "from the cache"
        server.start()
        sql(server.dsn("watch"), "UPDATE mailbox SET active = 0")
        wait_until(lambda: not can_log_in(roost, "alice@example.test"), timeout=5, what="the change counts")
    finally:
        roost.close()
        server.close()
