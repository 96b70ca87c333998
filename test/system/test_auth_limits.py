# SPDX-License-Identifier: MIT
"""How many connections a user may have, what guessing costs whom, and when somebody logged in last."""

import os
import signal
import threading
import time

import pytest
from conftest import make_roost, tls_context
from roost_instance import PASSWORD, wait_until
from test_proxy import Line

BALANCED = {"proxy_protocol_networks": ["127.0.0.0/8"], "proxy_processes": 2}
HERE, THERE, ELSEWHERE = "203.0.113.9", "203.0.113.10", "203.0.113.11"


def connect(roost, port, address):
    return Line(roost.ports[port], tls_context(roost) if port.endswith("s") else None,
                f"PROXY TCP4 {address} 192.0.2.100 40000 143\r\n".encode())


def log_in(roost, address, user="alice@example.test", password=PASSWORD):
    """A client that has tried to log in over IMAPS, and the answer."""
    client = connect(roost, "imaps", address)
    client.line()
    client.send(f'a LOGIN {user} "{password}"\r\n')
    return client, client.until("a ")[-1]


def is_let_in(roost, address, user="alice@example.test"):
    client, answer = log_in(roost, address, user)
    client.send("b LOGOUT\r\n")
    client.rest()
    return answer.startswith("a OK")


def users_sessions(roost, user):
    return [s for s in roost.ctl("who") if s["user"] == user]


# ---- connections of a user ----

def test_connections_of_a_user_and_from_an_address(make_instance):
    roost = make_instance(settings={**BALANCED, "max_connections_per_user": 4, "max_connections_per_user_ip": 2})
    held = [log_in(roost, HERE) for _ in range(2)]
    assert all(answer.startswith("a OK") for _, answer in held)
    client, answer = log_in(roost, HERE)
    assert answer == "a NO [LIMIT] Too many connections of this user"
    # The connection goes on: somebody else may use it.
    client.send(f'b LOGIN bob@example.test "{PASSWORD}"\r\n')
    assert client.until("b ")[-1].startswith("b OK")
    pop3 = connect(roost, "pop3s", HERE)
    pop3.line()
    pop3.send(f"USER alice@example.test\r\nPASS {PASSWORD}\r\n")
    pop3.line()
    assert pop3.line() == "-ERR [SYS/TEMP] Too many connections of this user"
    held += [log_in(roost, THERE) for _ in range(2)]
    assert not is_let_in(roost, ELSEWHERE), "four in all"
    held[0][0].send("z LOGOUT\r\n")
    held[0][0].rest()
    wait_until(lambda: is_let_in(roost, ELSEWHERE), what="the slot of the ended session is free")
    assert 'limit=max_connections_per_user_ip' in roost.log()
    # Other names of the same mailbox are the same user.
    roost.ctl("domain-alias", "add", "other.test", "example.test")
    assert not is_let_in(roost, THERE, "Alice@Other.Test")


def test_a_users_own_limits(make_instance):
    roost = make_instance(settings={**BALANCED, "max_connections_per_user_ip": 1})
    roost.ctl("user", "set", "alice@example.test", "--max-connections-per-ip", "3", "--max-connections", "0")
    shown = roost.ctl("user", "show", "alice@example.test")
    assert (shown["max_connections"], shown["max_connections_per_ip"]) == (0, 3)
    held = [log_in(roost, HERE) for _ in range(3)]
    assert all(answer.startswith("a OK") for _, answer in held) and not is_let_in(roost, HERE)
    roost.ctl("user", "set", "alice@example.test", "--max-connections", "2", "--max-connections-per-ip", "default")
    assert roost.ctl("user", "show", "alice@example.test")["max_connections_per_ip"] is None
    assert not is_let_in(roost, THERE), "a changed limit counts at once"
    assert roost.ctl("user", "set", "alice@example.test", "--max-connections", "many", check=False)[0] != 0
    bob = log_in(roost, HERE, "bob@example.test")
    assert bob[1].startswith("a OK") and not is_let_in(roost, HERE, "bob@example.test")


@pytest.mark.parametrize("port", ["imaps", "imap"])
def test_killed_processes_hold_no_slots(make_instance, port):
    roost = make_instance(settings={**BALANCED, "max_connections_per_user_ip": 1, "allow_plaintext_auth": "yes"})

    def take():
        client = connect(roost, port, HERE)
        client.line()
        client.send(f'a LOGIN alice@example.test "{PASSWORD}"\r\n')
        return client if client.until("a ")[-1].startswith("a OK") else None

    def killed_session():
        """Its session's process is killed as soon as it is listed."""
        client = wait_until(take, what="a slot")
        session = wait_until(lambda: users_sessions(roost, "alice@example.test"), what="the session is listed")[0]
        os.kill(session["pid"], signal.SIGKILL)
        client.rest()

    killed_session()
    wait_until(take, what="the slot of the killed session").close()
    held = wait_until(take, what="a slot")
    for pid in roost.pids("roost-proxy"):
        os.kill(pid, signal.SIGKILL)
    held.close()
    wait_until(lambda: is_let_in(roost, HERE), what="the slots of the dead proxies")


