# SPDX-License-Identifier: MIT
"""Users whose mail is on another server: where they are sent (RFC 2221), and what becomes of mail for them."""

import base64
import imaplib
import poplib
import re
import smtplib
import sqlite3
import urllib.parse

import pytest
from conftest import tls_context
from mail_helpers import instance_imap, make_message, subjects  # noqa: F401 (a fixture)
from roost_instance import PASSWORD, wait_until
from test_directory import new_database, sql
from test_proxy import Line
from test_sasl import Scram

ALICE = "alice@example.test"
ELSEWHERE = "mail.example.net:1143"
REFERRAL = re.compile(r"a NO \[REFERRAL imap://([^;]+);AUTH=([^@]+)@([^/]+)/\] ")


def imap_answers(roost, *lines):
    """The last line said to each of them, on one connection over TLS."""
    client = Line(roost.ports["imaps"], tls_context(roost))
    assert " LOGIN-REFERRALS" in client.line()
    answers = []
    for line in lines:
        client.send(line + "\r\n")
        answers.append(client.until("a ")[-1])
    client.close()
    return answers


def log_in(roost, user, password=PASSWORD):
    return imap_answers(roost, f'a LOGIN "{user}" "{password}"')[0]


def plain(user, password=PASSWORD):
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def scram(roost, user):
    client = Line(roost.ports["imaps"], tls_context(roost))
    client.line()
    step = Scram(user, PASSWORD, "sha256")
    client.send("a AUTHENTICATE SCRAM-SHA-256\r\n")
    while (line := client.line()).startswith("+"):
        client.send(base64.b64encode(step(base64.b64decode(line[2:]))) + b"\r\n")
    client.close()
    return line


def move(roost, user, host=ELSEWHERE):
    roost.ctl("user", "set", user, "--host", host)


def pop3_answer(roost, user, password=PASSWORD):
    client = poplib.POP3_SSL("localhost", roost.ports["pop3s"], context=tls_context(roost), timeout=30)
    client.user(user)
    with pytest.raises(poplib.error_proto) as refused:
        client.pass_(password)
    client.close()
    return refused.value.args[0].decode()


def submission_answer(roost, user, password=PASSWORD):
    with smtplib.SMTP_SSL("localhost", roost.ports["submissions"], context=tls_context(roost), timeout=60) as client:
        client.ehlo("client.test")
        return client.docmd("AUTH PLAIN " + plain(user, password))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_who_logs_in_is_sent_on(make_instance, kind):
    roost = make_instance(kind, settings={"login_delay_max": "0s", "auth_mechanisms": ["PLAIN", "SCRAM-SHA-256"]})
    roost.ctl("user", "add", "proof@example.test", "--scheme", "PLAIN", stdin=PASSWORD)
    roost.ctl("domain-alias", "add", "other.test", "example.test")
    app = roost.ctl("user", "app-password", "add", ALICE, "--name", "phone")["password"]
    for user in (ALICE, "proof@example.test"):
        assert log_in(roost, user).startswith("a OK"), "remembered as good from here on"
        move(roost, user, "Mail.Example.NET:1143")
    assert roost.ctl("user", "show", ALICE)["host"] == ELSEWHERE
    answers = imap_answers(roost, f'a LOGIN {ALICE} "{PASSWORD}"', f"a AUTHENTICATE PLAIN {plain(ALICE)}")
    answers += [log_in(roost, ALICE, app), log_in(roost, "Alice@Other.test"), scram(roost, "proof@example.test")]
    assert [REFERRAL.match(a).groups() for a in answers] == [
        ("alice%40example.test", "*", ELSEWHERE), ("alice%40example.test", "PLAIN", ELSEWHERE),
        ("alice%40example.test", "*", ELSEWHERE), ("alice%40example.test", "*", ELSEWHERE),
        ("proof%40example.test", "SCRAM-SHA-256", ELSEWHERE)]
    # Nobody else hears of it (section 6).
    wrong = imap_answers(roost, f"a LOGIN {ALICE} wrong", f"a AUTHENTICATE PLAIN {plain(ALICE, 'wrong')}")
    assert wrong == ["a NO [AUTHENTICATIONFAILED] Authentication failed"] * 2
    assert log_in(roost, "bob@example.test").startswith("a OK")
    assert pop3_answer(roost, ALICE) == f"-ERR [SYS/PERM] This account is on the server {ELSEWHERE}"
    assert pop3_answer(roost, ALICE, "wrong") == "-ERR [AUTH] Authentication failed"
    assert submission_answer(roost, ALICE) == (535, f"5.7.0 This account is on the server {ELSEWHERE}".encode())
    assert submission_answer(roost, ALICE, "wrong") == (535, b"5.7.8 Authentication failed")
    assert "reason=moved" in roost.log()
    # Switched off is switched off, and who is back is back.
    roost.ctl("user", "set", ALICE, "--active", "no")
    assert log_in(roost, ALICE) == "a NO [CONTACTADMIN] This account is disabled"
    roost.ctl("user", "set", ALICE, "--active", "yes", "--host", "")
    assert log_in(roost, ALICE).startswith("a OK")
    status, _, message = roost.ctl("user", "set", ALICE, "--host", "not a host", check=False)
    assert status != 0 and "host" in message


