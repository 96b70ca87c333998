# SPDX-License-Identifier: MIT
"""Other programs authenticate against Roost in Dovecot's protocol: the protocol itself, Postfix, Exim."""

import base64
import contextlib
import grp
import os
import pwd
import re
import shutil
import smtplib
import socket
import stat

import pytest
from conftest import make_roost
from peers import Postfix
from programs import SECOND_TRY, run, write_secret
from roost_instance import PASSWORD, Postgres, Roost, free_ports, wait_until
from test_sasl import Scram

pytestmark = SECOND_TRY

MECHANISMS = "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS CRAM-MD5 DIGEST-MD5"
USER = "plain@example.test"
with_postfix = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("postfix"),
                                  reason="Postfix starts as root only")


def make_reachable(place):
    """For the user postfix."""
    for directory in (place, *place.parents[:2]):
        directory.chmod(0o755)


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    port = free_ports(1)[0]
    place = tmp_path_factory.mktemp("sockets")
    instance = make_roost("sqlite", request, settings={
        "auth_mechanisms": MECHANISMS.split(), "login_delay_max": "0s", "auth_cache_ttl": "0s",
        "auth_socket_dovecot": place / "auth", "auth_socket_dovecot_mode": "0666",
        "auth_socket_dovecot_userdb": f"inet:127.0.0.1:{port}"})
    make_reachable(place)
    instance.place, instance.userdb_port = place / "auth", port
    instance.ctl("user", "add", USER, "--scheme", "PLAIN", stdin=PASSWORD)
    instance.ctl("user", "add", "gone@example.test", stdin=PASSWORD)
    instance.ctl("user", "set", "gone@example.test", "--active", "no")
    instance.ctl("user", "add", "moved@example.test", "--host", "mail.example.net", stdin=PASSWORD)
    yield instance
    instance.close()


class Line:
    """The client's side of the protocol."""

    def __init__(self, where, greet=True):
        if isinstance(where, int):
            self.socket = socket.create_connection(("127.0.0.1", where), timeout=20)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(20)
            self.socket.connect(str(where))
        self.file = self.socket.makefile("rb")
        if greet:
            self.send("VERSION\t1\t1", "CPID\t77")

    def send(self, *lines):
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())

    def line(self):
        """One line's fields; [] at the end."""
        line = self.file.readline().decode()
        return line.rstrip("\n").split("\t") if line else []

    def handshake(self):
        lines = []
        while not lines or lines[-1] != ["DONE"]:
            lines.append(self.line())
            assert lines[-1], lines
        return lines

    def is_closed(self):
        with contextlib.suppress(ConnectionResetError):
            while self.line():
                pass
        return True


@pytest.fixture
def auth(server):
    line = Line(server.place)
    line.handshake()
    yield line
    line.socket.close()


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def plain(user, password=PASSWORD):
    return b64(f"\0{user}\0{password}")


# ---- the protocol ----


def test_handshake(server):
    lines = Line(server.place, greet=False).handshake()  # the server speaks first: Exim waits for it
    assert lines[0][:2] == ["VERSION", "1"]
    offered = {line[1]: set(line[2:]) for line in lines if line[0] == "MECH"}
    assert offered == {
        "PLAIN": {"plaintext"}, "LOGIN": {"plaintext"}, "CRAM-MD5": {"dictionary", "active"},
        "DIGEST-MD5": {"dictionary", "active", "mutual-auth"}, "SCRAM-SHA-256": {"mutual-auth"}}
    words = [line[0] for line in lines]
    assert words.index("MECH") < words.index("SPID") and {"CUID", "COOKIE"} <= set(words)
    again = Line(server.place, greet=False).handshake()
    for word in ("CUID", "COOKIE"):
        assert dict(x[:2] for x in lines[:-1])[word] != dict(x[:2] for x in again[:-1])[word]


def test_version_comes_first_and_has_to_be_ours(server):
    for lines in (["AUTH\t1\tPLAIN\tservice=smtp"], ["VERSION\t2\t0"], ["VERSION"], ["VERSION\t1\t1", "NONSENSE"]):
        line = Line(server.place, greet=False)
        line.send(*lines)
        assert line.is_closed()


