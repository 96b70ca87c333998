# SPDX-License-Identifier: MIT
"""Starting, restarting, reloading and stopping."""

import contextlib
import os
import signal
import socket
import subprocess

import pytest
from conftest import tls_context
from roost_instance import BUILD, PASSWORD, can_connect, free_ports, wait_until
from test_proxy import Line

DAEMONS = ["auth", "index", "imap", "idle", "pop3", "lmtp", "smtpd", "qmgr", "smtp", "lmtp-client", "proxy"]


def run_roost(*args):
    return subprocess.run([BUILD / "roost", *map(str, args)], capture_output=True, text=True, timeout=30)


def log_in(roost, name="imaps"):
    client = Line(roost.ports[name], tls_context(roost) if name == "imaps" else None)
    client.line()
    client.send(f'a LOGIN alice@example.test "{PASSWORD}"\r\n')
    assert client.until("a ")[-1].startswith("a OK")
    return client


def still_there(client):
    client.send("n NOOP\r\n")
    return client.until("n ")[-1].startswith("n OK")


def master_status(roost):
    result = subprocess.run([BUILD / "roostctl", "-c", roost.conf, "--json", "status"], capture_output=True,
                            text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


# ---- the configuration ----


def test_all_that_is_wrong_is_told(tmp_path):
    conf = tmp_path / "roost.conf"
    conf.write_text('no_such_setting = 1\nmax_connections = "many"\ntls_min_version = SSLv3\n')
    for args in (("--check",), ()):
        result = run_roost("-c", conf, *args)
        assert result.returncode == 78
        for name in ("no_such_setting", "max_connections", "tls_min_version"):
            assert name in result.stderr
    result = run_roost("-c", tmp_path / "missing.conf")
    assert result.returncode == 78 and "missing.conf" in result.stderr


def test_usage():
    assert run_roost("--help").returncode == 0
    assert run_roost("--version").stdout.startswith("roost ")
    assert run_roost("--bogus").returncode == 64
    assert run_roost("extra").returncode == 64


def test_missing_programs_are_told(tmp_path):
    conf = tmp_path / "roost.conf"
    conf.write_text(f'state_dir = "{tmp_path}/state"\nprogram_dir = "{tmp_path}"\nuser = ""\nmail_user = ""\n')
    result = run_roost("-c", conf)
    assert result.returncode == 78
    for name in DAEMONS:
        assert f"roost-{name}" in result.stderr


def test_one_master_for_a_state_dir(make_instance):
    roost = make_instance()
    result = run_roost("-c", roost.conf)
    assert result.returncode == 70 and "running" in result.stderr
    assert roost.ready_path.exists()
    assert log_in(roost)


def test_a_taken_port_is_told(make_instance):
    roost = make_instance()
    other = roost.dir / "other.conf"
    text = roost.conf.read_text().replace(str(roost.state), str(roost.dir / "other"))
    other.write_text(text)
    result = run_roost("-c", other)
    assert result.returncode == 70
    for name, port in roost.ports.items():
        assert f"127.0.0.1:{port}" in result.stderr, name
    assert not (roost.dir / "other" / "run" / "ready").exists()


# ---- daemons that die ----


@pytest.mark.parametrize("name", DAEMONS)
def test_a_killed_daemon_comes_back(shared_roost, name):
    roost = shared_roost
    before = set(roost.pids(f"roost-{name}"))
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(roost.pids(f"roost-{name}")) - before) >= len(before), what=f"{name} is back")
    wait_until(lambda: name in running(roost), what=f"{name} answers")
    assert f"master.child crash daemon={name}" in roost.log()


def running(roost):
    status, document, _ = roost.ctl("status", check=False)
    return master_status(roost) if status == 0 else ""


def test_sessions_live_on_when_their_parent_dies(own_roost):
    client = log_in(own_roost)
    for pid in own_roost.pids("roost-imap"):
        os.kill(pid, signal.SIGKILL)
    assert still_there(client)
    # And the orderly end finds them all the same.
    own_roost.process.terminate()
    own_roost.process.wait(30)
    assert any(line.startswith("* BYE") for line in client.rest())