def test_a_sleeping_session_keeps_its_slot(make_instance):
    roost = make_instance(settings={**BALANCED, "max_connections_per_user_ip": 1, "imap_hibernate_after": "100ms"})
    client, _ = log_in(roost, HERE)
    client.send("b IDLE\r\n")
    client.until("+ ")
    wait_until(lambda: [s for s in users_sessions(roost, "alice@example.test") if s["detail"].endswith("(sleeps)")],
               what="it sleeps")
    assert not is_let_in(roost, HERE)
    client.close()
    wait_until(lambda: is_let_in(roost, HERE), what="its slot is free")


# ---- penalties ----

def test_a_phone_with_an_old_password_locks_nobody_out(make_instance):
    roost = make_instance(settings={**BALANCED, "login_delay_max": "10s"})
    began = time.monotonic()
    for _ in range(12):
        client, answer = log_in(roost, HERE, password="old password")
        assert "AUTHENTICATIONFAILED" in answer
        client.close()
    assert time.monotonic() - began < 40, "each of them waits as the first one did, and not a minute in all"
    # At the same address and elsewhere the right one is let in at once, and a slip costs a moment.
    for address in (HERE, THERE):
        began = time.monotonic()
        assert is_let_in(roost, address)
        assert "FAILED" in log_in(roost, address, password=f"slip {address}")[1]
        assert time.monotonic() - began < 8, "and not for login_delay_max"


def test_a_guessing_address_does_not_get_its_checks_done(make_instance):
    """Nor does hanging up help it; others at its address who have been there before are spared."""
    roost = make_instance(settings={**BALANCED, "login_delay_max": "10s", "max_connections_per_ip": 100,
                                    "auth_cache_ttl": "0s"})
    assert is_let_in(roost, HERE, "bob@example.test")
    for n in range(8):
        client = connect(roost, "imaps", HERE)
        client.line()
        client.send(f'a LOGIN alice@example.test "guess {n}"\r\n')
        client.close()
    wait_until(lambda: roost.log().count('user=alice@example.test') >= 8, what="the guesses are judged")
    began = time.monotonic()
    client, answer = log_in(roost, HERE, password="guess 9")
    assert "FAILED" in answer and time.monotonic() - began > 9
    began = time.monotonic()
    assert is_let_in(roost, HERE, "bob@example.test") and time.monotonic() - began < 8


def test_a_flood_of_guesses_slows_nobody_else_down(make_instance):
    roost = make_instance(settings={**BALANCED, "login_delay_max": "300ms", "password_scheme": "ARGON2ID",
                                    "auth_cache_ttl": "0s", "login_attempts": 100})
    roost.ctl("user", "password", "bob@example.test", stdin=PASSWORD)
    enough = threading.Event()

    def guess(name):
        client = connect(roost, "imaps", HERE)
        client.line()
        n = 0
        while not enough.is_set():
            n += 1
            client.send(f'a LOGIN user{name}@example.test "guess {n}"\r\n')
            if not (client.line() or "").startswith("a NO"):
                return
        client.close()

    def latency():
        began = time.monotonic()
        assert is_let_in(roost, THERE, "bob@example.test")
        return time.monotonic() - began

    alone = sorted(latency() for _ in range(5))[2]
    guessers = [threading.Thread(target=guess, args=(n,)) for n in range(16)]
    for thread in guessers:
        thread.start()
    try:
        wait_until(lambda: roost.log().count("auth.login fail") > 20, what="the guessing has begun")
        during = sorted(latency() for _ in range(5))[2]
    finally:
        enough.set()
        for thread in guessers:
            thread.join()
    assert during < 5 * alone + 2, (alone, during)


# ---- the last log-in ----

@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_last_log_in(request, kind):
    roost = make_roost(kind, request, settings=BALANCED)
    try:
        roost.add_user("carol")
        assert roost.ctl("user", "show", "carol@example.test")["last_login"] is None
        app = roost.ctl("user", "app-password", "add", "alice@example.test", "--name", "phone")["password"]
        began = int(time.time())
        assert is_let_in(roost, HERE)
        assert log_in(roost, THERE, password="wrong")[1].startswith("a NO")
        pop3 = connect(roost, "pop3s", THERE)
        pop3.line()
        pop3.send(f"USER alice@example.test\r\nPASS {app}\r\n")
        pop3.line()
        assert pop3.line().startswith("+OK")

        def shown():
            return roost.ctl("user", "show", "alice@example.test")

        wait_until(lambda: shown()["last_login_ip"] == THERE, what="the last log-in is recorded")
        assert shown()["last_login_protocol"] == "pop3" and began <= shown()["last_login"] <= time.time()
        used = roost.ctl("user", "app-password", "list", "alice@example.test")[0]
        assert used["last_used_ip"] == THERE and used["last_used_protocol"] == "pop3" and used["last_used"] >= began
        # What is not yet written when it stops is written then.
        assert is_let_in(roost, ELSEWHERE)
        roost.stop()
        roost.start()
        assert shown()["last_login_ip"] == ELSEWHERE and shown()["last_login_protocol"] == "imap"
        assert roost.ctl("user", "show", "carol@example.test")["last_login"] is None
    finally:
        roost.close()
