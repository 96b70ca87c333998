# SPDX-License-Identifier: MIT
"""What roost-proxy gets for a log-in and a session exchanges for its user is good once, whatever becomes of roost-auth."""

import os
import signal
import socket
import struct

import pytest
from roost_instance import DOMAIN, PASSWORD, wait_until

ALICE = f"alice@{DOMAIN}"
START, DONE, REDEEM, USER, ERROR = 1, 4, 10, 11, 99  # src/auth/auth_proto.h
SESSION = "0123456789abcdef"


def text(value):
    return struct.pack("=I", len(value)) + value.encode()


def ask(roost, name, kind, body):
    """The type and body of the answer; None when roost-auth is not there."""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(str(roost.state / "run" / name))
            s.sendall(struct.pack("=IHHI", len(body), kind, 0, 1) + body)
            with s.makefile("rb") as answers:
                length, kind, _, request = struct.unpack("=IHHI", answers.read(12))
                assert request == 1
                return kind, answers.read(length)
    except (OSError, struct.error):
        return None


def take(body):
    length = struct.unpack("=I", body[:4])[0]
    return body[4:4 + length].decode(), body[4 + length:]


def token_of(roost):
    initial = f"\0{ALICE}\0{PASSWORD}"
    kind, body = ask(roost, "auth-login", START,
                     text("imap") + text("PLAIN") + b"\1" + text(initial) + text("127.0.0.1:1") + text("127.0.0.1:143")
                     + b"\1" + text(SESSION) + text("") + text("") + text(""))
    assert kind == DONE
    user, body = take(body)
    assert user == ALICE
    return take(body)[0]


def redeem(roost, token, session=SESSION):
    answer = ask(roost, "auth-session", REDEEM, text(token) + text("imap") + text(session))
    return answer and answer[0]


@pytest.mark.parametrize("end", ["killed", "replaced"])
def test_once_over_all_processes(make_instance, tmp_path, end):
    roost = make_instance()
    used, unused = token_of(roost), token_of(roost)
    assert redeem(roost, used, "another session") == ERROR
    assert redeem(roost, used) == USER
    assert redeem(roost, used) == ERROR
    before = roost.pids("roost-auth")
    if end == "killed":
        for pid in before:
            os.kill(pid, signal.SIGKILL)
    else:
        roost.settings["passwd_file"] = tmp_path / "users"
        (tmp_path / "users").write_text("")
        roost.write_conf()
        roost.reload()
    wait_until(lambda: roost.pids("roost-auth") and not set(roost.pids("roost-auth")) & set(before),
               what="another roost-auth is there")
    wait_until(lambda: redeem(roost, "00") is not None, what="it answers")
    assert redeem(roost, used) == ERROR
    assert redeem(roost, unused) == USER, "issued by the one before"
    assert redeem(roost, unused) == ERROR