def test_plain(server, auth):
    auth.send(f"AUTH\t1\tPLAIN\tservice=smtp\tsecured\trip=192.0.2.1\tlip=192.0.2.2\tsession=abc"
              f"\tresp={plain(USER)}")
    assert auth.line() == ["OK", "1", f"user={USER}"]
    assert re.search(f"auth.login ok user={USER} ip=192.0.2.1 mech=PLAIN service=smtp.*session=abc", server.log())
    auth.send("AUTH\t2\tplain\tservice=smtp\tsecured\tresp=")  # as Exim: nothing is no response
    assert auth.line() == ["CONT", "2", ""]
    auth.send(f"CONT\t2\t{plain('PLAIN@Example.Test')}")
    assert auth.line() == ["OK", "2", f"user={USER}"]


@pytest.mark.parametrize("user, password, words", [
    (USER, "wrong", []), ("nobody@example.test", PASSWORD, []),
    ("gone@example.test", PASSWORD, ["user_disabled", "code=user_disabled"]),
    ("gone@example.test", "wrong", []), ("moved@example.test", "wrong", []),
    ("moved@example.test", PASSWORD, ["user_disabled", "code=user_disabled"])])
def test_refusals(auth, user, password, words):
    auth.send(f"AUTH\t5\tPLAIN\tservice=smtp\tsecured\tresp={plain(user, password)}")
    answer = auth.line()
    assert answer[:3] == ["FAIL", "5", f"user={user}"] and answer[3:-1] == words, answer
    assert answer[-1].startswith("reason=")


def test_passwords_only_where_they_are_hidden(auth):
    for n, (rip, good) in enumerate([("rip=192.0.2.1", False), ("rip=2001:db8::1", False), ("rip=bad", False),
                                     ("lip=127.0.0.1", False), ("rip=127.0.0.1", True), ("rip=::1", True),
                                     ("rip=192.0.2.1\tsecured", True), ("rip=192.0.2.1\tsecured=tls", True)]):
        auth.send(f"AUTH\t{n}\tPLAIN\tservice=smtp\t{rip}\tresp={plain(USER)}")
        assert auth.line()[0] == ("OK" if good else "FAIL"), rip
    auth.send("AUTH\t90\tCRAM-MD5\tservice=smtp\trip=192.0.2.1")
    assert auth.line()[0] == "CONT", "shows no password"
    auth.send("AUTH\t91\tSCRAM-SHA-256-PLUS\tservice=smtp\tsecured\trip=192.0.2.1")
    assert auth.line()[0] == "FAIL", "no channel to bind"


def test_scram_and_its_success_data(auth):
    scram = Scram(USER, PASSWORD, "sha256")
    auth.send(f"AUTH\t3\tSCRAM-SHA-256\tservice=smtp\tresp={b64(scram(b''))}")
    auth.send("CONT\t3\t" + b64(scram(base64.b64decode(auth.line()[2]))))
    answer = auth.line()
    assert answer[:2] == ["CONT", "3"]
    auth.send("CONT\t3\t" + b64(scram(base64.b64decode(answer[2]))))
    assert auth.line() == ["OK", "3", f"user={USER}"]
    assert scram.verified


def test_malformed(server, auth):
    for n, request in enumerate(["PLAIN\tservice=smtp\tsecured\tresp=!!!", "PLAIN\tservice=smtp\tsecured\tresp=abc",
                                 "PLAIN\tsecured", "PLAIN\tservice=a b\tsecured", "NONE\tservice=smtp\tsecured",
                                 "\tservice=smtp", "EXTERNAL\tservice=smtp\tsecured\tresp=="]):
        auth.send(f"AUTH\t{n}\t{request}")
        assert auth.line()[:2] == ["FAIL", str(n)], request
    auth.send("CONT\t77\tabcd")
    assert auth.line()[:2] == ["FAIL", "77"], "no such exchange"
    auth.send("AUTH\t78\tLOGIN\tservice=smtp\tsecured")
    assert auth.line()[0] == "CONT"
    auth.send("CONT\t78\t***")
    assert auth.line()[:2] == ["FAIL", "78"]
    for bad in ("AUTH", "AUTH\tx\tPLAIN", "AUTH\t-1\tPLAIN", "CONT", "CANCEL\t", "AUTH\t99999999999\tPLAIN",
                "AUTH\t1\tPLAIN\0", "x" * 20000):
        line = Line(server.place)
        line.send(bad)
        assert line.is_closed(), bad


