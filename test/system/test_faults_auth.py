# SPDX-License-Identifier: MIT
"""When auth is missing, stands still, or dies at any moment: a temporary failure, never a wrong password."""

import base64
import random
import re
import signal
import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest
from faults import (ASK, QUICK, TEMPORARY, WORKING, answers, as_expected, ask_imap, ask_rcpt, assert_temporary,
                    assert_working_again, signal_all, submission, without)
from roost_instance import PASSWORD, wait_until
from test_auth_tokens import Provider, bearer
from test_kill import daemons
from test_proxy import Line
from test_sasl import Scram


@pytest.mark.parametrize("how", ["stopped", "missing"])
def test_without_auth(make_instance, programs, how):
    roost = make_instance(settings={**QUICK, "program_dir": programs})
    assert as_expected(answers(roost, "alice@example.test"), WORKING)
    with without(roost, programs, "roost-auth", how):
        assert_temporary(roost, "alice@example.test")
        # Not even for somebody who does not exist may it say so.
        assert_temporary(roost, "nobody@example.test", ["lmtp", "smtp"])
    assert_working_again(roost, "alice@example.test", 60)
    assert ask_rcpt("lmtp", "LHLO")(roost, "nobody@example.test").startswith("550")


def hammer(roost, asks, seconds):
    """Asks all the while that auth is killed, at whatever point. asks: by name, what returns an answer, what it is
    when all works and what it may be when it does not."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    times = random.Random(seed)
    stopping = threading.Event()
    heard = Counter()

    def killer():
        # From "before it has begun to listen" to "between a log-in and its session", on slow machines too.
        while not stopping.wait(times.uniform(0.005, times.choice((0.05, 0.2, 1)))):
            signal_all(daemons(roost, "roost-auth"), signal.SIGKILL)

    def ask(name, action, working, temporary):
        while not stopping.is_set():
            answer = action() or "the connection ended"
            heard[name, "working" if re.match(working, answer) else
                  "temporary" if re.match(temporary, answer) else answer] += 1

    with ThreadPoolExecutor(len(asks) + 1) as pool:
        futures = [pool.submit(killer), *(pool.submit(ask, name, *rest) for name, rest in asks.items())]
        wait(futures, seconds, FIRST_COMPLETED)  # none of them ends but by an error
        stopping.set()
    for future in futures:
        future.result()
    print(heard)
    assert {kind for _, kind in heard} <= {"working", "temporary"}, heard
    assert {name for name, _ in heard} == set(asks), heard


def test_auth_that_dies_again_and_again(make_instance):
    """Whoever has the right password never hears that it is wrong, nor a sender that there is no such user."""
    roost = make_instance(settings=QUICK)
    hammer(roost, {name: (lambda ask=ask: ask(roost, "alice@example.test"), WORKING[name], TEMPORARY[name])
                   for name, ask in ASK.items()}, 10)
    assert_working_again(roost, "alice@example.test", 60)


def ask_sasl(roost, mechanism, respond):
    client = Line(roost.ports["imap"])
    client.line()
    client.send(f"a AUTHENTICATE {mechanism}\r\n")
    while (line := client.line()) and line.startswith("+"):
        client.send(base64.b64encode(respond(base64.b64decode(line[1:].strip()))) + b"\r\n")
    while line and line.startswith("* "):
        line = client.line()
    return (line or "")[2:]


def ask_send_as(roost, user, address):
    client, answer = submission(roost, user)
    if not (answer or "").startswith("235"):
        return answer
    client.send(f"MAIL FROM:<{address}>\r\nRCPT TO:<{address}>\r\n")
    answer = client.line()
    return client.line() if answer and answer.startswith("250") else answer


def test_other_questions_to_an_auth_that_dies(make_instance, tmp_path):
    """Other secrets, other places that they are in, and what is asked of users and addresses without any."""
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    provider = Provider(tmp_path)
    passwd_file = tmp_path / "passwd"
    passwd_file.write_text(f"filed@example.test:{{PLAIN}}{PASSWORD}\n")
    roost = make_instance(settings={
        **QUICK, "auth_mechanisms": ["PLAIN", "SCRAM-SHA-256", "OAUTHBEARER"], "passwd_file": passwd_file,
        "oauth_jwks": provider.jwks, "oauth_issuer": "https://id.example.test", "oauth_audience": ["roost"]})
    alice, scram, filed = "alice@example.test", "scram@example.test", "filed@example.test"
    app = roost.ctl("user", "app-password", "add", alice, "--name", "phone")["password"]
    roost.ctl("user", "add", scram, "--scheme", "SCRAM-SHA-256", stdin=PASSWORD)
    token = bearer(provider.token())
    lmtp = ASK["lmtp"]

    def roostctl(*words):
        return f"exit {roost.ctl(*words, check=False)[0]}"

    hammer(roost, {
        "app password": (lambda: ask_imap(roost, alice, app), WORKING["imap"], TEMPORARY["imap"]),
        "passwd file": (lambda: ask_imap(roost, filed), WORKING["imap"], TEMPORARY["imap"]),
        "scram": (lambda: ask_sasl(roost, "SCRAM-SHA-256", Scram(scram, PASSWORD, "sha256")), WORKING["imap"],
                  TEMPORARY["imap"]),
        "token": (lambda: ask_sasl(roost, "OAUTHBEARER", lambda _: token), WORKING["imap"], TEMPORARY["imap"]),
        "send as": (lambda: ask_send_as(roost, alice, alice), "250", "4[25][014] 4"),
        "lmtp filed": (lambda: lmtp(roost, filed), WORKING["lmtp"], TEMPORARY["lmtp"]),
        "lmtp nobody": (lambda: lmtp(roost, "nobody@example.test"), "550", TEMPORARY["lmtp"]),
        "roostctl mailbox": (lambda: roostctl("mailbox", "list", alice), "exit 0", "exit 75"),
        "roostctl user": (lambda: roostctl("user", "show", alice), "exit 0", "exit 75"),
    }, 10)
    provider.server.shutdown()
    assert_working_again(roost, alice, 60)


def ask_session(name, roost, user):
    """The session's first word. submission: behind the yes, which the proxy says itself."""
    if name != "submission":
        return ASK[name](roost, user)
    client, answer = submission(roost, user)
    if not (answer or "").startswith("235"):
        return answer
    client.send("NOOP\r\n")
    return client.line()


