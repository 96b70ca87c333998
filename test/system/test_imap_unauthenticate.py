# SPDX-License-Identifier: MIT
"""One connection, several users in turn: UNAUTHENTICATE (RFC 8437)."""

import base64
import socket
import struct
import zlib

import pytest
from conftest import tls_context
from roost_instance import PASSWORD, wait_until
from test_imap_session import MESSAGE, Wire


def login(user, tag="t"):
    initial = base64.b64encode(f"\0{user}\0{PASSWORD}".encode()).decode()
    return f"{tag} AUTHENTICATE PLAIN {initial}\r\n".encode()


def who(roost):
    return [session["user"] for session in roost.ctl("who")]


class TlsWire(Wire):
    """The same over IMAPS."""

    def __init__(self, roost, user):
        plain = socket.create_connection(("localhost", roost.ports["imaps"]), timeout=30)
        self.socket = tls_context(roost).wrap_socket(plain, server_hostname="localhost")
        self.lines = self.socket.makefile("rb")
        self.lines.readline()
        self.send(login(user))
        assert self.until("t ")[-1].startswith("t OK")


@pytest.fixture(params=[Wire, TlsWire])
def wire(request, roost, user):
    connection = request.param(roost, user)
    yield connection
    connection.socket.close()


def test_another_user_on_the_same_connection(roost, wire, user, other_user, imap):
    assert imap(other_user).append("INBOX", None, None, MESSAGE)[0] == "OK"
    assert "UNAUTHENTICATE" in wire.command("CAPABILITY")[0].split()
    wire.command("ENABLE QRESYNC UTF8=ACCEPT")
    wire.command("CREATE Mine")
    wire.command("SELECT Mine")
    wire.send("u UNAUTHENTICATE")
    assert wire.until("u ") == ["u OK Unauthenticate completed"]
    # Before log-in again.
    assert wire.command("SELECT INBOX")[-1].startswith("t BAD")
    answer = wire.command("CAPABILITY")[0]
    assert "AUTH=PLAIN" in answer and "UNAUTHENTICATE" not in answer
    # Nobody gets in without a password, and a failed log-in leaves it there.
    assert wire.command(f'LOGIN {user} "wrong"')[-1].startswith("t NO [AUTHENTICATIONFAILED]")
    wire.send(login(other_user))
    assert wire.until("t ")[-1].startswith("t OK")
    # The other's mail, and nothing of what was enabled or selected.
    assert wire.command("FETCH 1 FLAGS")[-1].startswith("t BAD")
    assert '"/" Mine' not in "".join(wire.command('LIST "" "*"'))
    selected = wire.command("SELECT INBOX")
    assert "* 1 EXISTS" in selected
    assert wire.command(r"STORE 1 +FLAGS (\Deleted)")[0].startswith("* 1 FETCH (FLAGS")
    assert "* 1 EXPUNGE" in wire.command("EXPUNGE")
    assert other_user in who(roost) and user not in who(roost)
    for _ in range(5):
        wire.send(b"u UNAUTHENTICATE\r\n" + login(user) + b"s STATUS INBOX (MESSAGES)\r\n")
        assert wire.until("s ")[-2:] == ["* STATUS INBOX (MESSAGES 0)", "s OK Status completed"]
    assert wire.command("LOGOUT")[0].startswith("* BYE")
    assert wire.at_end()


def test_its_place_is_kept_and_given_up_once(make_instance):
    one = make_instance(settings={"proxy_processes": "1", "max_connections": "3"})
    alice = "alice@example.test"

    for kind in (Wire, TlsWire):
        wires = [kind(one, alice) for _ in range(3)]
        for wire in wires:
            for _ in range(3):
                wire.send(b"u UNAUTHENTICATE\r\n" + login(alice))
                assert wire.until("t ")[-1].startswith("t OK")
        late = socket.create_connection(("127.0.0.1", one.ports["imap"]), timeout=30)
        assert late.makefile("rb").readline().startswith(b"* BYE")
        late.close()
        for wire in wires:
            wire.command("LOGOUT")
            assert wire.at_end()
            wire.socket.close()
        # All places are free again.
        def admitted():
            with socket.create_connection(("127.0.0.1", one.ports["imap"]), timeout=30) as s:
                return s.makefile("rb").readline().startswith(b"* OK")
        wait_until(admitted, what="a free place")


