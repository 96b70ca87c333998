# SPDX-License-Identifier: MIT
"""Log-ins without a password: OAuth tokens, client certificates; and POP3's APOP."""

import base64
import hashlib
import http.server
import imaplib
import json
import poplib
import smtplib
import ssl
import subprocess
import threading
import time
import urllib.parse

import pytest
from conftest import make_roost, tls_context
from roost_instance import PASSWORD, wait_until
from test_proxy import Line

ALICE, BOB = "alice@example.test", "bob@example.test"


def openssl(*args, stdin=b""):
    done = subprocess.run(["openssl", *map(str, args)], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


# ---- an identity provider ----

def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """Signs tokens with an Ed25519 key and answers introspection on a loopback port."""

    def __init__(self, directory, certificate=None):
        self.dir = directory
        self.key, self.jwks = directory / "key.pem", directory / "jwks.json"
        self.rotate("first")
        self.known, self.asked = {}, []
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.asked.append((self.headers["Authorization"], urllib.parse.parse_qs(body)))
                token = provider.asked[-1][1]["token"][0]
                if token == "broken":
                    self.send_error(500)
                    return
                answer = json.dumps(provider.known.get(token, {"active": False})).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/introspect"

    def rotate(self, kid):
        self.kid = kid
        openssl("genpkey", "-algorithm", "ed25519", "-out", self.key)
        public = openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")[-32:]
        fresh = self.jwks.with_suffix(".new")
        fresh.write_text(json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig",
                                               "x": base64url(public)}]}))
        fresh.replace(self.jwks)

    def token(self, header=None, **claims):
        claims = {"iss": "https://id.example.test", "aud": "roost", "email": ALICE, "exp": int(time.time()) + 600,
                  "scope": "openid mail", **claims}
        text = ".".join(base64url(json.dumps(part).encode())
                        for part in ({"alg": "EdDSA", "kid": self.kid, **(header or {})}, claims))
        (self.dir / "text").write_text(text)
        signature = openssl("pkeyutl", "-sign", "-inkey", self.key, "-rawin", "-in", self.dir / "text")
        return f"{text}.{base64url(signature)}"


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    directory = tmp_path_factory.mktemp("provider")
    for parent in (directory, *directory.parents[:2]):
        parent.chmod(0o755)
    it = Provider(directory)
    yield it
    it.server.shutdown()


# ---- a certificate authority ----

