# SPDX-License-Identifier: MIT
"""The SMTP dialogue: restrictions beside a real Postfix, tables, relaying, content in chunks."""

import contextlib
import email
import email.policy
import itertools
import os
import re
import shutil
import smtplib
import socket
import sqlite3
import ssl
import subprocess

import pytest
from mail_helpers import instance_imap, subjects, wait_for_subject  # noqa: F401
from peers import Nsd, Postfix
from roost_instance import PASSWORD, Roost, free_ports, wait_until

beside_postfix = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("postfix"),
                                    reason="Postfix starts as root only")
needs_nsd = pytest.mark.skipif(not shutil.which("nsd"), reason="NSD must be installed")


class Client:
    """Lines out, replies in, nothing hidden."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")
        self.greeting = self.reply()

    def reply(self):
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                return "closed"
            lines.append(line.decode().rstrip("\r\n"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def __call__(self, line):
        self.send(line + "\r\n")
        return self.reply()

    def close(self):
        self.file.close()
        self.socket.close()


@contextlib.contextmanager
def client_of(port, xclient=None, helo="client.example"):
    client = Client(port)
    if xclient:
        assert client("EHLO filter.example").startswith("250")
        assert client("XCLIENT " + xclient).startswith("220")
    assert client("EHLO " + helo).startswith("250")
    yield client
    client.close()


# ---- the same lists, the same replies ----

STRANGER = "ADDR=192.0.2.9 NAME=client.bad.example REVERSE_NAME=client.bad.example"
NAMELESS = "ADDR=192.0.2.10 NAME=[UNAVAILABLE] REVERSE_NAME=[UNAVAILABLE]"
FRIEND = "ADDR=10.1.2.3 NAME=friend.example REVERSE_NAME=friend.example"

ACCESS = ("check_recipient_access inline:{ { dave@peer.test = REJECT not dave }, { later@ = 450 4.2.1 come later }, "
          "{ defer@peer.test = DEFER }, { five@peer.test = 550 no }, { own@peer.test = REJECT 5.1.6 moved }, "
          "{ ok@elsewhere.example = OK }, { list@peer.test = permit_mynetworks, reject } }")

CONFIGURATIONS = {
    "nothing": {},
    "defer": {"smtpd_relay_restrictions": "permit_mynetworks, defer_unauth_destination"},
    "helo": {"smtpd_helo_restrictions": "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, "
                                        "check_helo_access inline:{ { bad.example = REJECT who are you } }"},
    "sender": {"smtpd_sender_restrictions": "reject_non_fqdn_sender, check_sender_access inline:{ { <> = DEFER }, "
                                            "{ spam.example = REJECT }, { a@good.example = 554 5.7.0 you } }"},
    "client": {"smtpd_client_restrictions": "check_client_access inline:{ { bad.example = REJECT } }, "
                                            "check_client_access cidr:{ {192.0.2.10 REJECT no name} }"},
    "not delayed": {"smtpd_delay_reject": "no", "smtpd_sender_restrictions":
                    "reject_non_fqdn_sender, check_sender_access inline:{ { spam.example = REJECT } }"},
    "recipient": {"smtpd_recipient_restrictions": "reject_non_fqdn_recipient, " + ACCESS + ", permit"},
    "regexp": {"smtpd_recipient_restrictions": "check_recipient_access regexp:{ {/^(erin)@(.*)/ 550 5.7.1 $1 at $2} }"},
    "warn": {"smtpd_recipient_restrictions": "warn_if_reject reject, permit"},
    "defer_if_permit": {"smtpd_recipient_restrictions":
                        "check_sender_access inline:{ { good.example = DEFER_IF_PERMIT busy } }, permit"},
    "defer_if_reject": {"smtpd_recipient_restrictions":
                        "check_sender_access inline:{ { good.example = DEFER_IF_REJECT } }, reject"},
    "reject": {"smtpd_recipient_restrictions": "permit_mynetworks, reject"},
    "data": {"smtpd_data_restrictions": "reject_multi_recipient_bounce, "
                                        "check_sender_access inline:{ { spam.example = REJECT } }"},
    "end of data": {"smtpd_end_of_data_restrictions": "check_sender_access inline:{ { spam.example = REJECT 5.7.0 late } }"},
    "tables that fail": {"smtpd_recipient_restrictions": "check_recipient_access fail:x"},
}

# (client, HELO, sender, recipients)
DIALOGUES = [
    (STRANGER, "client.example", "a@good.example", ["erin@peer.test"]),
    (STRANGER, "client.example", "a@good.example", ["x@elsewhere.example", "ok@elsewhere.example"]),
    (STRANGER, "client.example", "", ["dave@peer.test", "erin@peer.test"]),
    (STRANGER, "short", "b@spam.example", ["later@peer.test", "erin@peer.test"]),
    (STRANGER, "a..b", "a@good.example", ["erin@peer.test"]),
    (STRANGER, "sub.bad.example", "a@host", ["five@peer.test", "own@peer.test", "defer@peer.test", "list@peer.test"]),
    (STRANGER, "[192.0.2.9]", "b@good.example", ["nobody@peer.test", "dave+x@peer.test"]),
    (NAMELESS, "client.example", "a@good.example", ["erin@peer.test"]),
    (FRIEND, "friend.example", "a@good.example", ["x@elsewhere.example", "list@peer.test", "erin@peer.test"]),
]


def play(port, dialogue):
    """The replies to MAIL, each RCPT, DATA and the message, without what must differ."""
    xclient, helo, sender, recipients = dialogue
    replies = []
    with client_of(port, xclient, helo) as client:
        replies.append(client(f"MAIL FROM:<{sender}>"))
        replies += [client(f"RCPT TO:<{r}>") for r in recipients]
        if any(r.startswith("250") for r in replies[1:]):
            replies.append(client("DATA"))
            if replies[-1].startswith("354"):
                replies.append(client("Subject: compared\r\n\r\nx\r\n."))
    return [r if r[0] in "45" and r[:3] not in ("503",) else r[:5] for r in replies]


@pytest.fixture(scope="module")
def postfix():
    peer = Postfix(free_ports(1)[0])
    # What Roost's users are called for this comparison.
    peer.configure(mynetworks="10.0.0.0/8", smtpd_authorized_xclient_hosts="127.0.0.1", recipient_delimiter="+",
                   smtpd_peername_lookup="no", smtpd_error_sleep_time="0", virtual_transport="discard:",
                   virtual_mailbox_domains="peer.test",
                   virtual_mailbox_maps="inline:{ " + ", ".join(f"{{ {u}@peer.test = x }}" for u in USERS) + " }")
    yield peer
    peer.close()


USERS = ["dave", "erin", "later", "five", "own", "defer", "list"]


@beside_postfix
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_same_lists_give_the_same_replies(postfix, name):
    settings = CONFIGURATIONS[name]
    every = {key for c in CONFIGURATIONS.values() for key in c}
    # In main.cf a dollar sign stands for a parameter. The defaults of relay control differ (454 and 554).
    theirs = {key: settings[key].replace("$", "$$") if key in settings else None for key in every}
    postfix.configure(**{"smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
                         **{key: value for key, value in theirs.items() if value or key != "smtpd_relay_restrictions"}})
    roost = Roost(settings={"mynetworks": ["10.0.0.0/8"], "smtpd_authorized_xclient_hosts": ["127.0.0.1"],
                            "max_connections_per_ip": 1000, **settings}, domain="peer.test", users=())
    try:
        for user in USERS:
            roost.ctl("user", "add", f"{user}@peer.test", stdin=PASSWORD + "\n")
        for dialogue in DIALOGUES:
            wanted, got = play(postfix.port, dialogue), play(roost.ports["smtp"], dialogue)
            assert got == wanted, dialogue
    finally:
        roost.close()


# ---- what tables do ----


@pytest.fixture(scope="module")
def tables(request, tmp_path_factory, numbers=itertools.count()):
    """An instance with a table of each kind behind one list; each recipient belongs to one."""
    where = tmp_path_factory.mktemp("tables")
    where.chmod(0o755)
    for parent in where.parents[:3]:
        if parent != parent.parent and str(parent).startswith("/tmp/pytest"):
            parent.chmod(0o755)
    (where / "file").write_text("file@example.test 550 5.7.1 by file\n")
    (where / "cidr").write_text("192.0.2.77 550 5.7.1 by network\n")
    (where / "pcre").write_text("/^(p)cre@/ 550 5.7.1 by $1cre\n")
    with contextlib.closing(sqlite3.connect(where / "db")) as db:
        db.execute("CREATE TABLE t (k TEXT, v TEXT)")
        db.execute("INSERT INTO t VALUES ('sqlite@example.test', '550 5.7.1 by sqlite')")
        db.commit()
    (where / "sqlite.cf").write_text(f"dbpath = {where}/db\nquery = SELECT v FROM t WHERE k = '%s'\n")
    server = request.getfixturevalue("postgres")
    # The server outlives the instance, of which there are several.
    database = f"tables{next(numbers)}"
    server.create_database(database)
    server.run("psql", "-h", "127.0.0.1", "-p", str(server.port), "-U", "roost", "-d", database, "-c",
               "CREATE TABLE t (k text, v text); INSERT INTO t VALUES ('pgsql@example.test', '550 5.7.1 by pgsql'), "
               "('o''brien@example.test', '550 5.7.1 quoted')")
    (where / "pgsql.cf").write_text(f"hosts = 127.0.0.1:{server.port}\nuser = roost\ndbname = {database}\n"
                                    "query = SELECT v FROM t WHERE k = '%s'\n")
    lists = ["check_recipient_access " + t for t in (f"file:{where}/file", f"pcre:{where}/pcre",
             f"sqlite:{where}/sqlite.cf", f"pgsql:{where}/pgsql.cf")] + [f"check_client_access cidr:{where}/cidr"]
    lists.append("check_recipient_access inline:{ {discard@example.test = DISCARD}, "
                 "{redirect@example.test = REDIRECT bob@example.test}, {bcc@example.test = BCC bob@example.test}, "
                 "{prepend@example.test = PREPEND X-Table: said so}, {hold@example.test = HOLD look at it} }")
    instance = Roost(settings={"mynetworks": [], "smtpd_authorized_xclient_hosts": ["127.0.0.1"],
                               "smtpd_recipient_restrictions": ", ".join(lists)},
                     users=("alice", "bob", "file", "pcre", "sqlite", "pgsql", "o'brien", "discard", "redirect", "bcc",
                            "prepend", "hold"))
    instance.where = where
    yield instance
    instance.close()


@pytest.mark.parametrize("recipient,text", [
    ("file", "by file"), ("pcre", "by pcre"), ("sqlite", "by sqlite"), ("pgsql", "by pgsql"), ("o'brien", "quoted")])
def test_each_kind_of_table_is_asked(tables, recipient, text):
    with client_of(tables.ports["smtp"]) as client:
        client("MAIL FROM:<a@good.example>")
        assert client(f"RCPT TO:<{recipient}@example.test>") == \
            f"550 5.7.1 <{recipient}@example.test>: Recipient address rejected: {text}"
        assert client("RCPT TO:<alice@example.test>").startswith("250")


def test_a_network_table(tables):
    with client_of(tables.ports["smtp"], "ADDR=192.0.2.77 NAME=[UNAVAILABLE]") as client:
        client("MAIL FROM:<a@good.example>")
        assert client("RCPT TO:<alice@example.test>") == \
            "550 5.7.1 <unknown[192.0.2.77]>: Client host rejected: by network"


def test_a_file_is_read_again(tables):
    path = tables.where / "file"
    before = path.read_text()

    def answer():
        with client_of(tables.ports["smtp"]) as client:
            client("MAIL FROM:<a@good.example>")
            return client("RCPT TO:<file@example.test>")

    # Another file in its place, as editors do it.
    (tables.where / "new").write_text("file@example.test 450 4.7.1 changed\n")
    (tables.where / "new").rename(path)
    wait_until(lambda: "changed" in answer(), what="the new table counts")
    # What it said goes on to count, even if it was said before the last change.
    path.unlink()
    assert answer()[0] in "45"
    path.write_text(before)
    wait_until(lambda: "by file" in answer(), what="the old one counts again")


def test_a_database_that_is_gone_puts_off(tables, postgres):
    postgres.stop()
    try:
        with client_of(tables.ports["smtp"]) as client:
            client("MAIL FROM:<a@good.example>")
            assert client("RCPT TO:<alice@example.test>").startswith("451 4.3.5")
    finally:
        postgres.start()


def send(port, recipient, subject):
    with client_of(port) as client:
        client("MAIL FROM:<a@good.example>")
        assert client(f"RCPT TO:<{recipient}>").startswith("250")
        client("DATA")
        assert client(f"Subject: {subject}\r\n\r\nx\r\n.").startswith("250 2.0.0")


def test_actions_on_a_message(tables, imap):
    port = tables.ports["smtp"]
    send(port, "hold@example.test", "to hold")
    held = wait_until(lambda: [m for m in tables.ctl("queue", "list") if m["queue"] == "hold"], what="it is held")[0]
    tables.ctl("queue", "release", held["id"])
    wait_for_subject(imap("hold@example.test", instance=tables), "to hold")
    for name in ("discard", "redirect", "bcc", "prepend"):
        send(port, f"{name}@example.test", f"to {name}")
    bob = imap("bob@example.test", instance=tables)
    for name in ("redirect", "bcc"):
        wait_for_subject(bob, f"to {name}")
    session = imap("prepend@example.test", instance=tables)
    wait_for_subject(session, "to prepend")
    _, data = session.fetch("1", "(BODY.PEEK[HEADER])")
    assert b"X-Table: said so\r\n" in data[0][1]
    wait_for_subject(imap("bcc@example.test", instance=tables), "to bcc")
    for name in ("discard", "redirect"):
        assert subjects(imap(f"{name}@example.test", instance=tables)) == []


@needs_nsd
def test_dns_lists_and_names():
    port = free_ports(1)[0]
    dns = Nsd(port, """