def test_everything_ends_with_the_master(make_instance):
    roost = make_instance()
    pids = [pid for name in DAEMONS for pid in roost.pids(f"roost-{name}")]
    assert len(pids) >= len(DAEMONS)
    roost.process.kill()
    roost.process.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in pids), what="all daemons end")
    roost.start()
    assert still_there(log_in(roost))


def is_alive(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    return False


# ---- reload ----


def test_reload_adds_and_removes_a_port(own_roost):
    roost = own_roost
    over_tls, in_the_open = log_in(roost), log_in(roost, "imap")
    extra, old = free_ports(1)[0], roost.ports["pop3"]
    roost.settings["listen_imap"].append(f"127.0.0.1:{extra}")
    roost.settings["listen_pop3"] = []
    roost.write_conf()
    roost.reload()
    wait_until(lambda: can_connect(extra), what="the new port")
    wait_until(lambda: not can_connect(old), what="the old port is closed")
    assert still_there(over_tls) and still_there(in_the_open)
    client = Line(extra)
    assert client.line().startswith("* OK")
    assert log_in(roost)


def test_reload_refuses_what_is_wrong(own_roost):
    roost = own_roost
    good = dict(roost.settings)
    for name, value in (("no_such_setting", "1"), ("max_line", "1"), ("state_dir", "/elsewhere"),
                        ("listen_imap", ["nonsense"]), ("tls_cert", "/missing.pem")):
        roost.settings = {**good, name: value}
        roost.write_conf()
        if name == "state_dir":
            os.kill(roost.process.pid, signal.SIGHUP)
            wait_until(lambda: "state_dir" in roost.log() and "master.reload failed" in roost.log())
            continue
        os.kill(roost.process.pid, signal.SIGHUP)
        wait_until(lambda: "master.reload failed" in roost.log(), what=f"{name} is refused")
    roost.settings = good
    roost.write_conf()
    roost.reload()
    assert still_there(log_in(roost))


def test_reload_reopens_the_log(make_instance):
    roost = make_instance()
    path = roost.dir / "roost.log"
    roost.settings["log"] = path
    roost.write_conf()
    roost.reload()
    wait_until(lambda: path.exists() and "master.reload ok" in path.read_text())
    moved = path.rename(roost.dir / "roost.log.1")
    roost.reload()
    wait_until(path.exists)
    log_in(roost)
    wait_until(lambda: "auth.login ok" in path.read_text(), what="daemons write to the new file")
    assert "auth.login" not in moved.read_text()


# ---- the end ----


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "roostctl"])
def test_orderly_stop(make_instance, how):
    roost = make_instance()
    client, waiting = log_in(roost), Line(roost.ports["pop3"])
    waiting.line()
    pids = [pid for name in DAEMONS for pid in roost.pids(f"roost-{name}")]
    if how == "roostctl":
        roost.ctl("stop")
    else:
        os.kill(roost.process.pid, how)
    assert any(line.startswith("* BYE") for line in client.rest())
    assert waiting.rest()[0].startswith("-ERR")
    assert roost.process.wait(20) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert not roost.ready_path.exists()
    assert "master.child killed" not in roost.log()
    roost.start()
    assert still_there(log_in(roost))


def test_the_service_manager_is_told(make_instance, tmp_path, monkeypatch):
    path = f"/tmp/roost-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        try:
            sock.settimeout(30)
            monkeypatch.setenv("NOTIFY_SOCKET", path)
            roost = make_instance()
            assert b"READY=1" in sock.recv(4096)
            roost.reload()
            assert b"RELOADING=1" in sock.recv(4096)
            assert b"READY=1" in sock.recv(4096)
            roost.stop()
            assert b"STOPPING=1" in sock.recv(4096)
        finally:
            os.unlink(path)