def test_an_id_in_use_ends_the_connection(auth):
    auth.send("AUTH\t1\tLOGIN\tservice=smtp\tsecured", "AUTH\t1\tLOGIN\tservice=smtp\tsecured")
    assert auth.is_closed()


def test_a_long_response(auth):
    auth.send(f"AUTH\t1\tPLAIN\tservice=smtp\tsecured\tresp={plain(USER, 'x' * 9000)}")
    assert auth.line()[:2] == ["FAIL", "1"]
    auth.send(f"AUTH\t1\tPLAIN\tservice=smtp\tsecured\tresp={plain(USER)}")
    assert auth.line()[:2] == ["OK", "1"]


def test_cancel_frees_the_id(server, auth):
    before = server.log().count("reason=cancelled")
    for _ in range(3):
        auth.send("AUTH\t1\tLOGIN\tservice=smtp\tsecured")
        assert auth.line()[:2] == ["CONT", "1"]
        auth.send("CANCEL\t1")
    auth.socket.close()
    other = Line(server.place)
    other.handshake()
    other.send("AUTH\t9\tLOGIN\tservice=smtp\tsecured")
    assert other.line()[:2] == ["CONT", "9"]
    other.file.close()
    other.socket.close()  # going away cancels as well
    wait_until(lambda: server.log().count("reason=cancelled") == before + 4, what="four were cancelled")


def test_a_flood_is_answered_and_holds_up_nobody(server):
    flood = Line(server.place)
    flood.handshake()
    count = 1200
    flood.send(*(f"AUTH\t{n}\tLOGIN\tservice=smtp\tsecured" for n in range(count)))
    other = Line(server.place)
    other.handshake()
    other.send(f"AUTH\t1\tPLAIN\tservice=smtp\tsecured\tresp={plain(USER)}")
    assert other.line()[:2] == ["OK", "1"]
    answers = [flood.line() for _ in range(count)]
    assert len({a[1] for a in answers}) == count
    assert [a[0] for a in answers].count("CONT") == 1000, "what a connection may have open"
    assert all("temp" in a for a in answers if a[0] == "FAIL")


def test_penalty(server):
    """As everywhere: the answer waits, and that of others does not."""
    server.settings["login_delay_max"] = "60s"
    server.write_conf()
    server.reload()
    try:
        line = Line(server.place)
        line.handshake()

        def guess(n):
            line.send(f"AUTH\t{n}\tPLAIN\tservice=smtp\tsecured\trip=192.0.2.7\tresp={plain(USER, f'wrong {n}')}")

        for n in range(4):
            guess(n)
        assert {tuple(line.line()[:2]) for _ in range(4)} == {("FAIL", str(n)) for n in range(4)}
        # This one waits for four seconds.
        guess(4)
        line.send(f"AUTH\t9\tPLAIN\tservice=smtp\tsecured\trip=192.0.2.7\tresp={plain(USER)}")
        assert [line.line()[:2] for _ in range(2)] == [["OK", "9"], ["FAIL", "4"]]
    finally:
        server.settings["login_delay_max"] = "0s"
        server.write_conf()
        server.reload()


# ---- userdb ----


