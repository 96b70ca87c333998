# SPDX-License-Identifier: MIT
"""COMPRESS=DEFLATE (RFC 4978), by a client of our own and by those of Debian; also while it sleeps."""

import contextlib
import os
import random
import socket
import subprocess
import zlib

import pytest
from roost_instance import PASSWORD, Roost
from test_imap_session import Wire
from test_sleep import append, wait_asleep


class Deflated:
    """A Wire whose bytes are compressed from now on."""

    def __init__(self, wire, flush=zlib.Z_SYNC_FLUSH):
        assert wire.command("COMPRESS DEFLATE")[-1] == "t OK DEFLATE active"
        self.socket, self.flush = wire.socket, flush
        self.deflate, self.inflate = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        self.text, self.received = b"", 0

    def send(self, data):
        data = data if isinstance(data, bytes) else data.encode() + b"\r\n"
        self.socket.sendall(self.deflate.compress(data) + self.deflate.flush(self.flush))

    def line(self):
        while b"\n" not in self.text:
            piece = self.socket.recv(65536)
            if not piece:
                return ""
            self.received += len(piece)
            self.text += self.inflate.decompress(piece)
        line, self.text = self.text.split(b"\n", 1)
        return line.decode("latin-1").rstrip("\r")

    def until(self, start):
        seen = []
        while not seen or not seen[-1].startswith(start):
            seen.append(self.line())
            assert seen[-1] or len(seen) < 100000, seen[-10:]
        return seen

    def command(self, text):
        self.send(f"t {text}")
        return self.until("t ")


def test_a_compressed_session(roost, user):
    wire = Wire(roost, user)
    assert "COMPRESS=DEFLATE" in wire.command("CAPABILITY")[0].split()
    assert wire.command("COMPRESS LZMA")[-1].startswith("t BAD")
    append(wire, 30)
    wire.command("SELECT INBOX")
    plain = sum(len(line) + 2 for line in wire.command("FETCH 1:* (UID FLAGS ENVELOPE)"))
    packed = Deflated(wire)
    assert packed.command("COMPRESS DEFLATE")[-1].startswith("t NO [COMPRESSIONACTIVE]")
    before = packed.received
    assert len(packed.command("FETCH 1:* (UID FLAGS ENVELOPE)")) == 31
    assert packed.received - before < plain / 4
    # A message of several buffers that does not compress, and one command in many pieces.
    body = b"Subject: noise\r\n\r\n" + random.Random(7).randbytes(300000).hex().encode() + b"\r\n"
    packed.send(b"b APPEND INBOX {%d+}\r\n%b\r\n" % (len(body), body))
    packed.until("b OK")
    packed.send("c FETCH 31 BODY.PEEK[TEXT]")
    assert packed.until("c OK")[1] == body.split(b"\r\n")[2].decode()
    data = packed.deflate.compress(b"d NOOP\r\ne IDLE\r\n") + packed.deflate.flush(zlib.Z_SYNC_FLUSH)
    for i in range(len(data)):
        packed.socket.sendall(data[i:i + 1])
    packed.until("d OK")
    packed.until("+ ")
    append(Wire(roost, user))
    packed.until("* 32 EXISTS")
    packed.send(b"DONE\r\nf LOGOUT\r\n")
    packed.until("f OK")
    assert packed.line() == ""


def test_not_before_log_in_and_garbage(roost, user):
    with socket.create_connection(("127.0.0.1", roost.ports["imap"]), timeout=30) as early:
        lines = early.makefile("rb")
        assert b"COMPRESS" not in lines.readline()
        early.sendall(b"a COMPRESS DEFLATE\r\n")
        assert lines.readline().startswith(b"a BAD")
    for garbage in (b"\xff" * 100, b"\x07\x00" * 50, b"a NOOP\r\n"):
        packed = Deflated(Wire(roost, user))
        packed.socket.sendall(garbage + b"\r\n" * 20)
        with contextlib.suppress(ConnectionResetError):
            while packed.line():
                pass
    # A few bytes that stand for very many.
    packed = Deflated(Wire(roost, user))
    bomb = packed.deflate.compress(b"t " + b"x" * 50_000_000 + b"\r\n") + packed.deflate.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 100000
    packed.socket.sendall(bomb)
    assert packed.until("t ")[-1] == "t BAD The command line is too long"
    assert packed.command("NOOP")[-1].startswith("t OK")


