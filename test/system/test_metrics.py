# SPDX-License-Identifier: MIT
"""What Prometheus sees of Roost: the metrics page, its form, and that counting survives crashes."""

import http.client
import imaplib
import os
import signal
import smtplib
import socket
import subprocess

import pytest
from roost_instance import PASSWORD, can_connect, wait_until


def fetch(roost, path="/metrics", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", roost.ports["metrics"], timeout=20)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def metrics(roost):
    """{'name{labels}': value} of the page."""
    response, text = fetch(roost)
    assert response.status == 200
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
            for line in text.splitlines() if not line.startswith("#")}


@pytest.fixture
def roost(make_instance):
    return make_instance()


def imap_log_in(roost, user="alice@example.test", password=PASSWORD):
    client = imaplib.IMAP4("127.0.0.1", roost.ports["imap"])
    client.login(user, password)
    return client


def test_page_passes_promtool_and_names_nobody(roost):
    imap_log_in(roost).logout()
    response, text = fetch(roost)
    assert response.status == 200
    assert response.getheader("Content-Type").startswith("text/plain; version=0.0.4")
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert check.returncode == 0 and not check.stdout and not check.stderr, check.stdout + check.stderr
    assert "alice" not in text and "example.test" not in text and "127.0.0.1" not in text


def test_only_two_pages_and_only_reading(roost):
    response, text = fetch(roost, "/healthz")
    assert (response.status, text) == (200, "ok\n")
    assert fetch(roost, "/")[0].status == 404
    assert fetch(roost, "/metrics/../etc/passwd")[0].status == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response, _ = fetch(roost, "/metrics", method)
        assert response.status == 405 and "GET" in response.getheader("Allow")
    response, text = fetch(roost, "/metrics", "HEAD")
    assert response.status == 200 and text == ""


def test_garbage_and_crowds_do_no_harm(roost):
    for rubbish in (b"\0" * 5000, b"GET /metrics HTTP/9.9\r\n\r\n", b"A" * 100000, b"GET " + b"/a" * 50000):
        with socket.create_connection(("127.0.0.1", roost.ports["metrics"]), timeout=20) as s:
            try:
                s.sendall(rubbish)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    crowd = [socket.create_connection(("127.0.0.1", roost.ports["metrics"])) for _ in range(100)]
    try:
        # More than may come from one address: the surplus is closed, and nothing else is.
        def closed():
            count = 0
            for s in crowd:
                s.setblocking(False)
                try:
                    count += s.recv(1) == b""
                except BlockingIOError:
                    pass
                except OSError:
                    count += 1
            return count
        wait_until(lambda: closed() >= 84, what="the surplus of clients is turned away")
    finally:
        for s in crowd:
            s.close()
    wait_until(lambda: fetch_ok(roost), what="the page is there again")


def fetch_ok(roost):
    try:
        return fetch(roost)[0].status == 200
    except OSError:
        return False


def test_sessions_are_counted_over_crashes(roost):
    key = 'roost_sessions{daemon="imap"}'
    started = 'roost_sessions_started_total{daemon="imap"}'
    before = metrics(roost)
    assert before[key] == 0
    clients = [imap_log_in(roost) for _ in range(3)]
    wait_until(lambda: metrics(roost)[key] == 3, what="three sessions")
    assert metrics(roost)[started] == before[started] + 3
    parent = roost.pids("roost-imap")[0]
    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: metrics(roost)[key] == 0, what="the gauge of a dead daemon is zero")
    wait_until(lambda: metrics(roost)['roost_daemon_processes{daemon="imap"}'] == 1, what="imap is back")
    now = metrics(roost)
    assert now[started] == before[started] + 3
    assert now['roost_daemon_restarts_total{daemon="imap"}'] == 1
    again = imap_log_in(roost)
    wait_until(lambda: metrics(roost)[started] == before[started] + 4, what="counting goes on")
    for client in [*clients, again]:
        client.shutdown()


def test_metrics_daemon_comes_back(roost):
    imap_log_in(roost).logout()
    started = metrics(roost)['roost_sessions_started_total{daemon="imap"}']
    os.kill(roost.pids("roost-metrics")[0], signal.SIGKILL)
    wait_until(lambda: fetch_ok(roost), what="the page is there again")
    assert metrics(roost)['roost_sessions_started_total{daemon="imap"}'] == started


def test_off(make_instance):
    roost = make_instance(settings={"listen_metrics": []})
    assert not can_connect(roost.ports["metrics"])


def test_log_ins_mail_and_connections_are_counted(roost):
    before = metrics(roost)
    ok = 'roost_logins_total{result="ok",protocol="imap",mechanism="plain"}'
    failed = 'roost_logins_total{result="failed",protocol="imap",mechanism="plain"}'
    imap_log_in(roost).logout()
    with pytest.raises(imaplib.IMAP4.error):
        imap_log_in(roost, password="wrong")
    with smtplib.LMTP("127.0.0.1", roost.ports["lmtp"]) as lmtp:
        lmtp.sendmail("a@example.org", ["alice@example.test"], "Subject: x\r\n\r\nx\r\n")

    def counted():
        now = metrics(roost)
        return {name: now[name] - before[name] for name in now if now[name] != before[name]}

    wait_until(lambda: counted().get('roost_client_bytes_total{daemon="lmtp",direction="in"}', 0) > 50,
               what="the LMTP session is counted")
    change = counted()
    assert change[ok] == 1 and change[failed] == 1
    assert change['roost_connections_opened_total{listener="imap"}'] == 2
    assert change['roost_delivery_duration_seconds_count{result="delivered"}'] == 1
    assert change["roost_index_request_duration_seconds_count"] > 0
    assert change['roost_client_bytes_total{daemon="imap",direction="out"}'] > 10
    assert "roost_index_request_errors_total" not in change


def test_who_shows_bytes_also_of_sleepers(make_instance):
    roost = make_instance(settings={"imap_hibernate_after": "200ms"})
    client = imap_log_in(roost)
    client.noop()

    def who():
        return {row["user"]: row for row in roost.ctl("who")}["alice@example.test"]

    first = who()
    assert first["protocol"] == "imap" and first["address"].startswith("127.0.0.1:") and first["since"] > 0
    assert first["bytes_out"] > 10 and first["bytes_in"] > 0
    wait_until(lambda: metrics(roost)["roost_sessions_asleep"] == 1, what="the session sleeps")
    asleep = who()
    assert asleep["bytes_in"] >= first["bytes_in"] and asleep["bytes_out"] >= first["bytes_out"]
    client.noop()
    awake = who()
    assert awake["bytes_in"] > asleep["bytes_in"] and awake["bytes_out"] > asleep["bytes_out"]
    assert awake["session"] == first["session"] and awake["since"] == first["since"]
    client.logout()