def test_starttls_after_it(roost, user, other_user):
    wire = Wire(roost, user)
    wire.command("UNAUTHENTICATE")
    assert wire.command("STARTTLS")[-1].startswith("t OK")
    tls = tls_context(roost).wrap_socket(wire.socket, server_hostname="localhost")
    wire.socket, wire.lines = tls, tls.makefile("rb")
    wire.send(login(other_user))
    assert wire.until("t ")[-1].startswith("t OK")
    wire.command("UNAUTHENTICATE")
    assert wire.command("STARTTLS")[-1].startswith("t BAD TLS is active")
    tls.close()


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH])
@pytest.mark.parametrize("kind", [Wire, TlsWire])
def test_compression_ends_with_it(roost, user, other_user, kind, flush):
    wire = kind(roost, user)
    for whose in (other_user, user):
        assert wire.command("COMPRESS DEFLATE")[-1].startswith("t OK")
        pack, unpack = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
        wire.socket.sendall(pack.compress(b"n NOOP\r\n") + pack.flush(zlib.Z_SYNC_FLUSH))
        # The next log-in comes along uncompressed.
        wire.socket.sendall(pack.compress(b"u UNAUTHENTICATE\r\n") + pack.flush(flush) + login(whose))
        text = b""
        while not unpack.eof:
            piece = wire.socket.recv(1)
            assert piece, text
            text += unpack.decompress(piece)
        assert text.endswith(b"u OK Unauthenticate completed\r\n"), text
        assert wire.until("t ")[-1].startswith("t OK")
        assert wire.command("NOOP") == ["t OK Noop completed"]
    wire.socket.close()


def test_what_goes_on_compressed_behind_it_is_refused(roost, user):
    wire = Wire(roost, user)
    wire.command("COMPRESS DEFLATE")
    pack = zlib.compressobj(wbits=-15)
    wire.socket.sendall(pack.compress(b"u UNAUTHENTICATE\r\nn NOOP\r\n") + pack.flush(zlib.Z_SYNC_FLUSH))
    assert b"n OK" not in zlib.decompressobj(wbits=-15).decompress(wire.socket.makefile("rb").read())


def test_a_session_that_slept(make_instance):
    one = make_instance(settings={"imap_hibernate_after": "100ms"})
    wire = TlsWire(one, "alice@example.test")
    wire.command("SELECT INBOX")
    wait_until(lambda: not one.pids("roost-imap")[1:], what="its sleep")
    wire.send(b"u UNAUTHENTICATE\r\n" + login("bob@example.test"))
    assert wire.until("t ")[-1].startswith("t OK")
    wire.socket.close()


def test_a_session_cannot_make_up_a_client(make_instance):
    """Only bytes that a proxy sealed make a client of a descriptor."""
    one = make_instance()
    mine, theirs = socket.socketpair()
    forged = socket.socket(socket.AF_UNIX)
    forged.settimeout(30)
    forged.connect(str(one.state / "run" / "proxy-return"))

    def field(text):
        return struct.pack("=I", len(text)) + text

    body = field(b"0123456789abcdef") + field(b"x" * 200) + field(b"a CAPABILITY\r\n")
    frame = struct.pack("=IHHI", len(body), 5, 1 | 1 << 4, 1) + body
    socket.send_fds(forged, [frame], [theirs.fileno()])
    theirs.close()
    length, kind, _, request = struct.unpack("=IHHI", forged.recv(12))
    assert (kind, request, forged.recv(length)) == (2, 1, b"\0")
    assert mine.recv(100) == b""
    assert "proxy.return refused" in one.log()
