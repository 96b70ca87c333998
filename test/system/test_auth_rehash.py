# SPDX-License-Identifier: MIT
"""Stored passwords that a log-in replaces by others of password_scheme."""

import contextlib
import sqlite3

import psycopg2
import pytest
from conftest import make_roost
from roost_instance import PASSWORD, Roost, wait_until
from test_directory import OWN_SCHEMA, can_log_in, hashed, new_database, sql

ALICE = "alice@example.test"
NEW_PASSWORD = "changed meanwhile"


def connect(roost):
    if "postgresql" in roost.settings:
        return contextlib.closing(psycopg2.connect(roost.settings["postgresql"]))
    path = roost.state / "db" / "roost.db"
    return contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level="IMMEDIATE"))


def stored(roost, local="alice"):
    with connect(roost) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT password FROM mailbox WHERE local = '{local}'")
        return cursor.fetchone()[0]


def store(connection, text):
    connection.cursor().execute(f"UPDATE mailbox SET password = '{text}' WHERE local = 'alice'")


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request):
    roost = make_roost(request.param, request, settings={
        "password_rehash": "yes", "password_scheme": "SSHA512", "login_delay_max": "0s", "auth_cache_ttl": "0s",
        "db_timeout": "30s"})
    yield roost
    roost.close()


def is_idle(roost):
    return all(s.get("jobs_pending", 0) == 0 for s in roost.ctl("status"))


def test_a_log_in_replaces_the_stored_form(server):
    with connect(server) as connection:
        store(connection, hashed("-6"))
        connection.commit()
    before = stored(server)
    assert not can_log_in(server, ALICE, "wrong")
    app = server.ctl("user", "app-password", "add", ALICE, "--name", "phone")["password"]
    assert can_log_in(server, ALICE, app)
    wait_until(lambda: is_idle(server), what="the workers are done")
    assert stored(server) == before, "only the password itself can be hashed anew"
    assert can_log_in(server, ALICE)
    wait_until(lambda: f"auth.rehash ok user={ALICE} scheme=SSHA512" in server.log(), what="it is hashed anew")
    after = stored(server)
    assert after.startswith("{SSHA512}")
    assert can_log_in(server, ALICE) and not can_log_in(server, ALICE, "wrong")
    wait_until(lambda: is_idle(server), what="the workers are done")
    assert stored(server) == after and server.log().count("auth.rehash") == 1
    assert PASSWORD not in server.log()


def test_a_password_changed_meanwhile_stays(server):
    new = server.ctl("user", "add", "mallory@example.test", "--password", NEW_PASSWORD) and stored(server, "mallory")
    with connect(server) as connection:
        store(connection, hashed("-6"))
        connection.commit()
        # Not to be seen yet by the log-in, but in the way of the replacement.
        store(connection, new)
        assert can_log_in(server, ALICE)
        connection.commit()
    wait_until(lambda: f"auth.rehash fail user={ALICE} scheme=SSHA512 reason=changed" in server.log(),
               what="it sees the change")
    assert stored(server) == new
    assert can_log_in(server, ALICE, NEW_PASSWORD) and not can_log_in(server, ALICE)


def test_nothing_is_replaced_unless_it_was_asked_for(make_instance, tmp_path):
    """Not without the setting, and not in a file."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    file = tmp_path / "users"
    file.write_text(f"filed@example.test:{hashed('-5')}\n")
    roost = make_instance(settings={"password_scheme": "SSHA512", "passwd_file": file})
    before = hashed("-6")
    with connect(roost) as connection:
        store(connection, before)
        connection.commit()
    assert can_log_in(roost, ALICE)
    wait_until(lambda: is_idle(roost), what="the workers are done")
    assert stored(roost) == before
    roost.settings["password_rehash"] = "yes"
    roost.stop()
    roost.write_conf()
    roost.start()
    assert can_log_in(roost, "filed@example.test")
    wait_until(lambda: is_idle(roost), what="the workers are done")
    assert "auth.rehash" not in roost.log()


def test_a_schema_of_somebody_elses(postgres):
    """It is written only with query_password_rehash."""
    dsn = new_database(postgres)
    sql(dsn, "CREATE TABLE people (address text, secret text)", "CREATE TABLE domains (name text)",
        "INSERT INTO domains VALUES ('example.test')",
        f"INSERT INTO people VALUES ('{ALICE}', '{{PLAIN}}{PASSWORD}')")
    settings = {"password_rehash": "yes", "auth_cache_ttl": "0s", **OWN_SCHEMA}
    roost = Roost(db="postgresql", dsn=dsn, users=(), domain=None, settings=settings)

    def secret():
        with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT secret FROM people")
            return cursor.fetchone()[0]

    try:
        assert can_log_in(roost, ALICE)
        wait_until(lambda: is_idle(roost), what="the workers are done")
        assert secret() == "{PLAIN}" + PASSWORD and "auth.rehash" not in roost.log()
        roost.settings["query_password_rehash"] = \
            "UPDATE people SET secret = :password WHERE address = :address AND secret = :old RETURNING address"
        roost.stop()
        roost.write_conf()
        roost.start()
        assert can_log_in(roost, ALICE)
        wait_until(lambda: "auth.rehash ok" in roost.log(), what="it is hashed anew")
        assert secret().startswith("{SHA512-CRYPT}") and can_log_in(roost, ALICE)
    finally:
        roost.close()