@pytest.fixture(scope="module")
def sleepy():
    instance = Roost(settings={"imap_hibernate_after": "300ms"})
    yield instance
    instance.close()


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH])
def test_a_compressed_session_sleeps(sleepy, flush):
    """Each side's compressor goes on referring to what it said before the sleep."""
    user = sleepy.add_user(f"packed{flush}")
    other = Wire(sleepy, user)
    packed = Deflated(Wire(sleepy, user), flush)
    packed.command("SELECT INBOX")
    for n in range(5):
        packed.send(f"idle{n} IDLE")
        packed.until("+ ")
        wait_asleep(sleepy, packed)
        append(other)
        packed.until(f"* {n + 1} EXISTS")
        wait_asleep(sleepy, packed)
        packed.send(b"DONE\r\nx%d FETCH 1:* (UID FLAGS ENVELOPE)\r\n" % n)
        assert len([line for line in packed.until(f"x{n} OK") if "ENVELOPE" in line]) == n + 1
        wait_asleep(sleepy, packed)
    packed.send("y IDLE")
    packed.until("+ ")
    wait_asleep(sleepy, packed)
    # What roost-idle says itself is compressed, too.
    sleepy.ctl("kick", user)
    assert packed.until("* BYE")[-1] == "* BYE Server is going down"


def test_a_compressed_session_whose_user_is_gone(sleepy):
    user = sleepy.add_user("packedgone")
    packed = Deflated(Wire(sleepy, user))
    packed.command("SELECT INBOX")
    wait_asleep(sleepy, packed)
    sleepy.ctl("user", "set", user, "--active", "no")
    packed.send("a NOOP")
    assert packed.until("* BYE")[-1] == "* BYE This account is closed"


def test_a_compressed_session_whose_user_is_elsewhere(sleepy):
    user = sleepy.add_user("packedmoved")
    packed = Deflated(Wire(sleepy, user))
    packed.command("SELECT INBOX")
    wait_asleep(sleepy, packed)
    sleepy.ctl("user", "set", user, "--host", "[2001:db8::1]:993")
    packed.send("a NOOP")
    assert packed.until("* BYE")[-1].startswith("* BYE [REFERRAL imap://packedmoved%40example.test;AUTH=*@[2001:db8::1]:993/] ")


def test_offlineimap_compressed(roost, user, tmp_path):
    """isync does not compress; OfflineIMAP does, through Python's zlib."""
    wire = Wire(roost, user)
    append(wire, 5)
    wire.socket.close()
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    (tmp_path / "rc").write_text(f"""[general]
accounts = a
ui = quiet
metadata = {tmp_path}/meta
[Account a]
localrepository = l
remoterepository = r
[Repository l]
type = Maildir
localfolders = {tmp_path}/mail
[Repository r]
type = IMAP
remotehost = localhost
remoteport = {roost.ports["imaps"]}
ssl = yes
sslcacertfile = {roost.tls_cert}
usecompression = yes
remoteuser = {user}
remotepassfile = {secret}
""")
    run = subprocess.run(["offlineimap", "-o", "-c", tmp_path / "rc"], capture_output=True, text=True, timeout=120,
                         env={**os.environ, "HOME": str(tmp_path)})
    files = [path for path in (tmp_path / "mail" / "INBOX").glob("*/*") if path.is_file()]
    assert len(files) == 5, run.stdout + run.stderr
    assert all(path.read_bytes().endswith(b"body\n") for path in files)
