# SPDX-License-Identifier: MIT
"""Clients that try again after a daemon died under load are served again, all of them."""

import contextlib
import imaplib
import signal
import ssl
import threading
import time

import pytest
from conftest import tls_context
from faults import QUICK, signal_all
from mail_helpers import make_message
from roost_instance import PASSWORD, wait_until
from test_kill import daemons

CLIENTS, KILLS = 16, 5
USERS = ["alice@example.test", "bob@example.test"]
REFUSED = (OSError, imaplib.IMAP4.error)


class Client:
    """Logs in, fetches and logs out all the time; what goes wrong is tried again at once."""

    def __init__(self, roost, number):
        self.roost, self.user, self.tls = roost, USERS[number % 2], number % 4 >= 2
        self.began, self.served = 0.0, 0.0  # of the last round that was served
        self.permanent = []

    def connect(self):
        if self.tls:
            return imaplib.IMAP4_SSL("localhost", self.roost.ports["imaps"], ssl_context=tls_context(self.roost),
                                     timeout=60)
        return imaplib.IMAP4("localhost", self.roost.ports["imap"], timeout=60)

    def round(self):
        began = time.monotonic()
        connection = self.connect()
        try:
            connection.login(self.user, PASSWORD)
            assert connection.select()[0] == "OK"
            status, data = connection.fetch("1", "(FLAGS BODY.PEEK[])")
            assert status == "OK" and data[0] and b"Subject" in data[0][1]
            connection.logout()
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown()
        self.began, self.served = began, time.monotonic()

    def run(self, stopping):
        while not stopping.is_set():
            try:
                self.round()
            except (AssertionError, *REFUSED) as e:
                if "AUTHENTICATIONFAILED" in str(e) or isinstance(e, ssl.SSLCertVerificationError):
                    self.permanent.append(e)
                time.sleep(0.02)


@pytest.mark.parametrize("program", ["roost-auth", "roost-index", "roost-proxy"])
def test_all_clients_are_served_again(make_instance, program):
    roost = make_instance(settings={**QUICK, "log_level": "info", "max_connections_per_ip": 1000,
                                    "max_connections_per_user_ip": 1000})
    for user in USERS:
        with imaplib.IMAP4("localhost", roost.ports["imap"], timeout=60) as session:
            session.login(user, PASSWORD)
            assert session.append("INBOX", None, None, make_message().as_bytes())[0] == "OK"
    stopping = threading.Event()
    clients = [Client(roost, number) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client.run, args=(stopping,)) for client in clients]
    for thread in threads:
        thread.start()
    took = []
    try:
        for _ in range(KILLS):
            wait_until(lambda: all(client.served for client in clients), what="all are served")
            old, killed = daemons(roost, program), time.monotonic()
            signal_all(old, signal.SIGKILL)
            wait_until(lambda killed=killed: all(client.began > killed for client in clients),
                       what="all are served again")
            took.append(max(client.served for client in clients) - killed)
            assert not old & daemons(roost, program)
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    print(f"{program}: all {CLIENTS} served again after {', '.join(f'{1000 * t:.0f}' for t in took)} ms")
    assert [e for client in clients for e in client.permanent] == []
    assert no_crash_but_ours(roost, program)


def no_crash_but_ours(roost, program):
    name = f"daemon={program.removeprefix('roost-')} "
    return not [line for line in roost.log().splitlines()
                if "session.crash" in line or ("master.child crash" in line and name not in line)]