def test_userdb(server):
    line = Line(server.userdb_port)
    assert line.line()[:2] == ["VERSION", "1"] and line.line()[0] == "SPID"
    line.send(f"USER\t1\t{USER}\tservice=lda")
    answer = line.line()
    fields = dict(f.split("=", 1) for f in answer[3:])
    assert answer[:3] == ["USER", "1", USER] and set(fields) == {"uid", "gid", "home", "mail"}
    client = smtplib.LMTP("127.0.0.1", server.ports["lmtp"])
    client.sendmail("sender@example.org", [USER], "Subject: where is it\r\n\r\n")
    client.quit()
    inside = os.stat(fields["home"])
    assert (str(inside.st_uid), str(inside.st_gid)) == (fields["uid"], fields["gid"])
    kind, maildir = fields["mail"].split(":")
    assert kind == "maildir" and set(os.listdir(maildir)) >= {"new", "cur", "tmp"}
    line.send("USER\t2\tPlain+box@EXAMPLE.test\tservice=lda")
    assert line.line()[:3] == ["USER", "2", USER]
    for name in ("nobody@example.test", "x", "", "a@b@c"):
        line.send(f"USER\t3\t{name}")
        assert line.line() == ["NOTFOUND", "3"]
    for name in ("gone", "moved"):
        line.send(f"USER\t4\t{name}@example.test")
        assert line.line()[:2] == ["FAIL", "4"]
    line.send(f"PASS\t5\t{USER}\tservice=smtp", "LIST\t6\tuser=*")
    assert [line.line()[:2] for _ in range(2)] == [["FAIL", "5"], ["FAIL", "6"]]
    line.send(f"AUTH\t7\tPLAIN\tservice=smtp\tsecured\tresp={plain(USER)}")
    assert line.line()[:2] == ["FAIL", "7"], "no log-ins on this one"


# ---- settings ----


def test_mode_and_owner(server):
    info = os.stat(server.place)
    assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o666
    server.settings["auth_socket_dovecot_mode"] = "0640"
    if os.getuid() == 0:
        server.settings["auth_socket_dovecot_owner"] = "nobody:daemon"
    server.write_conf()
    server.reload()
    info = os.stat(server.place)
    assert stat.S_IMODE(info.st_mode) == 0o640
    if os.getuid() == 0:
        assert (info.st_uid, info.st_gid) == (pwd.getpwnam("nobody").pw_uid, grp.getgrnam("daemon").gr_gid)
    server.settings["auth_socket_dovecot_mode"] = "0666"
    server.settings.pop("auth_socket_dovecot_owner", None)
    server.write_conf()
    server.reload()
    Line(server.place).handshake()


@pytest.mark.parametrize("name, value, said", [
    ("auth_socket_dovecot", "relative", "neither a path"), ("auth_socket_dovecot", "inet:192.0.2.1:99", "loopback"),
    ("auth_socket_dovecot", "inet:*:99", "loopback"), ("auth_socket_dovecot_mode", "0999", "not a mode"),
    ("auth_socket_dovecot_mode", "", "not a mode"), ("auth_socket_dovecot_userdb", "SAME", "the same socket"),
    ("auth_socket_dovecot_owner", "no-such-user-here", "no user")])
def test_bad_settings_are_refused(server, name, value, said):
    if "owner" in name and os.getuid() != 0:
        pytest.skip("owners are root's")
    before = server.settings.get(name)
    server.settings[name] = str(server.place) if value == "SAME" else value
    server.write_conf()
    try:
        with pytest.raises(AssertionError, match=said):
            server.reload()
    finally:
        if before is None:
            del server.settings[name]
        else:
            server.settings[name] = before
        server.write_conf()
    Line(server.place).handshake()


def test_off_unless_set(shared_roost):
    assert not [p for p in (shared_roost.state / "run").iterdir() if "dovecot" in p.name]


# ---- Postfix ----


@pytest.fixture(scope="module")
def postfix(server):
    port = free_ports(1)[0]
    postfix = Postfix(port)
    postfix.configure(smtpd_sasl_auth_enable="yes", smtpd_sasl_type="dovecot", smtpd_sasl_path=server.place,
                      smtpd_sasl_security_options="noanonymous", smtpd_tls_auth_only="no", mynetworks="192.0.2.0/24",
                      smtpd_relay_restrictions="permit_sasl_authenticated, reject",
                      smtpd_recipient_restrictions="permit_sasl_authenticated, reject",
                      smtpd_sasl_authenticated_header="yes")
    yield postfix
    postfix.close()


def swaks(postfix, home, mechanism, user=USER, password=PASSWORD, status=0):
    return run(home, "swaks", "--server", "127.0.0.1", "--port", postfix.port, "--from", USER, "--to",
               "dave@peer.test", "--auth", mechanism, "--auth-user", user, "--auth-password", password,
               "--h-Subject", f"by {mechanism}", "--body", "Hello.", status=status).stdout.decode()


