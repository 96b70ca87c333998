# SPDX-License-Identifier: MIT
"""SASL mechanisms with stored secrets: SCRAM with and without channel binding, CRAM-MD5, DIGEST-MD5."""

import base64
import contextlib
import hashlib
import hmac
import imaplib
import os
import sqlite3
import ssl
import subprocess

import pytest

from roost_instance import PASSWORD
from conftest import make_roost, tls_context

MECHANISMS = ("PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS SCRAM-SHA-1 SCRAM-SHA-1-PLUS CRAM-MD5 DIGEST-MD5")
STORED = {"plain": "PLAIN", "scram256": "SCRAM-SHA-256", "scram1": "SCRAM-SHA-1", "cram": "CRAM-MD5",
          "argon": "ARGON2ID"}


@pytest.fixture(scope="module")
def sasl(request):
    instance = make_roost("sqlite", request, settings={
        "auth_mechanisms": MECHANISMS.split(), "allow_weak_schemes": "yes", "login_delay_max": "0s"})
    for name, scheme in STORED.items():
        instance.ctl("user", "add", f"{name}@example.test", "--scheme", scheme, stdin=PASSWORD)
    yield instance
    instance.close()


class Scram:
    """The client's side of RFC 5802, written from the text."""

    def __init__(self, user, password, digest, gs2=b"n,,", binding=b""):
        self.password, self.digest, self.gs2, self.binding = password.encode(), digest, gs2, binding
        self.nonce = base64.b64encode(os.urandom(18))
        self.bare = b"n=" + user.encode() + b",r=" + self.nonce
        self.stage = 0

    def hash(self, data):
        return hashlib.new(self.digest, data).digest()

    def mac(self, key, data):
        return hmac.new(key, data, self.digest).digest()

    def __call__(self, challenge):
        self.stage += 1
        if self.stage == 1:
            return self.gs2 + self.bare
        if self.stage == 3:
            assert challenge == b"v=" + base64.b64encode(self.mac(self.server_key, self.auth_message))
            self.verified = True
            return b""
        fields = dict(f.split(b"=", 1) for f in challenge.split(b","))
        assert fields[b"r"].startswith(self.nonce)
        salted = hashlib.pbkdf2_hmac(self.digest, self.password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        without_proof = b"c=" + base64.b64encode(self.gs2 + self.binding) + b",r=" + fields[b"r"]
        self.auth_message = self.bare + b"," + challenge + b"," + without_proof
        client_key = self.mac(salted, b"Client Key")
        self.server_key = self.mac(salted, b"Server Key")
        signature = self.mac(self.hash(client_key), self.auth_message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        return without_proof + b",p=" + base64.b64encode(proof)


def connect(instance, version=None):
    context = tls_context(instance)
    if version:
        context.maximum_version = version
    return imaplib.IMAP4_SSL("localhost", instance.ports["imaps"], ssl_context=context, timeout=20)


def log_in(client, mechanism, respond):
    """True, or the server's NO."""
    try:
        assert client.authenticate(mechanism, respond)[0] == "OK"
    except client.error as refused:
        return str(refused)
    client.logout()
    return True


@pytest.mark.parametrize("user, mechanism, digest", [
    ("plain", "SCRAM-SHA-256", "sha256"), ("scram256", "SCRAM-SHA-256", "sha256"),
    ("plain", "SCRAM-SHA-1", "sha1"), ("scram1", "SCRAM-SHA-1", "sha1"),
])
def test_scram(sasl, user, mechanism, digest):
    scram = Scram(f"{user}@example.test", PASSWORD, digest)
    assert log_in(connect(sasl), mechanism, scram) is True
    assert scram.verified
    wrong = Scram(f"{user}@example.test", PASSWORD + "x", digest)
    assert "AUTHENTICATIONFAILED" in log_in(connect(sasl), mechanism, wrong)


@pytest.mark.parametrize("scheme", ["PLAIN", "SCRAM-SHA-256", "before"])
def test_scram_prepares_passwords(sasl, scheme):
    """RFC 5802 section 2.2: the client prepares what was typed; what was stored may have been typed otherwise."""
    typed, user = "Schlu\u0308ssel\u00a0\u2168", f"prepared-{scheme.lower()}@example.test"
    sasl.ctl("user", "add", user, "--scheme", "PLAIN" if scheme == "before" else scheme, stdin=typed)
    if scheme == "before":
        with contextlib.closing(sqlite3.connect(sasl.state / "db" / "roost.db", timeout=60)) as db, db:
            db.execute("UPDATE mailbox SET password = ? WHERE local = 'prepared-before'", ("{PLAIN}" + typed,))
    assert log_in(connect(sasl), "SCRAM-SHA-256", Scram(user, "Schlüssel IX", "sha256")) is True
    assert log_in(connect(sasl), "SCRAM-SHA-256", Scram(user, "Schlussel IX", "sha256")) is not True


def test_tls_unique_binds(sasl):
    client = connect(sasl, ssl.TLSVersion.TLSv1_2)
    binding = client.sock.get_channel_binding("tls-unique")
    scram = Scram("scram256@example.test", PASSWORD, "sha256", b"p=tls-unique,,", binding)
    assert log_in(client, "SCRAM-SHA-256-PLUS", scram) is True
    client = connect(sasl, ssl.TLSVersion.TLSv1_2)
    moved = Scram("scram256@example.test", PASSWORD, "sha256", b"p=tls-unique,,", binding)
    assert log_in(client, "SCRAM-SHA-256-PLUS", moved) is not True, "the binding of another connection"


def test_binding_of_the_wrong_kind_is_refused(sasl):
    for name in (b"tls-exporter", b"tls-unique", b"tls-server-end-point", b"x"):
        scram = Scram("scram256@example.test", PASSWORD, "sha256", b"p=" + name + b",,", b"0" * 32)
        assert log_in(connect(sasl), "SCRAM-SHA-256-PLUS", scram) is not True


def test_downgrade_is_noticed(sasl):
    """RFC 5802 section 6: "y" says that the client saw no -PLUS, which this server has offered."""
    scram = Scram("scram256@example.test", PASSWORD, "sha256", b"y,,")
    assert log_in(connect(sasl), "SCRAM-SHA-256", scram) is not True


@pytest.mark.parametrize("user, works", [("plain", True), ("cram", True), ("argon", False), ("nobody", False)])
def test_cram_md5(sasl, user, works):
    client = connect(sasl)
    try:
        assert client.login_cram_md5(f"{user}@example.test", PASSWORD)[0] == "OK"
        assert works
    except client.error:
        assert not works


def test_who_is_not_there_cannot_be_told_from_who_is(sasl):
    """The first answer to an unknown user has the shape of a known one's, and stays the same."""

    def first(user):
        client, seen = connect(sasl), []
        scram = Scram(user, PASSWORD, "sha256")

        def respond(challenge):
            seen.append(challenge)
            return scram(challenge) if len(seen) < 3 else b""

        outcome = log_in(client, "SCRAM-SHA-256", respond)
        fields = dict(f.split(b"=", 1) for f in seen[1].split(b","))
        return outcome, fields[b"s"], fields[b"i"]

    for name in ("nobody@example.test", "argon@example.test"):
        (outcome, salt, rounds), again = first(name), first(name)
        assert "AUTHENTICATIONFAILED" in outcome
        assert (salt, rounds) == again[1:]
    assert rounds == first("scram256@example.test")[2]
    assert len(salt) == len(first("scram256@example.test")[1])


@pytest.mark.parametrize("mechanism", ["scram-sha-256", "scram-sha-1", "cram-md5", "digest-md5", "plain", "login"])
def test_msmtp(sasl, tmp_path, mechanism):
    (tmp_path / "pw").write_text(PASSWORD)
    result = subprocess.run(
        ["msmtp", "--host=localhost", f"--port={sasl.ports['submissions']}", "--tls=on", "--tls-starttls=off",
         f"--tls-trust-file={sasl.tls_cert}", f"--auth={mechanism}", "--user=plain@example.test",
         f"--passwordeval=cat {tmp_path}/pw", "--from=plain@example.test", "plain@example.test"],
        input=f"Subject: by {mechanism}\n\ntext\n", capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_offers(sasl):
    client = connect(sasl)
    assert {f"AUTH={m}" for m in MECHANISMS.split()} <= set(client.capabilities)
    client.shutdown()
    plain = imaplib.IMAP4("127.0.0.1", sasl.ports["imap"], timeout=20)
    assert "AUTH=SCRAM-SHA-256" in plain.capabilities and "AUTH=SCRAM-SHA-256-PLUS" not in plain.capabilities
    plain.shutdown()