class Authority:
    def __init__(self, directory, name="clients"):
        self.dir, self.cert, self.key = directory, directory / f"{name}.pem", directory / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                f"/CN={name}", "-keyout", self.key, "-out", self.cert, "-days", "30")

    def issue(self, name, subject, extensions="", days=10):
        """A file with certificate and key."""
        made = self.dir / f"{name}.client.pem"
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
                "-utf8", "-keyout", self.dir / "k", "-out", self.dir / "csr")
        (self.dir / "ext").write_text(extensions or "basicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", self.dir / "csr", "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                "-days", str(days), "-extfile", self.dir / "ext", "-out", self.dir / "c")
        made.write_text((self.dir / "c").read_text() + (self.dir / "k").read_text())
        return made


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(request, provider, authority):
    roost = make_roost("sqlite", request, settings={
        "auth_mechanisms": ["PLAIN", "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "APOP"], "login_attempts": 100,
        "login_delay_max": "0s", "tls_client_ca": authority.cert, "oauth_jwks": provider.jwks,
        "oauth_issuer": "https://id.example.test", "oauth_audience": ["roost"], "oauth_scope": ["mail"],
        "oauth_introspection_url": provider.url, "oauth_introspection_credentials": "roost:se cret",
        "oauth_openid_configuration": "https://id.example.test/.well-known/openid-configuration"})
    roost.ctl("user", "add", "plain@example.test", "--scheme", "PLAIN", stdin=PASSWORD)
    yield roost
    assert roost.process.poll() is None, roost.log_tail()
    roost.close()


def with_certificate(roost, certificate=None):
    context = tls_context(roost)
    if certificate:
        context.load_cert_chain(certificate)
    return context


# ---- tokens ----

def bearer(token, user=""):
    return f"n,{'a=' + user if user else ''},\1host=localhost\1auth=Bearer {token}\1\1".encode()


def xoauth2(token, user=ALICE):
    return f"user={user}\1auth=Bearer {token}\1\1".encode()


def try_token(roost, mechanism, message):
    """What the server said last, and its challenges."""
    client = Line(roost.ports["imaps"], tls_context(roost))
    client.line()
    challenges = []
    client.send(f"a AUTHENTICATE {mechanism} {base64.b64encode(message).decode()}\r\n")
    while (line := client.line()).startswith("+ "):
        challenges.append(base64.b64decode(line[2:]))
        client.send(base64.b64encode(b"\1") + b"\r\n")
    while line.startswith("* "):
        line = client.line()
    client.close()
    return line, challenges


def test_tokens_let_in(server, provider):
    token = provider.token()
    for mechanism, message in (("OAUTHBEARER", bearer(token)), ("OAUTHBEARER", bearer(token, ALICE)),
                               ("XOAUTH2", xoauth2(token)), ("XOAUTH2", xoauth2(token, "Alice@Example.Test"))):
        line, challenges = try_token(server, mechanism, message)
        assert line.startswith("a OK") and not challenges, (mechanism, line)
    client = imaplib.IMAP4_SSL("localhost", server.ports["imaps"], ssl_context=tls_context(server))
    client.authenticate("XOAUTH2", lambda _: xoauth2(token))
    assert client.select()[0] == "OK"
    smtp = smtplib.SMTP_SSL("localhost", server.ports["submissions"], context=tls_context(server))
    smtp.ehlo()
    assert {"OAUTHBEARER", "XOAUTH2"} <= set(smtp.esmtp_features["auth"].split())
    assert smtp.auth("OAUTHBEARER", lambda challenge=None: bearer(token).decode("latin-1"))[0] == 235
    assert token not in server.log()


@pytest.mark.parametrize("claims, reason", [
    ({"exp": 1000}, "expired"), ({"exp": None}, "expired"), ({"nbf": 4000000000}, "expired"),
    ({"iss": "https://evil.example.test"}, "issuer"), ({"aud": "other"}, "audience"), ({"aud": None}, "audience"),
    ({"scope": "openid"}, "scope"), ({"email": "x"}, "claim"), ({"email": None}, "claim"),
    ({"email": "alice@example.test\0@evil.test"}, "claim"), ({"email": "nobody@example.test"}, "user")])
def test_tokens_that_are_refused(server, provider, claims, reason):
    line, challenges = try_token(server, "OAUTHBEARER", bearer(provider.token(**claims)))
    assert line.startswith("a NO [AUTHENTICATIONFAILED]")
    assert f"mech=OAUTHBEARER service=imap reason={reason}" in server.log()
    if reason != "user":
        assert json.loads(challenges[0]) == {
            "status": "invalid_token", "schemes": "bearer", "scope": "mail",
            "openid-configuration": "https://id.example.test/.well-known/openid-configuration"}


def test_forged_tokens(server, provider):
    good = provider.token()
    head, body, signature = good.split(".")
    forged = [
        f"{base64url(b'{}')}.{body}.{signature}",
        f"{base64url(json.dumps({'alg': 'none'}).encode())}.{body}.",
        f"{base64url(json.dumps({'alg': 'none'}).encode())}.{body}.{signature}",
        f"{base64url(json.dumps({'alg': 'HS256', 'kid': provider.kid}).encode())}.{body}.{signature}",
        f"{head}.{base64url(json.dumps({'email': BOB}).encode())}.{signature}",
        provider.token({"kid": "../../etc/passwd"}), provider.token({"kid": None}), provider.token({"crit": ["exp"]})]
    for token in forged:
        assert try_token(server, "OAUTHBEARER", bearer(token))[0].startswith("a NO"), token
    assert try_token(server, "OAUTHBEARER", bearer(good, BOB))[0].startswith("a NO"), "for somebody else"
    assert try_token(server, "XOAUTH2", xoauth2(good, BOB))[0].startswith("a NO")
    for nonsense in (b"", b"n,,", b"\1\1", b"n,,\1auth=Bearer \1\1", b"\xff\xfe"):
        assert try_token(server, "OAUTHBEARER", nonsense)[0].startswith("a BAD"), nonsense
    assert try_token(server, "OAUTHBEARER", bearer(good))[0].startswith("a OK")


def test_keys_are_reread(server, provider):
    old = provider.token()
    provider.rotate("second")
    wait_until(lambda: try_token(server, "OAUTHBEARER", bearer(provider.token()))[0].startswith("a OK"),
               what="the new key is known")
    assert try_token(server, "OAUTHBEARER", bearer(old))[0].startswith("a NO")


def test_introspection(server, provider):
    rights = {"active": True, "iss": "https://id.example.test", "aud": "roost", "scope": "mail"}
    provider.known = {"opaque": {**rights, "email": BOB}, "over": {"active": False, "email": BOB},
                      "other": {**rights, "aud": "other", "email": BOB}}
    assert try_token(server, "OAUTHBEARER", bearer("opaque"))[0].startswith("a OK")
    basic = "Basic " + base64.b64encode(b"roost:se cret").decode()
    assert provider.asked[-1][0] == basic and provider.asked[-1][1]["token"] == ["opaque"]
    for token in ("over", "other", "unknown"):
        assert try_token(server, "XOAUTH2", xoauth2(token, BOB))[0].startswith("a NO [AUTHENTICATIONFAILED]")
    assert try_token(server, "OAUTHBEARER", bearer("broken"))[0].startswith("a NO [UNAVAILABLE]")


def test_introspection_over_https(make_instance, tmp_path_factory):
    """Only one whose certificate a given authority has issued, for the name in the URL, is asked."""
    directory = tmp_path_factory.mktemp("https")
    for parent in (directory, *directory.parents[:2]):
        parent.chmod(0o755)
    ours, theirs = Authority(directory, "ours"), Authority(directory, "theirs")
    usage = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n"
    rights = {"active": True, "iss": "https://id.example.test", "aud": "roost", "scope": "mail", "email": ALICE}
    providers = [Provider(directory, authority.issue(name, f"/CN={name}", usage))
                 for name, authority in (("good", ours), ("foreign", theirs))]
    good, foreign = [f"https://localhost:{one.server.server_port}/introspect" for one in providers]
    roost = make_instance(settings={
        "auth_mechanisms": ["PLAIN", "OAUTHBEARER"], "oauth_introspection_url": good, "login_delay_max": "0s",
        "oauth_introspection_ca": ours.cert, "oauth_introspection_credentials": "roost:secret"})
    for one in providers:
        one.known = {"opaque": rights}
    assert try_token(roost, "OAUTHBEARER", bearer("opaque"))[0].startswith("a OK")
    assert try_token(roost, "OAUTHBEARER", bearer("unknown"))[0].startswith("a NO [AUTHENTICATIONFAILED]")
    assert len(providers[0].asked) == 2
    for url in (foreign, good.replace("localhost", "127.0.0.1")):
        roost.settings["oauth_introspection_url"] = url
        roost.stop()
        roost.write_conf()
        roost.start()
        assert try_token(roost, "OAUTHBEARER", bearer("opaque"))[0].startswith("a NO [UNAVAILABLE]")
    assert [len(one.asked) for one in providers] == [2, 0], "the token was shown to nobody else"
    for one in providers:
        one.server.shutdown()


def run(*args, stdin=""):
    return subprocess.run([str(a) for a in args], input=stdin, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_curl_and_msmtp_with_tokens(server, provider, tmp_path, mechanism):
    for token, good in ((provider.token(), True), (provider.token(aud="other"), False)):
        for url in (f"imaps://localhost:{server.ports['imaps']}/INBOX", f"pop3s://localhost:{server.ports['pop3s']}"):
            done = run("curl", "-sS", "--cacert", server.tls_cert, "--url", url, "--user", f"{ALICE}:",
                       "--oauth2-bearer", token, "--login-options", f"AUTH={mechanism}")
            assert (done.returncode == 0) == good, (url, done.stderr)
        done = msmtp(server, tmp_path, f"auth {mechanism.lower()}\nuser {ALICE}\npassword {token}\n")
        assert (done.returncode == 0) == good, done.stderr


def msmtp(server, tmp_path, lines):
    conf = tmp_path / "msmtprc"
    conf.write_text(f"account default\nhost localhost\nport {server.ports['submissions']}\ntls on\ntls_starttls off\n"
                    f"tls_trust_file {server.tls_cert}\nfrom {ALICE}\n{lines}")
    conf.chmod(0o600)
    return run("msmtp", "-C", conf, BOB, stdin="Subject: from msmtp\n\nx\n")


# ---- certificates ----

def external(roost, certificate, authzid="=", starttls=False):
    context = with_certificate(roost, certificate)
    if starttls:
        client = Line(roost.ports["imap"])
        client.line()
        client.send("s STARTTLS\r\n")
        client.until("s OK")
        client.start_tls(context)
    else:
        client = Line(roost.ports["imaps"], context)
        client.line()
    client.send("c CAPABILITY\r\n")
    offered = "AUTH=EXTERNAL" in client.until("c ")[0]
    client.send(f"a AUTHENTICATE EXTERNAL {authzid}\r\n")
    answer = client.until("a ")[-1]
    client.close()
    return offered, answer


def test_external_over_all_protocols(server, authority):
    cert = authority.issue("alice", "/CN=Alice", "subjectAltName=email:alice@example.test\n")
    as_alice = base64.b64encode(ALICE.encode()).decode()
    for authzid in ("=", as_alice):
        for starttls in (False, True):
            offered, answer = external(server, cert, authzid, starttls)
            assert offered and answer.startswith("a OK"), answer
    assert "user=alice@example.test ip=127.0.0.1 mech=EXTERNAL" in server.log()
    offered, answer = external(server, cert, base64.b64encode(BOB.encode()).decode())
    assert offered and answer.startswith("a NO [AUTHENTICATIONFAILED]")
    pop3 = Line(server.ports["pop3s"], with_certificate(server, cert))
    pop3.line()
    pop3.send("AUTH EXTERNAL =\r\nSTAT\r\n")
    assert pop3.line().startswith("+OK") and pop3.line().startswith("+OK 0 ")
    smtp = smtplib.SMTP("localhost", server.ports["submission"])
    smtp.starttls(context=with_certificate(server, cert))
    smtp.ehlo()
    assert "EXTERNAL" in smtp.esmtp_features["auth"].split()
    assert smtp.docmd("AUTH", "EXTERNAL =")[0] == 235
    assert smtp.docmd("MAIL", f"FROM:<{ALICE}>")[0] == 250


def test_curl_and_msmtp_with_a_certificate(server, authority, tmp_path):
    san = "subjectAltName=email:{}\n"
    cert = authority.issue("c1", "/CN=x", san.format(ALICE))
    gone = authority.issue("c2", "/CN=x", san.format("gone@x.test"))
    for file, good in ((cert, True), (gone, False)):
        for url in (f"imaps://localhost:{server.ports['imaps']}/INBOX", f"pop3s://localhost:{server.ports['pop3s']}"):
            done = run("curl", "-sS", "--cacert", server.tls_cert, "--cert", file, "--url", url, "--user", f"{ALICE}:",
                       "--login-options", "AUTH=EXTERNAL")
            assert (done.returncode == 0) == good, (url, done.stderr)
        done = msmtp(server, tmp_path, f"auth external\nuser {ALICE}\ntls_cert_file {file}\ntls_key_file {file}\n")
        assert (done.returncode == 0) == good, done.stderr


def test_certificates_that_let_nobody_in(server, authority, tmp_path):
    other = Authority(tmp_path, "other")
    san = "subjectAltName=email:{}\n"
    certificates = {
        "without the field": authority.issue("nofield", f"/CN={ALICE}/emailAddress={ALICE}"),
        "with another field": authority.issue("dns", "/CN=x", "subjectAltName=DNS:alice.example.test\n"),
        "of another authority": other.issue("other", "/CN=x", san.format(ALICE)),
        "for servers": authority.issue("server", "/CN=x", san.format(ALICE) + "extendedKeyUsage=serverAuth\n"),
        "of the past": authority.issue("old", "/CN=x", san.format(ALICE), days=-1),
        "none": None}
    for what, cert in certificates.items():
        offered, answer = external(server, cert, base64.b64encode(ALICE.encode()).decode())
        assert not offered and answer.startswith("a NO"), what
    # They may still log in with a password.
    client = imaplib.IMAP4_SSL("localhost", server.ports["imaps"],
                               ssl_context=with_certificate(server, certificates["of another authority"]))
    client.login(ALICE, PASSWORD)
    # One that names nobody who is here.
    offered, answer = external(server, authority.issue("gone", "/CN=x", san.format("gone@example.test")))
    assert offered and answer.startswith("a NO [AUTHENTICATIONFAILED]")
    plain = Line(server.ports["imap"])
    plain.line()
    plain.send("c CAPABILITY\r\n")
    assert "EXTERNAL" not in plain.until("c ")[0]


def test_nothing_is_offered_that_cannot_succeed(make_instance):
    roost = make_instance(settings={"auth_mechanisms": ["PLAIN", "EXTERNAL", "OAUTHBEARER", "XOAUTH2"]})
    client = imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost))
    assert [c for c in client.capabilities if c.startswith("AUTH=")] == ["AUTH=PLAIN"]
    assert try_token(roost, "OAUTHBEARER", bearer("x"))[0].startswith("a NO [CANNOT]")
    pop3 = poplib.POP3("localhost", roost.ports["pop3"])
    with pytest.raises(poplib.error_proto):
        pop3.apop("alice@example.test", PASSWORD)


# ---- APOP ----

def test_apop(server):
    pop3 = poplib.POP3("localhost", server.ports["pop3"])
    assert pop3.apop("plain@example.test", PASSWORD).startswith(b"+OK")
    assert pop3.stat() == (0, 0)
    # RFC 6856 section 2.2: both sides prepare the password.
    server.ctl("user", "add", "typed@example.test", "--scheme", "PLAIN", stdin="Schlu\u0308ssel\u2168")
    pop3 = poplib.POP3("localhost", server.ports["pop3"])
    assert pop3.apop("typed@example.test", "SchlüsselIX").startswith(b"+OK")
    greetings = set()
    for user, password in (("plain@example.test", "wrong"), (ALICE, PASSWORD), ("nobody@example.test", PASSWORD)):
        pop3 = poplib.POP3("localhost", server.ports["pop3"])
        greetings.add(pop3.welcome)
        with pytest.raises(poplib.error_proto, match="AUTH"):
            pop3.apop(user, password)
    assert len(greetings) == 3
    # What was good for one greeting is good for that one alone.
    timestamp = greetings.pop().split(b"<")[1].rstrip(b">\r\n")
    digest = hashlib.md5(b"<" + timestamp + b">" + PASSWORD.encode()).hexdigest()
    client = Line(server.ports["pop3"])
    client.line()
    for words, answer in ((f"plain@example.test {digest}", "-ERR [AUTH]"), ("", "-ERR APOP needs"),
                          ("x", "-ERR APOP needs")):
        client.send(f"APOP {words}".strip() + "\r\n")
        assert client.line().startswith(answer)


def test_fingerprint_is_asked_for_on_smtp_ports(make_instance, authority):
    roost = make_instance(settings={"tls_ask_client_cert": "yes"})
    cert = authority.issue("relay", "/CN=relay.example.test")
    smtp = smtplib.SMTP("localhost", roost.ports["smtp"])
    assert smtp.starttls(context=with_certificate(roost, cert))[0] == 220
    assert smtp.ehlo()[0] == 250 and smtp.mail("a@example.org")[0] == 250
    shown = openssl("x509", "-in", cert, "-noout", "-fingerprint", "-sha256").decode().strip().split("=")[1]
    wait_until(lambda: f"service=smtp cert={shown}" in roost.log(), what="smtpd is told of it")
    context = with_certificate(roost, cert)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    smtp = smtplib.SMTP("localhost", roost.ports["smtp"])
    assert smtp.starttls(context=context)[0] == 220 and smtp.ehlo()[0] == 250