def test_the_referral_leads_to_the_mail(make_instance):
    old, new = make_instance(), make_instance()
    move(old, ALICE, f"localhost:{new.ports['imap']}")
    client = imaplib.IMAP4("localhost", new.ports["imap"], timeout=60)
    _, mechanism, host = REFERRAL.match(log_in(old, ALICE)).groups()
    url = urllib.parse.urlsplit(re.search(r"\[REFERRAL (\S+)\]", log_in(old, ALICE))[1])
    assert (url.hostname, url.port, url.path, mechanism) == ("localhost", new.ports["imap"], "/", "*"), host
    client.login(urllib.parse.unquote(url.username.split(";")[0]), PASSWORD)
    assert client.select()[0] == "OK"
    client.logout()


def test_a_masters_password(make_instance):
    roost = make_instance(settings={"master_users": ["bob@example.test"], "auth_master_user_separator": "*"})
    move(roost, ALICE)
    assert REFERRAL.match(log_in(roost, f"{ALICE}*bob@example.test"))[1] == "alice%40example.test%2Abob%40example.test"
    assert "REFERRAL" not in log_in(roost, f"bob@example.test*{ALICE}"), "she is no master"
    move(roost, ALICE, "")
    assert log_in(roost, f"{ALICE}*bob@example.test").startswith("a OK")


def test_hosts_of_other_tables_and_files(make_instance, postgres):
    dsn = new_database(postgres)
    sql(dsn, "CREATE TABLE people (address text, secret text, host text)", "CREATE TABLE domains (name text)",
        "INSERT INTO domains VALUES ('own.test')",
        "INSERT INTO people VALUES " + ", ".join(f"('{name}@own.test', '{{PLAIN}}{PASSWORD}', {host})" for name, host in (
            ("here", "NULL"), ("empty", "''"), ("moved", "'imap2.own.test'"), ("odd", "'x y]'"))))
    roost = make_instance("sqlite", users=(), domain=None)
    users = roost.dir / "passwd"
    users.write_text(f"filed@own.test:{{PLAIN}}{PASSWORD}::::::nologin host=imap3.own.test\n"
                     f"off@own.test:{{PLAIN}}{PASSWORD}::::::nologin\n")
    roost.stop()
    roost.settings |= {"db": "postgresql", "postgresql": dsn, "passwd_file": users,
                       "query_user": "SELECT secret AS password, host, 'y' AS nologin FROM people WHERE address = :address",
                       "query_domain": "SELECT 1 AS active FROM domains WHERE name = :domain",
                       "query_alias": "SELECT NULL AS target FROM domains WHERE name = :address",
                       "query_domain_alias": "SELECT NULL AS target FROM domains WHERE name = :domain || 'x'"}
    roost.write_conf()
    roost.start()
    for name in ("here", "empty"):
        assert log_in(roost, f"{name}@own.test").startswith("a OK"), name
    assert REFERRAL.match(log_in(roost, "moved@own.test"))[3] == "imap2.own.test"
    assert REFERRAL.match(log_in(roost, "filed@own.test"))[3] == "imap3.own.test"
    assert log_in(roost, "off@own.test").startswith("a NO [CONTACTADMIN]")
    # Where nobody can say where he is, he is not let into a mailbox that nobody looks after.
    assert log_in(roost, "odd@own.test").startswith("a NO [UNAVAILABLE]")


def lmtp_code(roost, address):
    with smtplib.LMTP("127.0.0.1", roost.ports["lmtp"]) as client:
        client.ehlo("client.test")
        client.mail("sender@example.org")
        return client.rcpt(address)


def test_mail_for_who_has_moved(make_instance, instance_imap):
    """It waits. An alias sends it on, and it is delivered here when the user is back."""
    roost = make_instance(settings={"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"})
    assert lmtp_code(roost, ALICE)[0] == 250
    move(roost, ALICE)
    assert lmtp_code(roost, "alice+lists@example.test") == (
        450, b"4.2.1 <alice+lists@example.test> Mailbox is on another server, and no alias leads there")
    assert lmtp_code(roost, "bob@example.test")[0] == 250

    def send(subject):
        with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
            client.send_message(make_message(to=ALICE, subject=subject), "sender@example.org", [ALICE])

    send("before the alias")
    wait_until(lambda: [m["queue"] for m in roost.ctl("queue", "list")] == ["deferred"], what="it waits")
    roost.ctl("alias", "add", ALICE, "bob@example.test")
    send("behind the alias")
    bob = instance_imap("bob@example.test", roost)
    wait_until(lambda: subjects(bob) == ["behind the alias"], what="it took the alias's way")
    assert [m["recipients"] for m in roost.ctl("queue", "list")] == [[ALICE]]
    roost.ctl("alias", "remove", ALICE)
    move(roost, ALICE, "")
    roost.ctl("queue", "requeue", "--all")
    alice = instance_imap(ALICE, roost)
    wait_until(lambda: subjects(alice) == ["before the alias"], what="what waited comes")


def test_a_directory_of_the_version_before(make_instance):
    roost = make_instance()
    roost.stop()
    db = sqlite3.connect(roost.state / "db" / "roost.db")
    db.executescript("ALTER TABLE mailbox DROP COLUMN host; ALTER TABLE mailbox DROP COLUMN acl_groups; UPDATE schema_version SET version = 4")
    db.close()
    roost.start()
    assert log_in(roost, ALICE).startswith("a OK")
    move(roost, ALICE)
    assert REFERRAL.match(log_in(roost, ALICE))
    exported = roost.ctl("user", "export", "--format", "json")
    assert {u["address"]: u["host"] for u in exported} == {ALICE: ELSEWHERE, "bob@example.test": ""}