def kill_auth(roost, _tmp_path):
    signal_all(daemons(roost, "roost-auth"), signal.SIGKILL)


def replace_auth(roost, tmp_path):
    """Such a setting needs another process."""
    files = [tmp_path / "passwd.0", tmp_path / "passwd.1"]
    for file in files:
        file.touch()
    roost.settings["passwd_file"] = files[roost.settings.get("passwd_file") == files[0]]
    retired = roost.log().count("service.retire begin")
    roost.write_conf()
    roost.reload()
    wait_until(lambda: roost.log().count("service.retire begin") > retired, what="the old process is told")


def reachable(tmp_path):
    """For the user that roost-auth runs as."""
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("end", [kill_auth, replace_auth])
@pytest.mark.parametrize(("program", "name", "expected"), [
    ("roost-imap", "imap", WORKING["imap"]), ("roost-pop3", "pop3", WORKING["pop3"]),
    ("roost-smtpd", "submission", "250")])
def test_auth_that_ends_between_log_in_and_session(make_instance, tmp_path, program, name, expected, end):
    """The token that the session shows is one that the auth of now has never issued."""
    roost = make_instance(settings=QUICK)
    assert as_expected(answers(roost, "alice@example.test", [name]), WORKING)
    session_daemon, auth = daemons(roost, program), daemons(roost, "roost-auth")
    handed_over = roost.log().count("to=handover")
    signal_all(session_daemon, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(ask_session, name, roost, "alice@example.test")
            wait_until(lambda: roost.log().count("to=handover") > handed_over, what="the proxy has the token")
            end(roost, reachable(tmp_path))
            wait_until(lambda: daemons(roost, "roost-auth") and not set(daemons(roost, "roost-auth")) & set(auth),
                       what="another auth is in its place")
            signal_all(session_daemon, signal.SIGCONT)
            found = answer.result()
    finally:
        signal_all(session_daemon, signal.SIGCONT)
    assert re.match(expected, found or ""), found


def test_auth_that_is_replaced_finishes_log_ins(make_instance, tmp_path):
    """Between a challenge and its answer."""
    scram = "scram@example.test"
    roost = make_instance(settings={**QUICK, "auth_mechanisms": ["PLAIN", "SCRAM-SHA-256"]})
    roost.ctl("user", "add", scram, "--scheme", "SCRAM-SHA-256", stdin=PASSWORD)
    respond, old = Scram(scram, PASSWORD, "sha256"), daemons(roost, "roost-auth")
    begun = []

    def respond_late(challenge):
        if len(begun) == 1:
            replace_auth(roost, reachable(tmp_path))
            assert ask_imap(roost, "alice@example.test").startswith("OK"), "the new one serves meanwhile"
            assert set(old) < set(daemons(roost, "roost-auth"))
        begun.append(challenge)
        return respond(challenge)

    assert ask_sasl(roost, "SCRAM-SHA-256", respond_late).startswith("OK")
    wait_until(lambda: not set(old) & set(daemons(roost, "roost-auth")), what="the old process ends")
    wait_until(lambda: roost.ctl("user", "show", scram)["last_login"], what="the log-in has been written down")


def whole_session(roost, name, user):
    answer = ask_session(name, roost, user)
    # A mailbox that the session before has not left yet.
    return name == "pop3" and re.sub(r"^-ERR \[IN-USE\]", "+OK", answer or "") or answer


def test_auth_replaced_under_load_fails_nobody(make_instance, tmp_path):
    scram, wrong = "scram@example.test", "wrong@example.test"
    names = ["imap", "pop3", "submission", "lmtp", "smtp"]
    # A busy machine's disk may keep the database waiting for longer than a second.
    roost = make_instance(settings={**QUICK, "db_timeout": "60s", "auth_mechanisms": ["PLAIN", "SCRAM-SHA-256"],
                                    "max_connections_per_ip": 1000, "max_connections_per_user": 1000,
                                    "max_connections_per_user_ip": 1000})
    for name in names:
        roost.add_user(name)
    roost.add_user("wrong")
    roost.ctl("user", "add", scram, "--scheme", "SCRAM-SHA-256", stdin=PASSWORD)
    asks = {name: (lambda name=name: whole_session(roost, name, f"{name}@example.test"),
                   "250" if name == "submission" else WORKING[name]) for name in names}
    asks["scram"] = (lambda: ask_sasl(roost, "SCRAM-SHA-256", Scram(scram, PASSWORD, "sha256")), "OK")
    asks["wrong"] = (lambda: ask_imap(roost, wrong, "a wrong one"), r"NO \[AUTHENTICATIONFAILED\]")
    asks["roostctl"] = (lambda: "exit {0}, {2}".format(*roost.ctl("user", "show", wrong, check=False)), "exit 0")
    stopping = threading.Event()
    heard = Counter()

    def repeat(name, action, expected):
        while not stopping.is_set():
            answer = action() or "the connection ended"
            heard[name, "as expected" if re.match(expected, answer) else answer] += 1

    def count_of_all():
        return min(heard[name, "as expected"] for name in asks)

    with ThreadPoolExecutor(len(asks)) as pool:
        futures = [pool.submit(repeat, name, *rest) for name, rest in asks.items()]
        try:
            for _ in range(20):
                replace_auth(roost, reachable(tmp_path))
                served = count_of_all()
                wait_until(lambda served=served: count_of_all() > served or any(f.done() for f in futures))
        finally:
            stopping.set()
    print(heard)
    print("\n".join(line for line in roost.log().splitlines() if re.search(
        r"auth.login fail (?!user=wrong@)|auth.redeem fail|link.lost|handover failed|database|auth.*timeout", line)))
    for future in futures:
        future.result()
    assert {answer for _, answer in heard} == {"as expected"}, heard
    wait_until(lambda: len(daemons(roost, "roost-auth")) == 1, what="those that were replaced end")
