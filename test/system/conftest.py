# SPDX-License-Identifier: MIT
"""Fixtures: a running Roost on each database, and clients logged in to it."""

import imaplib
import itertools
import poplib
import shutil
import smtplib
import ssl
import tempfile
from pathlib import Path

import pytest
from peers import Postfix
from roost_instance import BUILD, PASSWORD, Postgres, Roost

database_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    yield server
    server.close()


def make_roost(kind, request, **options):
    if kind == "sqlite":
        return Roost(**options)
    server = request.getfixturevalue("postgres")
    name = f"roost{next(database_numbers)}"
    server.create_database(name)
    return Roost(db="postgresql", dsn=server.dsn(name), **options)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared_roost(request):
    """One instance a database for tests that leave it working; each makes users of its own."""
    instance = make_roost(request.param, request)
    yield instance
    instance.close()


@pytest.fixture
def roost(shared_roost):
    yield shared_roost
    assert shared_roost.process.poll() is None, shared_roost.log_tail()


user_numbers = itertools.count(1)


@pytest.fixture
def user(roost):
    """A fresh user's address."""
    return roost.add_user(f"user{next(user_numbers)}")


@pytest.fixture
def other_user(roost):
    return roost.add_user(f"user{next(user_numbers)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def own_roost(request):
    """An instance for one test alone, which may break it."""
    instance = make_roost(request.param, request)
    yield instance
    instance.close()


@pytest.fixture
def readable():
    """A directory that the owner of the mail may enter."""
    directory = Path(tempfile.mkdtemp(prefix="tables-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def make_instance(request):
    """make_instance(settings={...}) starts further instances on SQLite; all are closed at the end."""
    made = []

    def make(kind="sqlite", **options):
        made.append(make_roost(kind, request, **options))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of the logs of the servers it used."""
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" or not report.failed:
        return
    for name, value in item.funcargs.items():
        if isinstance(value, Roost | Postfix):
            report.sections.append((f"log of {name}", value.log_tail()))
    for one in Roost.running:
        if one not in item.funcargs.values():
            report.sections.append((f"log of a Roost in {one.dir}", one.log_tail()))


def pytest_terminal_summary(terminalreporter):
    """What made a test of others' programs have its second try."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"run again: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
        for name, text in report.sections:
            terminalreporter.section(name, "-")
            terminalreporter.write_line(text)


def tls_context(roost):
    return ssl.create_default_context(cafile=str(roost.tls_cert))


@pytest.fixture
def imap(roost):
    """imap(address) gives a logged-in imaplib client over IMAPS."""
    clients = []

    def connect(address, password=PASSWORD, instance=None):
        target = instance or roost
        client = imaplib.IMAP4_SSL("localhost", target.ports["imaps"], ssl_context=tls_context(target),
                                   timeout=30)
        client.login(address, password)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        try:
            client.logout()
        except Exception:
            pass


@pytest.fixture
def pop3(roost):
    def connect(address, password=PASSWORD):
        client = poplib.POP3_SSL("localhost", roost.ports["pop3s"], context=tls_context(roost), timeout=30)
        client.user(address)
        client.pass_(password)
        return client

    return connect


@pytest.fixture
def submission(roost):
    def connect(address, password=PASSWORD):
        client = smtplib.SMTP_SSL("localhost", roost.ports["submissions"], context=tls_context(roost),
                                  timeout=60)
        client.login(address, password)
        return client

    return connect


@pytest.fixture
def lmtp(roost):
    def connect():
        return smtplib.LMTP("127.0.0.1", roost.ports["lmtp"])

    return connect


@pytest.fixture
def programs():
    """A directory of the programs, from which a test can take some away."""
    directory = Path(tempfile.mkdtemp(prefix="roost-bin-", dir="/tmp"))
    directory.chmod(0o755)
    for program in BUILD.glob("roost*"):
        if program.is_file():
            (directory / program.name).symlink_to(program)
    yield directory
    shutil.rmtree(directory)
