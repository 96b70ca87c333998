# SPDX-License-Identifier: MIT
"""What looks at mail on its way in: rspamd and OpenDKIM as milters, postgrey as policy server, header and body
checks, greylisting and SPF."""

import email
import os
import shutil
import signal
import smtplib
import subprocess
import tempfile
from pathlib import Path

import pytest
from mail_helpers import instance_imap, make_message, wait_for_subject  # noqa: F401
from peers import Nsd
from roost_instance import PASSWORD, can_connect, free_ports, wait_until

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


class Program:
    """A filter in a directory of its own, in the foreground, ended with the test."""

    def __init__(self, make_command, port):
        self.dir = Path(tempfile.mkdtemp(prefix="filter-", dir="/tmp"))
        self.port = port
        self.log = open(self.dir / "log", "wb")
        self.process = subprocess.Popen([str(c) for c in make_command(self.dir)], stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL, start_new_session=True)

    def wait(self):
        wait_until(lambda: can_connect(self.port) or self.process.poll() is not None, timeout=120,
                   what="the filter listens")
        assert self.process.poll() is None, (self.dir / "log").read_text()

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(30)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def start_rspamd(directory, port):
    (directory / "rspamd.conf").write_text(f"""
options {{
    pidfile = "{directory}/pid"; dynamic_conf = "{directory}/dynamic"; url_tld = "/usr/share/rspamd/effective_tld_names.dat";
    filters = "chartable"; raw_mode = false; cache_file = "{directory}/symbols.cache"; tempdir = "{directory}"; hs_cache_dir = "{directory}";
    dns {{ nameserver = ["127.0.0.1:1"]; }}
}}
logging {{ type = "console"; level = "warning"; }}
metric {{ name = "default"; actions {{ reject = 15; add_header = 4; }} unknown_weight = 0; }}
worker "rspamd_proxy" {{
    bind_socket = "127.0.0.1:{port}"; milter = yes; count = 1; timeout = 60s;
    upstream "local" {{ default = yes; self_scan = yes; }}
}}
""")
    return ["rspamd", "-f", "-i", "-c", directory / "rspamd.conf"]


@pytest.fixture
def filters():
    made = []

    def start(make_command, port):
        made.append(Program(make_command, port))
        made[-1].wait()

    yield start
    for program in made:
        program.close()


def send(instance, to, subject, sender="sender@example.org", body="Hello.\n", expect=None, headers=()):
    """Sends by SMTP as a stranger; expect: the code of a refusal."""
    message = make_message(sender, to, subject, body)
    for name, value in headers:
        message[name] = value
    with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], timeout=60) as client:
        try:
            client.send_message(message, from_addr=sender, to_addrs=[to])
        except smtplib.SMTPDataError as error:
            assert error.smtp_code == expect, error
            return error.smtp_error.decode()
        except smtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[to]
            assert code == expect, text
            return text.decode()
    assert expect is None
    return ""


def fetch(instance_imap, instance, user, subject):
    client = instance_imap(user, instance)
    wait_for_subject(client, subject)
    _, found = client.uid("SEARCH", "SUBJECT", f'"{subject}"')
    _, data = client.uid("FETCH", found[0].split()[-1], "(BODY.PEEK[])")
    return email.message_from_bytes(data[0][1])


@pytest.mark.skipif(not shutil.which("rspamd"), reason="rspamd is not installed")
def test_rspamd_rejects_and_lets_through(make_instance, filters, instance_imap):
    port = free_ports(1)[0]
    filters(lambda directory: start_rspamd(directory, port), port)
    roost = make_instance(settings={"smtpd_milters": [f"inet:127.0.0.1:{port}"], "smtpd_spf": "off"})
    alice = "alice@example.test"
    text = send(roost, alice, "spam", body=GTUBE + "\n", expect=554)
    assert "Gtube pattern" in text or "spam" in text.lower()
    send(roost, alice, "ham")
    fetch(instance_imap, roost, alice, "ham")


@pytest.mark.skipif(not shutil.which("opendkim"), reason="OpenDKIM is not installed")
def test_opendkim_signs_what_is_submitted(make_instance, filters, instance_imap):
    dkim = pytest.importorskip("dkim")
    port = free_ports(1)[0]
    key = {}

    def command(directory):
        subprocess.run(["openssl", "genrsa", "-out", directory / "key", "2048"], check=True, capture_output=True)
        public = subprocess.run(["openssl", "rsa", "-in", directory / "key", "-pubout", "-outform", "DER"], check=True,
                                capture_output=True).stdout
        key["der"] = public
        os.chmod(directory / "key", 0o600)
        (directory / "opendkim.conf").write_text(
            f"Socket inet:{port}@127.0.0.1\nMode sv\nDomain example.test\nSelector test\nKeyFile {directory}/key\n"
            "InternalHosts 127.0.0.0/8\nSyslog no\nBackground no\nRequireSafeKeys no\nCanonicalization relaxed/simple\n")
        return ["opendkim", "-f", "-x", directory / "opendkim.conf"]

    filters(command, port)
    roost = make_instance(settings={"smtpd_milters": [f"inet:{port}@127.0.0.1"]})
    context = smtplib.ssl.create_default_context(cafile=roost.tls_cert)
    context.check_hostname = False
    message = make_message("alice@example.test", "bob@example.test", "signed", "line one\n.dot\n\n\n")
    with smtplib.SMTP_SSL("127.0.0.1", roost.ports["submissions"], context=context, timeout=60) as client:
        client.login("alice@example.test", PASSWORD)
        client.send_message(message)
    client = instance_imap("bob@example.test", roost)
    wait_for_subject(client, "signed")
    _, data = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
    raw = data[0][1]
    assert b"DKIM-Signature:" in raw
    import base64
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(key["der"])
    # Without what delivery adds above: the signature covers what was sent.
    assert dkim.verify(raw, dnsfunc=lambda name, timeout=5: record)


