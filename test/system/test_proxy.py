# SPDX-License-Identifier: MIT
"""What clients meet at the door: TLS, STARTTLS, limits, time, PROXY headers, broken clients."""

import base64
import socket
import ssl
import subprocess
import time

import pytest
from conftest import tls_context
from roost_instance import PASSWORD, wait_until


class Line:
    """A raw client that speaks lines."""

    def __init__(self, port, tls=None, before=b""):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        if before:
            self.sock.sendall(before)
        if tls:
            self.start_tls(tls)
        self.buffer = b""

    def start_tls(self, context, session=None):
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost", session=session)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        """One line without its end; None at the end of the connection."""
        while b"\n" not in self.buffer:
            try:
                more = self.sock.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode()

    def until(self, start):
        lines = []
        while True:
            line = self.line()
            assert line is not None, f"closed; so far {lines}"
            lines.append(line)
            if line.startswith(start):
                return lines

    def rest(self):
        lines = []
        while (line := self.line()) is not None:
            lines.append(line)
        return lines

    def close(self):
        self.sock.close()


@pytest.fixture
def line(roost):
    made = []

    def connect(name, tls=False, before=b"", instance=None):
        target = instance or roost
        made.append(Line(target.ports[name], tls_context(target) if tls else None, before))
        return made[-1]

    yield connect
    for client in made:
        client.close()


STARTTLS = {
    "imap": ("a STARTTLS\r\n", "a OK", "z NOOP\r\n", "z OK"),
    "pop3": ("STLS\r\n", "+OK", "NOOP\r\n", "+OK"),
    "smtp": ("STARTTLS\r\n", "220", "NOOP\r\n", "250"),
    "submission": ("STARTTLS\r\n", "220", "NOOP\r\n", "250"),
}
INJECTED = {
    "imap": ["b NOOP\r\n", "b LOGOUT\r\n", "b LOGIN u p\r\n", "b LOGIN {3+}\r\n", "b NOO"],
    "pop3": ["NOOP\r\n", "QUIT\r\n", "USER u\r\nPASS p\r\n", "US"],
    "smtp": ["EHLO evil\r\n", "MAIL FROM:<a@b>\r\n", "QUIT\r\n", "RS"],
    "submission": ["EHLO evil\r\nAUTH PLAIN AHUAcA==\r\n", "QUIT\r\n"],
}


@pytest.mark.parametrize("name,injected", [(n, i) for n, all_ in INJECTED.items() for i in all_])
def test_what_comes_with_starttls_is_thrown_away(roost, line, name, injected):
    command, go, probe, answer = STARTTLS[name]
    client = line(name)
    client.line()
    client.send(command + injected)
    client.until(go)
    try:
        client.start_tls(tls_context(roost))
    except (ssl.SSLError, ConnectionError):
        return  # part of it met the handshake, which failed: just as safe
    client.send(probe)
    assert client.line().startswith(answer)
    if name == "submission":
        client.send("AUTH PLAIN AHUAcA==\r\n")
        assert client.line().startswith("503"), "the EHLO before TLS counts"


def test_pipelined_commands_reach_the_session(roost, line, user):
    for name, tls in (("imap", False), ("imaps", True)):
        client = line(name, tls)
        client.line()
        client.send(f'a LOGIN {user} "{PASSWORD}"\r\nb SELECT INBOX\r\nc NOOP\r\nd LOGOUT\r\n')
        lines = client.rest()
        assert [x.split()[0] for x in lines if x[1] == " " and x[0] in "abcd"] == list("abcd"), lines


def test_tls_tickets_are_for_one_protocol(roost):
    context = tls_context(roost)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the ticket comes within the handshake

    def connect(name, session=None):
        client = Line(roost.ports[name])
        client.start_tls(context, session)
        client.line()
        session, reused = client.sock.session, client.sock.session_reused
        client.close()
        return session, reused

    session, _ = connect("imaps")
    assert connect("imaps", session)[1]
    assert not connect("pop3s", session)[1]
    assert not connect("submissions", session)[1]


def test_nobody_is_kept_waiting_for_ever(make_instance, line):
    roost = make_instance(settings={"login_timeout": "3s"})
    goodbyes = {"imap": "* BYE", "pop3": "-ERR", "smtp": "421", "submission": "421"}
    clients = {name: line(name, instance=roost) for name in goodbyes}
    silent = line("imaps", instance=roost)  # never begins its handshake
    for name, client in clients.items():
        client.line()
        client.send("x" if name != "smtp" else "EHLO me\r\n")
    for name, client in clients.items():
        assert client.rest()[-1].startswith(goodbyes[name]), name
    assert silent.rest() == []


def test_over_long_lines_end_politely(line):
    for name, answer in (("imap", "* BYE"), ("pop3", "-ERR"), ("smtp", "500")):
        client = line(name)
        client.line()
        client.send(b"x" * 300000)
        assert client.rest()[-1].startswith(answer), name


def test_failed_log_ins_end_the_connection(make_instance, line):
    roost = make_instance(settings={"login_attempts": 2, "login_delay_max": "0s"})
    client = line("imaps", True, instance=roost)
    client.line()
    for tag in "ab":
        client.send(f"{tag} LOGIN alice@example.test wrong\r\n")
        assert "AUTHENTICATIONFAILED" in client.until(tag)[-1]
    assert client.rest() == ["* BYE Too many failed log-ins"]


def test_disconnect_in_the_middle_of_a_log_in(roost, line, user, imap):
    for name, words in (("imap", "a AUTHENTICATE PLAIN\r\n"), ("pop3", "AUTH LOGIN\r\n"),
                        ("imap", f"a LOGIN {user} wrong\r\n"), ("imap", "a LOGIN {100}\r\n")):
        for _ in range(20):
            client = line(name)
            client.line()
            client.send(words)
            client.close()
    assert imap(user).noop()[0] == "OK"


# ---- limits and the PROXY protocol ----

BALANCED = {"proxy_protocol_networks": ["127.0.0.0/8"], "max_connections_per_ip": 3}


def header(address, port=40000):
    return f"PROXY TCP4 {address} 192.0.2.100 {port} 143\r\n".encode()


def test_connections_per_address(make_instance, line):
    roost = make_instance(settings={**BALANCED, "proxy_processes": 3})
    held = []
    for _ in range(3):
        held.append(line("imap", before=header("203.0.113.9"), instance=roost))
        assert held[-1].line().startswith("* OK")
    for name, start in (("imap", "* BYE"), ("pop3", "-ERR"), ("smtp", "421")):
        assert line(name, before=header("203.0.113.9"), instance=roost).rest()[0].startswith(start)
    over_tls = Line(roost.ports["imaps"], tls_context(roost), header("203.0.113.9"))
    assert over_tls.rest()[0].startswith("* BYE")
    assert line("imap", before=header("203.0.113.10"), instance=roost).line().startswith("* OK")
    held.pop().close()

    def served():
        client = line("imap", before=header("203.0.113.9"), instance=roost)
        return client.line().startswith("* OK")

    wait_until(served, what="a slot is free again")


def test_a_dead_proxy_holds_no_slots(make_instance, line):
    roost = make_instance(settings={**BALANCED, "proxy_processes": 2})
    held = [line("imap", before=header("203.0.113.9"), instance=roost) for _ in range(3)]
    for client in held:
        client.line()
    for pid in roost.pids("roost-proxy"):
        subprocess.run(["kill", "-9", str(pid)], check=True)

    def served():
        client = line("imap", before=header("203.0.113.9"), instance=roost)
        return (client.line() or "").startswith("* OK")

    wait_until(served, what="the counts of the dead are forgotten")


def test_tls_sessions_count_until_they_end(make_instance, line):
    roost = make_instance(settings=BALANCED)
    sessions = []
    for _ in range(3):
        client = Line(roost.ports["imaps"], tls_context(roost), header("203.0.113.9"))
        client.line()
        client.send(f'a LOGIN alice@example.test "{PASSWORD}"\r\n')
        assert client.until("a ")[-1].startswith("a OK")
        sessions.append(client)
    assert line("imap", before=header("203.0.113.9"), instance=roost).line().startswith("* BYE")
    sessions[0].send("b LOGOUT\r\n")
    sessions[0].rest()
    wait_until(lambda: line("imap", before=header("203.0.113.9"), instance=roost).line()
               .startswith("* OK"), what="the slot of the ended session is free")


def test_plaintext_sessions_count_until_they_end(make_instance, line):
    roost = make_instance(settings=BALANCED)
    sessions = []
    for _ in range(3):
        client = line("smtp", before=header("203.0.113.9"), instance=roost)
        client.line()
        client.send("EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<alice@example.test>\r\n")
        assert [client.until("250 ") for _ in range(3)][-1][-1].startswith("250 2.1.5")
        sessions.append(client)
    refused = line("smtp", before=header("203.0.113.9"), instance=roost)
    assert refused.rest() == ["421 4.7.0 Too many connections from your address"]
    sessions[0].close()  # without a QUIT

    def served():
        return line("smtp", before=header("203.0.113.9"), instance=roost).line().startswith("220")

    wait_until(served, what="the slot of the ended session is free")
    sessions[1].send("QUIT\r\n")
    sessions[1].rest()
    wait_until(served, what="the slot of the second session is free")


def test_proxy_headers(make_instance, line):
    roost = make_instance(settings=BALANCED)
    v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([203, 0, 113, 77, 192, 0, 2, 1, 0x13, 0x88, 0, 25])
    # In pieces, and with the first command behind it.
    client = line("imap", instance=roost)
    for byte in v2:
        client.send(bytes([byte]))
    client.send(f"a LOGIN alice@example.test wrong\r\n")
    assert client.line().startswith("* OK")
    # The client of the balancer is not on this machine: no password without TLS.
    assert "PRIVACYREQUIRED" in client.until("a ")[-1]
    over_tls = Line(roost.ports["imaps"], tls_context(roost), v2)
    assert over_tls.line().startswith("* OK")
    over_tls.send("a LOGIN alice@example.test wrong\r\n")
    over_tls.until("a ")
    assert "ip=203.0.113.77" in roost.log()
    for bad in (b"a NOOP\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", b"PROXY" + b"x" * 200):
        client = line("imap", before=bad, instance=roost)
        assert client.rest() == [], bad


def test_proxy_headers_of_strangers_are_commands(line):
    client = line("smtp", before=header("203.0.113.9"))
    assert client.line().startswith("220")
    assert client.line().startswith("500")


def test_total_connections(make_instance, line):
    roost = make_instance(settings={"max_connections": 4})
    held = [line("pop3", instance=roost) for _ in range(4)]
    for client in held:
        assert client.line().startswith("+OK")
    assert line("pop3", instance=roost).rest() == ["-ERR [SYS/TEMP] Too many connections, try later"]


# ---- with parts missing ----


def plain(user, password=PASSWORD):
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def signal_daemon(roost, program, name):
    for pid in roost.pids(program):
        subprocess.run(["kill", f"-{name}", str(pid)], check=True)


@pytest.mark.parametrize("program", ["roost-auth", "roost-imap", "roost-index"])
def test_log_in_waits_for_a_daemon_that_comes_back(own_roost, line, program):
    signal_daemon(own_roost, program, "KILL")

    def log_in():
        client = line("imaps", True, instance=own_roost)
        client.line()
        client.send(f'a LOGIN alice@example.test "{PASSWORD}"\r\n')
        answer = client.until("a ")[-1]
        assert answer.startswith("a OK") or "[UNAVAILABLE]" in answer, answer
        return answer.startswith("a OK")

    wait_until(log_in, what=f"log-in after {program} was killed")


def test_a_hanging_auth_is_a_temporary_failure(make_instance, line):
    roost = make_instance(settings={"login_delay_max": "0s", "db_timeout": "100ms"})
    signal_daemon(roost, "roost-auth", "STOP")
    try:
        imap = line("imap", instance=roost)
        smtp = line("submission", instance=roost)
        pop3 = line("pop3", instance=roost)
        imap.line()
        imap.send('a LOGIN alice@example.test "x"\r\n')
        smtp.send(f"EHLO me\r\nAUTH PLAIN {plain('alice@example.test')}\r\n")
        pop3.send("USER alice@example.test\r\nPASS x\r\n")
        assert "[UNAVAILABLE]" in imap.until("a ")[-1]
        assert smtp.until("4")[-1].startswith("454 4.7.0")
        assert pop3.until("-")[-1].startswith("-ERR [SYS/TEMP]")
    finally:
        signal_daemon(roost, "roost-auth", "CONT")


def test_a_client_that_does_not_read(make_instance, line):
    """The answers wait in the kernel and in one record, not in memory, and at last it is cut off."""
    roost = make_instance(settings={"client_write_timeout": "2s"})
    client = Line(roost.ports["imaps"], tls_context(roost))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.line()
    client.send(f'a LOGIN alice@example.test "{PASSWORD}"\r\n')
    client.until("a ")
    commands = b'x LIST "" "*"\r\n' * 2000
    client.sock.settimeout(1)
    with pytest.raises((TimeoutError, ssl.SSLError, ConnectionError)):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            client.send(commands)
    relays = lambda: roost.ctl("status")  # noqa: E731
    wait_until(lambda: not session_pids(roost), what="the session of the client that does not read ends")
    assert relays()


def session_pids(roost):
    """Forked IMAP sessions."""
    found = []
    for parent in roost.pids("roost-imap"):
        result = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True)
        found += result.stdout.split()
    return found


def test_the_certificate_changes_with_a_reload(make_instance, line, tmp_path):
    roost = make_instance()
    client = Line(roost.ports["imaps"], tls_context(roost))
    client.line()
    client.send(f'a LOGIN alice@example.test "{PASSWORD}"\r\n')
    client.until("a ")
    cert, key = roost.dir / "new.pem", roost.dir / "new.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=fresh", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    roost.settings.update({"tls_cert": cert, "tls_key": key})
    roost.write_conf()
    roost.reload()
    fresh = ssl.create_default_context(cafile=str(cert))

    def serves_new():
        try:
            return Line(roost.ports["pop3s"], fresh).line().startswith("+OK")
        except ssl.SSLCertVerificationError:
            return False

    wait_until(serves_new, what="the new certificate is served")
    client.send("b NOOP\r\n")
    assert client.until("b ")[-1].startswith("b OK"), "the session did not outlive the reload"
    # One that does not fit its key changes nothing.
    roost.settings["tls_key"] = roost.state / "tls" / "key.pem"
    roost.write_conf()
    status, _, message = roost.ctl("reload", check=False)
    assert status != 0 and "does not belong" in message or "key values mismatch" in message, message
    assert serves_new()