9.2.0.192.bl IN A 127.0.0.4
9.2.0.192.bl IN TXT "listed here"
good IN MX 10 mx.good
mx.good IN A 192.0.2.25
null IN MX 0 .
""")
    roost = Roost(settings={"mynetworks": [], "dns_resolvers": [f"127.0.0.1@{port}"],
                            "smtpd_authorized_xclient_hosts": ["127.0.0.1"],
                            "smtpd_recipient_restrictions":
                                "reject_rbl_client bl.test, reject_unknown_sender_domain, "
                                "check_sender_mx_access inline:{ {192.0.2.25 = 550 5.7.1 that server} }"})
    try:
        for address, sender, wanted in [
                ("192.0.2.9", "a@good.test",
                 "554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using bl.test; listed here"),
                ("192.0.2.8", "a@nowhere.test", "450 4.1.8 <a@nowhere.test>: Sender address rejected: Domain not found"),
                ("192.0.2.8", "a@null.test",
                 "550 5.7.27 <a@null.test>: Sender address rejected: Domain null.test does not accept mail (nullMX)"),
                ("192.0.2.8", "a@good.test", "550 5.7.1 <a@good.test>: Sender address rejected: that server"),
                ("192.0.2.8", "", "250 2.1.5 Ok")]:
            with client_of(roost.ports["smtp"], f"ADDR={address} NAME=x.test") as client:
                client(f"MAIL FROM:<{sender}>")
                assert client("RCPT TO:<alice@example.test>") == wanted
    finally:
        roost.close()
        dns.close()


# ---- relaying ----

ELSEWHERE = "victim@elsewhere.example"
RELAY_FORMS = [
    ELSEWHERE, "victim%elsewhere.example@example.test", "victim%elsewhere.example", "elsewhere.example!victim",
    "elsewhere.example!victim@example.test", "@example.test:victim@elsewhere.example",
    "@example.test,@mail.example.test:victim@elsewhere.example", '"victim@elsewhere.example"',
    '"victim@elsewhere.example"@example.test', '"victim%elsewhere.example"@example.test', "victim@[192.0.2.1]",
    "victim@[IPv6:2001:db8::1]", "victim@elsewhere.example@example.test", "victim@example.test@elsewhere.example",
    "victim@elsewhere.example.", "victim@@elsewhere.example", "victim@elsewhere.example(example.test)",
    "victim @elsewhere.example", "victim@elsewhere.example ", "victim@elsewhere.example%example.test",
    "victim@elsewhere.example%", "%elsewhere.example@", "@elsewhere.example", "victim@", "@",
    "victim@elsewhere.example\\@example.test", "victim\\@elsewhere.example@example.test",
    '"victim"@elsewhere.example', '"vic\\tim"@elsewhere.example', '""@elsewhere.example', "victim@ELSEWHERE.EXAMPLE",
    "victim@elsewhere.example,alice@example.test", "victim@elsewhere.example;alice@example.test",
    "victim:victim@elsewhere.example", "smtp:victim@elsewhere.example", "victim@localhost", "victim@127.0.0.1",
    "victim@[127.0.0.1]", "victim@2130706433", "victim@0x7f000001", "victim@example.test.elsewhere.example",
    "victim@notexample.test", "victim@example.tes", "victim@xample.test", "victim@.example.test",
    "victim@example..test", "victim@-example.test", "victim@example.test-", "victim@_example.test",
    "victim+elsewhere.example@example.test", "|/bin/sh", "/tmp/file", ":include:/etc/passwd",
    "root@elsewhere.example", "postmaster@elsewhere.example", "abuse@elsewhere.example", "nobody@example.test",
]
QUOTING = ["<{}>", "<<{}>>", "{}", "< {}>", "<{} >", "<{}"]


def test_strangers_cannot_relay():
    # What the administrator forgot makes no difference.
    roost = Roost(settings={"mynetworks": [], "smtpd_relay_restrictions": [], "smtpd_recipient_restrictions": "permit",
                            "smtpd_hard_error_limit": 1000, "strict_rfc821_envelopes": "no"})
    try:
        count = 0
        with client_of(roost.ports["smtp"]) as client:
            assert client("MAIL FROM:<spammer@good.example>").startswith("250")
            for quoting in QUOTING[:3]:
                for form in RELAY_FORMS:
                    reply = client("RCPT TO:" + quoting.format(form))
                    assert reply[0] in "45", (form, reply)
                    count += 1
            for quoting in QUOTING[3:]:
                reply = client("RCPT TO:" + quoting.format(ELSEWHERE))
                assert reply[0] in "45", reply
            assert count >= 100
            assert client("DATA").startswith("554")
        for sender in ("alice@example.test", "victim@elsewhere.example", ""):
            with client_of(roost.ports["smtp"], helo="localhost") as client:
                client(f"MAIL FROM:<{sender}>")
                assert client(f"RCPT TO:<{ELSEWHERE}>").startswith("554 5.7.1")
        assert roost.ctl("queue", "list") == []
    finally:
        roost.close()


# ---- content ----


@pytest.fixture
def chunks(roost):
    with client_of(roost.ports["smtp"]) as client:
        yield client


def begin(client, user):
    assert client("MAIL FROM:<a@good.example>").startswith("250")
    assert client(f"RCPT TO:<{user}>").startswith("250")


def bdat(client, data, last=False):
    client.send(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)
    return client.reply()


def test_chunks_make_a_message(roost, chunks, user, imap):
    begin(chunks, user)
    # Dots and commands in it are content; a chunk may end anywhere, even between CR and LF.
    for piece in (b"Subject: in chunks\r", b"\n\r\n.\r\nQUIT\r\n..x\r\n.\r", b""):
        assert bdat(chunks, piece).startswith("250 2.0.0")
    assert bdat(chunks, b"\nend\r\n", last=True).startswith("250 2.0.0")
    session = imap(user)
    wait_for_subject(session, "in chunks")
    _, data = session.fetch("1", "(BODY.PEEK[TEXT])")
    assert data[0][1] == b".\r\nQUIT\r\n..x\r\n.\r\nend\r\n"
    assert chunks("NOOP").startswith("250")


def test_an_empty_last_chunk_and_pipelined_ones(roost, chunks, user, imap):
    begin(chunks, user)
    chunks.send(b"BDAT 23\r\nSubject: pipelined\r\n\r\nxBDAT 2\r\n\r\nBDAT 0 LAST\r\nNOOP\r\n")
    assert [chunks.reply()[:3] for _ in range(4)] == ["250"] * 4
    wait_for_subject(imap(user), "pipelined")


def test_what_fails_in_chunks(roost, user, imap):
    port = roost.ports["smtp"]
    with client_of(port) as client:
        # Without an envelope the chunk is read all the same: what is in it is never a command.
        assert bdat(client, b"MAIL FROM:<x@y>\r\n", last=True).startswith("503")
        assert client("NOOP").startswith("250")
        begin(client, user)
        assert bdat(client, b"Subject: mixed\r\n\r\n").startswith("250")
        assert client("DATA").startswith("503")
        assert client(f"RCPT TO:<{user}>").startswith("503")
        assert client("MAIL FROM:<x@good.example>").startswith("503")
        assert client("RSET").startswith("250")
        begin(client, user)
        for bad in (b"bare\nlf", b"bare\rcr", b"ends in cr\r", b"nul\0"):
            assert bdat(client, b"Subject: bad\r\n\r\n" + bad, last=True)[:3] in ("550",), bad
            # Nothing of it is left.
            assert client("DATA").startswith("503")
            begin(client, user)
        # A thousand tiny ones are one message.
        for byte in b"Subject: tiny\r\n\r\n" + b"x" * 60:
            assert bdat(client, bytes([byte])).startswith("250")
        assert bdat(client, b"", last=True).startswith("250 2.0.0")
    wait_for_subject(imap(user), "tiny")
    assert subjects(imap(user)) == ["tiny"]


@pytest.mark.parametrize("command", ["BDAT", "BDAT x", "BDAT -1", "BDAT 5 FIRST", "BDAT 99999999999999999999999",
                                     "BDAT 18446744073709551615 LAST"])
def test_a_chunk_whose_end_nobody_knows_ends_the_session(roost, command, user):
    with client_of(roost.ports["smtp"]) as client:
        begin(client, user)
        reply = client(command)
        assert reply[:3] in ("501", "552"), reply
        assert client.reply() == "closed"


def test_too_large_in_chunks():
    roost = Roost(settings={"max_message_size": "100K"})
    try:
        with client_of(roost.ports["smtp"]) as client:
            begin(client, "alice@example.test")
            assert bdat(client, b"x" * 90 * 1024).startswith("250")
            assert bdat(client, b"x" * 90 * 1024).startswith("552")
            assert bdat(client, b"x").startswith("503")
            assert bdat(client, b"", last=True).startswith("503")
            begin(client, "alice@example.test")
            assert client("DATA").startswith("354")
            assert client("Subject: after\r\n\r\nx\r\n.").startswith("250")
    finally:
        roost.close()


def test_binary_content_arrives(roost, chunks, user, imap):
    assert "250-BINARYMIME" in chunks("EHLO client.example")
    content = bytes(range(256)) * 20 + b"\n.\r.\n"
    assert chunks("MAIL FROM:<a@good.example> BODY=BINARYMIME").startswith("250")
    assert chunks(f"RCPT TO:<{user}>").startswith("250")
    assert chunks("DATA").startswith("503")
    head = (b"Subject: binary\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Transfer-Encoding: binary\r\n\r\n")
    assert bdat(chunks, head + content, last=True).startswith("250 2.0.0")
    session = imap(user)
    wait_for_subject(session, "binary", timeout=60)
    _, data = session.fetch("1", "(BODY.PEEK[])")
    message = email.message_from_bytes(data[0][1], policy=email.policy.default)
    assert message.get_payload(decode=True).rstrip(b"\r\n") == content.rstrip(b"\r\n")


def test_priorities_are_not_for_strangers():
    roost = Roost(settings={"mynetworks": []})
    try:
        with client_of(roost.ports["smtp"]) as client:
            assert client("MAIL FROM:<a@good.example> MT-PRIORITY=5").startswith("250 2.3.6 0 ")
            client("RSET")
            assert client("MAIL FROM:<a@good.example> MT-PRIORITY=-3") == "250 2.1.0 Ok"
            client("RSET")
            assert client("MAIL FROM:<a@good.example> HOLDFOR=60").startswith("555 5.5.4")
            assert client("MAIL FROM:<a@good.example> REQUIRETLS").startswith("530 5.7.0")
    finally:
        roost.close()


def test_a_message_is_held_back_for_its_sender(roost, user, imap):
    context = ssl.create_default_context(cafile=roost.tls_cert)
    context.check_hostname = False
    with smtplib.SMTP_SSL("127.0.0.1", roost.ports["submissions"], context=context) as client:
        client.ehlo()
        assert client.esmtp_features["futurerelease"].startswith("2592000 ") and client.has_extn("requiretls")
        client.login(user, PASSWORD)
        assert client.docmd(f"MAIL FROM:<{user}> HOLDFOR=99999999")[0] == 501
        assert client.docmd(f"MAIL FROM:<{user}> HOLDFOR=3")[0] == 250
        assert client.rcpt(user)[0] == 250
        assert client.data("Subject: later\r\n\r\nx\r\n")[0] == 250
    session = imap(user)
    assert subjects(session) == []
    wait_for_subject(session, "later", timeout=60)


ENDS = {"lf": b"\n.\n", "lf-crlf": b"\n.\r\n", "crlf-lf": b"\r\n.\n", "cr": b"\r.\r", "crlf-cr": b"\r\n.\r",
        "cr-crlf": b"\r.\r\n", "nul": b"\r\n.\0\r\n", "crcrlf": b"\r\r\n.\r\r\n", "lfcr": b"\n\r.\n\r",
        "crlf-dot-dot": b"\r\n..\r\n", "space": b"\r\n. \r\n", "lf-cr": b"\n.\r"}


@pytest.mark.parametrize("end", ENDS)
def test_no_other_end_of_data(roost, user, imap, end):
    smuggled = b"MAIL FROM:<smuggler@good.example>\r\nRCPT TO:<" + user.encode() + \
        b">\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
    with client_of(roost.ports["smtp"]) as client:
        begin(client, user)
        assert client("DATA").startswith("354")
        client.send(b"Subject: carrier\r\n\r\nx" + ENDS[end] + smuggled + b"\r\n.\r\n")
        reply = client.reply()
        assert reply[:3] in ("250", "550")
        # One message, one reply: what follows is the answer to what we say next.
        assert client("NOOP").startswith("250 2.0.0 Ok")
    assert set(subjects(imap(user))) <= {"carrier"}


def test_a_refused_message_leaves_nothing_behind(roost, user, imap):
    with client_of(roost.ports["smtp"]) as client:
        begin(client, user)
        client("DATA")
        assert client("Subject: first\r\n\r\nbare\nlf\r\n.").startswith("550")
        assert client("DATA").startswith("503")
        assert client(f"RCPT TO:<{user}>").startswith("503")
        begin(client, user)
        client("DATA")
        assert client("Subject: second\r\n\r\nx\r\n.").startswith("250")
    wait_for_subject(imap(user), "second")
    assert subjects(imap(user)) == ["second"]


# ---- questions ----


def test_vrfy_and_expn():
    roost = Roost(settings={"disable_vrfy_command": "no"})
    try:
        roost.ctl("alias", "add", "both@example.test", "alice@example.test", "bob@example.test")
        with client_of(roost.ports["smtp"]) as client:
            assert client("VRFY alice@example.test") == "250 2.1.5 <alice@example.test>"
            assert client("VRFY <nobody@example.test>").startswith("550 5.1.1")
            assert client("VRFY a@elsewhere.example").startswith("252")
            assert client("VRFY").startswith("501")
            assert sorted(re.findall("<(.*?)>", client("EXPN both@example.test"))) == \
                ["alice@example.test", "bob@example.test"]
            assert client("EXPN alice@example.test").startswith("550")
        roost.settings["disable_vrfy_command"] = "yes"
        roost.write_conf()
        roost.reload()
        with client_of(roost.ports["smtp"]) as client:
            assert client("VRFY nobody@example.test").startswith("252")
            assert client("EXPN both@example.test").startswith("502")
    finally:
        roost.close()


def test_xclient_is_for_those_named(roost):
    with client_of(roost.ports["smtp"]) as client:
        assert "XCLIENT" not in client("EHLO x")
        assert client("XCLIENT ADDR=192.0.2.1").startswith("550")


def test_submission_takes_own_addresses_only(roost, user, other_user):
    context = ssl.create_default_context(cafile=roost.tls_cert)
    context.check_hostname = False
    with smtplib.SMTP_SSL("127.0.0.1", roost.ports["submissions"], context=context) as client:
        client.login(user, PASSWORD)
        assert client.mail(other_user)[0] == 250
        code, text = client.rcpt(user)
        assert (code, text) == (553, f"5.7.1 <{other_user}>: Sender address rejected: not owned by user {user}".encode())
        client.rset()
        assert client.mail(user)[0] == 250
        assert client.rcpt(other_user)[0] == 250


def test_new_lists_count_after_a_reload():
    roost = Roost(settings={"mynetworks": []})

    def answer():
        with client_of(roost.ports["smtp"]) as client:
            client("MAIL FROM:<a@good.example>")
            return client("RCPT TO:<alice@example.test>")

    try:
        assert answer().startswith("250")
        table = roost.dir / "table"
        table.write_text("good.example REJECT not any more\n")
        roost.settings["smtpd_sender_restrictions"] = f"check_sender_access file:{table}"
        roost.write_conf()
        roost.reload()
        wait_until(lambda: answer().endswith("not any more"), what="the new list counts")
    finally:
        roost.close()


def test_a_client_certificate_may_relay(make_instance, tmp_path):
    """permit_tls_clientcerts: whose fingerprint is in relay_clientcerts, and nobody else."""
    prints = {}
    for name in ("known", "other"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                        "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem"], check=True, capture_output=True)
        said = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", tmp_path / f"{name}.pem"],
                              check=True, capture_output=True, text=True).stdout
        prints[name] = said.strip().split("=")[1]
    roost = make_instance(settings={
        "mynetworks": [], "tls_ask_client_cert": "yes", "smtpd_spf": "off", "relayhost": "[127.0.0.1]:1",
        "relay_clientcerts": ["inline:{" + prints["known"] + "=known}"],
        "smtpd_relay_restrictions": ["permit_tls_clientcerts", "reject_unauth_destination"]})
    for name, code in (("known", 250), ("other", 554), (None, 554)):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if name:
            context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
            client.starttls(context=context)
            client.ehlo("client.example.org")
            client.mail("sender@example.org")
            assert client.rcpt("someone@elsewhere.test")[0] == code, name


# ---- transcripts for the postmaster ----

# class -> what a client says after EHLO, and what it is answered at the end
TROUBLES = {
    "policy": (["MAIL FROM:<a@good.example>", "RCPT TO:<x@elsewhere.example>"], "554 5.7.1"),
    "protocol": (["MAIL FROM:<a@good.example>", "NONSENSE with words"], "500 5.5.2"),
    "bounce": (["MAIL FROM:<a@good.example>", "RCPT TO:<nobody@example.test>"], "550 5.1.1"),
    "resource": (["MAIL FROM:<a@good.example>", "RCPT TO:<lost@example.test>"], "451 4.3.0"),
    "software": (["MAIL FROM:<broken@good.example>", "RCPT TO:<alice@example.test>"], "451 4.3.5"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_the_postmaster_gets_transcripts_of_a_class(make_instance, instance_imap, name):
    instance = make_instance(settings={
        "notify_classes": [name], "error_notice_recipient": "alice@example.test", "mynetworks": [],
        "smtpd_recipient_restrictions":
            "check_sender_access inline:{ { broken@good.example = no_such_check } }, "
            "check_recipient_access inline:{ { lost@example.test = 451 4.3.0 no answer } }"})
    for trouble, (commands, answer) in TROUBLES.items():
        with client_of(instance.ports["smtp"], helo=f"{trouble}.example") as client:
            assert [client(command) for command in commands][-1].startswith(answer)
            assert client("QUIT").startswith("221")
    inbox = instance_imap("alice@example.test", instance)
    wait_for_subject(inbox, f"SMTP server: errors from {name}.example[127.0.0.1]")
    assert len(subjects(inbox)) == 1
    _, data = inbox.fetch("1", "(BODY.PEEK[])")
    text = email.message_from_bytes(data[0][1]).get_payload(decode=True).decode()
    commands, answer = TROUBLES[name]
    assert all(f" In:  {command}\r\n" in text for command in commands) and f" Out: {answer}" in text
    assert " Out: 221 2.0.0 Bye" in text


def test_a_transcript_has_no_passwords(make_instance, instance_imap):
    instance = make_instance(settings={"notify_classes": ["protocol"], "error_notice_recipient": "alice@example.test"})
    with client_of(instance.ports["smtp"]) as client:
        assert client("MAIL FROM:<a@good.example>").startswith("250")
        assert client("AUTH PLAIN AGEAc2VjcmV0").startswith("503")
        assert client("QUIT").startswith("221")
    inbox = instance_imap("alice@example.test", instance)
    wait_for_subject(inbox, "SMTP server: errors from client.example[127.0.0.1]")
    _, data = inbox.fetch("1", "(BODY.PEEK[])")
    assert b" In:  AUTH ...\r\n" in data[0][1] and b"AGEAc2VjcmV0" not in data[0][1]


def test_a_transcript_has_what_was_refused_before_mail(make_instance, instance_imap):
    """Such commands are answered by roost-proxy, which hands them over with the client."""
    instance = make_instance(settings={"notify_classes": ["protocol"], "error_notice_recipient": "alice@example.test"})
    with client_of(instance.ports["smtp"]) as client:
        assert client("NONSENSE at first").startswith("500")
        assert client("AUTH PLAIN AGEAc2VjcmV0").startswith("503")
        assert client("MAIL FROM:<a@good.example>").startswith("250")
        assert client("QUIT").startswith("221")
    inbox = instance_imap("alice@example.test", instance)
    wait_for_subject(inbox, "SMTP server: errors from client.example[127.0.0.1]")
    _, data = inbox.fetch("1", "(BODY.PEEK[])")
    text = data[0][1].decode()
    assert " In:  NONSENSE at first\r\n Out: 500 5.5.2 Unknown command\r\n In:  AUTH ...\r\n Out: 503 " in text
    assert " In:  MAIL FROM:<a@good.example>\r\n" in text and "AGEAc2VjcmV0" not in text


def test_there_are_no_transcripts_unless_asked_for(make_instance):
    instance = make_instance()
    with client_of(instance.ports["smtp"]) as client:
        assert client("NONSENSE").startswith("500")
        assert client("QUIT").startswith("221")
    assert instance.ctl("queue", "list") == [] and "smtpd.notice" not in instance.log()