def test_a_filter_that_is_away(make_instance):
    port = free_ports(1)[0]
    for action, code in (("", 451), (",accept", None), (",reject", 550)):
        roost = make_instance(settings={"smtpd_milters": [f"inet:127.0.0.1:{port}{action}"], "smtpd_spf": "off"})
        message = make_message("sender@example.org", "alice@example.test", "away")
        with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
            if code is None:
                client.send_message(message)
            else:
                with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                    client.send_message(message)
                assert refused.value.smtp_code == code
        roost.close()


@pytest.mark.skipif(not shutil.which("postgrey"), reason="postgrey is not installed")
def test_postgrey(make_instance, filters, instance_imap):
    port = free_ports(1)[0]

    def command(directory):
        (directory / "db").mkdir()
        for name in ("clients", "recipients"):
            (directory / name).write_text("")
        if os.getuid() == 0:
            for path in (directory, directory / "db"):
                shutil.chown(path, "postgrey", "postgrey")
        return ["postgrey", f"--inet=127.0.0.1:{port}", f"--dbdir={directory}/db", "--delay=2",
                f"--whitelist-clients={directory}/clients", f"--whitelist-recipients={directory}/recipients",
                f"--pidfile={directory}/pid"]

    filters(command, port)
    roost = make_instance(settings={"smtpd_recipient_restrictions": [f"check_policy_service", f"inet:127.0.0.1:{port}"],
                                    "mynetworks": [], "smtpd_spf": "off"})
    alice = "alice@example.test"
    assert "Greylisted" in send(roost, alice, "first", expect=450)

    def accepted():
        try:
            send(roost, alice, "first")
            return True
        except AssertionError:
            return False

    wait_until(accepted, what="postgrey lets it in")
    fetch(instance_imap, roost, alice, "first")


def test_own_greylist(make_instance, instance_imap):
    roost = make_instance(settings={"smtpd_recipient_restrictions": ["greylist"], "greylist_delay": "1s",
                                    "mynetworks": [], "smtpd_spf": "off"})
    alice = "alice@example.test"
    assert "Greylisted" in send(roost, alice, "grey", expect=450)

    def accepted():
        try:
            send(roost, alice, "grey")
            return True
        except AssertionError:
            return False

    wait_until(accepted, what="the greylist lets it in")
    fetch(instance_imap, roost, alice, "grey")
    assert "Greylisted" in send(roost, "bob@example.test", "other", expect=450)


def test_header_and_body_checks(make_instance, instance_imap, readable):
    header = readable / "header"
    body = readable / "body"
    header.write_text("/^Subject: .*viagra/ REJECT 5.7.1 not this\n"
                      "/^X-Secret:/ IGNORE\n/^X-Mailer: (.*)/ REPLACE X-Mailer: hidden $1\n"
                      "/^Subject: drop/ DISCARD\n/^Subject: elsewhere/ REDIRECT bob@example.test\n")
    body.write_text("/^remove me$/ IGNORE\n/forbidden/ REJECT\n")
    roost = make_instance(settings={"header_checks": [f"pcre:{header}"], "body_checks": [f"pcre:{body}"],
                                    "smtpd_spf": "off"})
    alice = "alice@example.test"
    assert "not this" in send(roost, alice, "cheap viagra", expect=550)
    send(roost, alice, "word", body="all is forbidden here\n", expect=550)
    send(roost, alice, "drop this")
    send(roost, alice, "elsewhere")
    send(roost, alice, "kept", body="one\nremove me\ntwo\n", headers=[("X-Secret", "s"), ("X-Mailer", "m")])
    message = fetch(instance_imap, roost, alice, "kept")
    assert message["X-Secret"] is None
    assert message["X-Mailer"] == "hidden m"
    assert message.get_payload().replace("\r", "") == "one\ntwo\n"
    fetch(instance_imap, roost, "bob@example.test", "elsewhere")
    client = instance_imap(alice, roost)
    client.select("INBOX")
    assert client.search(None, "SUBJECT", "drop")[1] == [b""]
    assert client.search(None, "SUBJECT", "elsewhere")[1] == [b""]


@pytest.mark.skipif(not shutil.which("nsd"), reason="NSD is not installed")
def test_spf(make_instance, instance_imap):
    port = free_ports(1)[0]
    dns = Nsd(port, 'good IN TXT "v=spf1 ip4:127.0.0.1 -all"\nbad IN TXT "v=spf1 -all"\n')
    try:
        roost = make_instance(settings={"dns_resolvers": [f"127.0.0.1@{port}"], "mynetworks": [],
                                        "smtpd_spf": "reject"})
        alice = "alice@example.test"
        assert "5.7.23" in send(roost, alice, "forged", sender="x@bad.test", expect=550)
        send(roost, alice, "sound", sender="x@good.test",
             headers=[("Authentication-Results", "other.example; spf=none")])
        send(roost, alice, "unsaid", sender="x@nopolicy.test")
        results = fetch(instance_imap, roost, alice, "sound").get_all("Authentication-Results")
        assert "spf=pass smtp.mailfrom=good.test" in results[0].replace("\r\n\t", " ")
        assert results[1] == "other.example; spf=none"
        # What pretends to be our own word is taken away.
        ours = results[0].split(";")[0]
        send(roost, alice, "lie", sender="x@nopolicy.test",
             headers=[("Authentication-Results", f"{ours}; spf=pass smtp.mailfrom=x")])
        results = fetch(instance_imap, roost, alice, "lie").get_all("Authentication-Results")
        assert len(results) == 1 and "spf=none" in results[0]
    finally:
        dns.close()