@with_postfix
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_postfix(postfix, tmp_path, mechanism):
    assert "235 2.7.0" in swaks(postfix, tmp_path, mechanism)
    message = postfix.wait_for_message("dave", f"by {mechanism}")
    assert f"(Authenticated sender: {USER})" in message["Received"]
    assert f"sasl_method={mechanism}, sasl_username={USER}" in postfix.log()


@with_postfix
def test_postfix_over_tls(postfix):
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        client.starttls()
        client.login(USER, PASSWORD)


@with_postfix
@pytest.mark.parametrize("mechanism", ["scram-sha-256", "digest-md5"])
def test_postfix_and_msmtp(postfix, tmp_path, mechanism):
    conf = write_secret(tmp_path / "msmtprc", f"""
account default
host 127.0.0.1
port {postfix.port}
auth {mechanism}
user {USER}
password "{PASSWORD}"
from {USER}
""")
    subject = f"msmtp with {mechanism}"
    run(tmp_path, "msmtp", "--file", conf, "erin@peer.test", stdin=f"Subject: {subject}\n\nHello.\n".encode())
    postfix.wait_for_message("erin", subject)
    assert f"sasl_method={mechanism.upper()}, sasl_username={USER}" in postfix.log()


@with_postfix
@pytest.mark.parametrize("user, password", [
    (USER, "wrong"), ("nobody@example.test", PASSWORD), ("gone@example.test", PASSWORD)])
@pytest.mark.parametrize("mechanism", ["PLAIN", "CRAM-MD5"])
def test_postfix_refuses(postfix, tmp_path, mechanism, user, password):
    assert "535 5.7.8" in swaks(postfix, tmp_path, mechanism, user, password, status=28)


def test_the_database_is_down(server, request, tmp_path):
    """A temporary failure, never a wrong password."""
    database = Postgres()
    request.addfinalizer(database.close)
    database.create_database("down")
    place = tmp_path / "auth"
    roost = Roost(db="postgresql", dsn=database.dsn("down"), settings={
        "db_timeout": "2s", "auth_cache_ttl": "0s", "auth_socket_dovecot": place,
        "auth_socket_dovecot_mode": "0666", "auth_socket_dovecot_userdb": tmp_path / "userdb"})
    request.addfinalizer(roost.close)
    line, userdb = Line(place), Line(tmp_path / "userdb")
    line.handshake()
    line.send(f"AUTH\t1\tPLAIN\tservice=smtp\tsecured\tresp={plain('alice@example.test')}")
    assert line.line()[:2] == ["OK", "1"]
    database.stop()
    line.send("AUTH\t5\tLOGIN\tservice=smtp\tsecured")
    assert line.line()[0] == "CONT"
    line.send(f"AUTH\t2\tPLAIN\tservice=smtp\tsecured\tresp={plain('alice@example.test')}")
    answer = line.line()
    assert answer[:2] == ["FAIL", "2"] and {"temp", "code=temp_fail"} <= set(answer)
    line.send("CANCEL\t5", f"AUTH\t2\tPLAIN\tservice=smtp\tsecured\tresp={plain('alice@example.test')}")
    assert line.line() == [], "what every client takes for temporary: the connection is lost"
    userdb.send("USER\t1\talice@example.test")
    assert [userdb.line()[0] for _ in range(3)] == ["VERSION", "SPID", "FAIL"]
    if os.getuid() == 0 and shutil.which("postfix"):
        postfix = request.getfixturevalue("postfix")
        make_reachable(tmp_path)

        def ask():
            # A process that the reload ends may take the connection with it.
            with contextlib.suppress(smtplib.SMTPServerDisconnected), \
                    smtplib.SMTP("127.0.0.1", postfix.port, timeout=30) as client:
                client.ehlo()
                return client.docmd("AUTH", "PLAIN " + plain("alice@example.test"))
            return None

        postfix.configure(smtpd_sasl_path=place)
        try:
            answer = wait_until(ask, what="Postfix has taken its new settings")
            assert answer[0] == 454, answer
        finally:
            postfix.configure(smtpd_sasl_path=server.place)
