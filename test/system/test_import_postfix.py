# SPDX-License-Identifier: MIT
"""A host of virtual domains moves from Postfix: PostfixAdmin's tables in PostgreSQL, `roostctl import postfix`, and then
the same swaks script with both."""

import os
import re
import shutil
import subprocess

import pytest
from peers import Postfix
from programs import environment
from roost_instance import BUILD, PASSWORD, Roost, free_ports
from test_directory import POSTFIXADMIN, add_mailbox, hashed, new_database, sql

pytestmark = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("postfix") or not shutil.which("swaks"),
                                reason="Postfix starts as root only")

# PostfixAdmin's own queries for Postfix.
QUERIES = {
    "domains": "SELECT domain FROM domain WHERE domain='%s' AND backupmx = false AND active = true",
    "relay": "SELECT domain FROM domain WHERE domain='%s' AND backupmx = true AND active = true",
    "mailboxes": "SELECT maildir FROM mailbox WHERE username='%s' AND active = true",
    "alias_domain_mailboxes":
        "SELECT maildir FROM mailbox,alias_domain WHERE alias_domain.alias_domain = '%d' AND mailbox.username = "
        "'%u' || '@' || alias_domain.target_domain AND mailbox.active = true AND alias_domain.active = true",
    "aliases": "SELECT goto FROM alias WHERE address='%s' AND active = true",
    "alias_domains":
        "SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' AND alias.address = "
        "'%u' || '@' || alias_domain.target_domain AND alias.active = true AND alias_domain.active = true",
}
TABLES = {
    "sender_access": "spam.example REJECT we know you\nlater@slow.example 450 4.7.1 come later\n",
    "recipient_access": "team@site.test permit_mynetworks, reject\nquiet@site.test 550 5.7.1 not for strangers\n",
    "clients": "192.0.2.66/32 REJECT blocked\n10.0.0.0/8 DUNNO\n",
    "header_checks": "/^Subject: *buy now/ REJECT no advertisements\n",
    "virtual": "sales@site.test anna@site.test, ben@site.test\n",
    "transport": "closed.example error:5.1.2 this domain is closed\n",
    "relocated": "moved@site.test moved@new.example\n",
    "relay_recipients": "carl@backup.test x\n",
}
POSTMAPPED = ("sender_access", "recipient_access", "virtual", "transport", "relocated", "relay_recipients")
SUBMISSION = """127.0.0.1:{port} inet n - n - - smtpd
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=may
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_tls_auth_only=no
  -o smtpd_delay_reject=yes
  -o smtpd_helo_restrictions=
  -o smtpd_sender_restrictions=reject_sender_login_mismatch
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
"""


def write_tables(etc, server, dsn):
    name = re.search(r"dbname=(\S+)", dsn)[1]
    for table, query in QUERIES.items():
        (etc / f"pgsql_{table}.cf").write_text(
            f"user = roost\npassword = unused\nhosts = 127.0.0.1:{server.port}\ndbname = {name}\nquery = {query}\n")
    for table, text in TABLES.items():
        (etc / table).write_text(text)
    for table in POSTMAPPED:
        Postfix.call("postmap", "-c", etc, f"hash:{etc / table}")


def main_cf(etc):
    def pgsql(*names):
        return ", ".join(f"proxy:pgsql:{etc}/pgsql_{name}.cf" for name in names)

    return {
        "smtpd_banner": "$myhostname ESMTP", "biff": "no", "append_dot_mydomain": "no", "myhostname": "mail.example.test",
        "mydestination": "localhost", "mynetworks": "10.0.0.0/8", "smtpd_authorized_xclient_hosts": "127.0.0.1",
        "recipient_delimiter": "+", "message_size_limit": "100000", "mailbox_size_limit": "0",
        "virtual_mailbox_limit": "0", "smtpd_helo_required": "yes", "disable_vrfy_command": "yes",
        "strict_rfc821_envelopes": "yes",
        "virtual_mailbox_domains": pgsql("domains"),
        "virtual_mailbox_maps": pgsql("mailboxes", "alias_domain_mailboxes"),
        "virtual_alias_maps": pgsql("aliases", "alias_domains") + f", hash:{etc}/virtual",
        "relay_domains": pgsql("relay"), "relay_recipient_maps": f"hash:{etc}/relay_recipients",
        "transport_maps": f"hash:{etc}/transport", "relocated_maps": f"hash:{etc}/relocated",
        "header_checks": f"regexp:{etc}/header_checks",
        "smtpd_sender_login_maps": pgsql("aliases", "alias_domains"),
        "smtpd_helo_restrictions": "permit_mynetworks, reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
        "smtpd_sender_restrictions": f"reject_non_fqdn_sender, check_sender_access hash:{etc}/sender_access",
        "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
        "smtpd_recipient_restrictions": "reject_non_fqdn_recipient, reject_unlisted_recipient,\n"
                                        f"  check_client_access cidr:{etc}/clients,\n"
                                        f"  check_recipient_access hash:{etc}/recipient_access",
        "smtpd_data_restrictions": "reject_unauth_pipelining, reject_multi_recipient_bounce",
    }


def settings_of(text):
    """The settings that the import wrote, as Roost(settings=...) takes them."""
    def plain(word):
        return word.replace('\\"', '"').replace("\\\\", "\\")

    settings = {}
    for name, value in re.findall(r"^(\w+) = (.*)$", text, re.M):
        words = [plain(word) for word in re.findall(r'"((?:[^"\\]|\\.)*)"', value)]
        settings[name] = words if value[0] == "{" else words[0]
    return settings


class Site:
    """Postfix as it was, and Roost with what was imported from it, on the same database."""

    def __init__(self, postgres, request):
        dsn = new_database(postgres)
        sql(dsn, POSTFIXADMIN)
        for name in ("anna", "ben", "quiet"):
            add_mailbox(dsn, f"{name}@site.test", hashed("-6"))
        sql(dsn, "INSERT INTO alias (address, goto, domain) VALUES ('team@site.test', 'anna@site.test,ben@site.test', "
                 "'site.test'), ('out@site.test', 'someone@elsewhere.example', 'site.test')")
        self.mx, self.submission = free_ports(2)
        self.roost = None
        self.postfix = Postfix(self.mx)
        etc = self.postfix.etc
        write_tables(etc, postgres, dsn)
        for name in ("virtual_mailbox_domains", "virtual_mailbox_maps", "alias_maps", "alias_database"):
            self.postfix.settings.pop(name, None)
        self.postfix.settings |= main_cf(etc)
        master = (etc / "master.cf").read_text()
        (etc / "master.cf").write_text(SUBMISSION.format(port=self.submission) + master)
        self.postfix.write()
        self.text = subprocess.run([BUILD / "roostctl", "import", "postfix", etc], capture_output=True, text=True,
                                   check=True).stdout
        self.start_roost(request)
        self.postfix.configure(smtpd_sasl_type="dovecot", smtpd_sasl_path=self.postfix.dir / "auth" / "socket")

    def start_roost(self, request):
        place = self.postfix.dir / "auth"
        place.mkdir()
        place.chmod(0o755)
        imported = settings_of(self.text)
        # The test's own ports and certificate.
        kept = {k: v for k, v in imported.items() if not k.startswith(("listen_", "tls_"))}
        self.roost = Roost(users=(), domain=None, settings={
            **kept, "auth_socket_dovecot": place / "socket", "auth_socket_dovecot_mode": "0666",
            "allow_plaintext_auth": "yes", "login_delay_max": "0s"})
        self.imported = imported

    def close(self):
        if self.roost:
            self.roost.close()
        self.postfix.close()


@pytest.fixture(scope="module")
def site(postgres, request):
    made = Site(postgres, request)
    yield made
    made.close()


def test_what_is_imported(site, tmp_path):
    """All of it is what Roost takes, and what is left is told."""
    assert site.imported["db"] == "postgresql" and site.imported["directory_schema"] == "postfixadmin"
    assert site.imported["virtual_alias_maps"] == [f"file:{site.postfix.etc}/virtual"]
    assert site.imported["relay_domains"] == [f"pgsql:{site.postfix.etc}/pgsql_relay.cf"]
    assert f"127.0.0.1:{site.submission}" in site.imported["listen_submission"]
    conf = tmp_path / "roost.conf"
    # It is for an installed Roost with certificates.
    lines = [line for line in site.text.splitlines() if not line.startswith("tls_")]
    conf.write_text("\n".join([*lines, f'program_dir = "{BUILD}"', f'state_dir = "{tmp_path}"', ""]))
    checked = subprocess.run([BUILD / "roost", "-c", conf, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


STRANGER = ("--xclient", "ADDR=192.0.2.9 NAME=client.example", "--helo", "client.example", "--from", "x@elsewhere.example")
BLOCKED = ("--xclient", "ADDR=192.0.2.66 NAME=client.example", "--helo", "client.example", "--from", "x@elsewhere.example")
FRIEND = ("--xclient", "ADDR=10.1.2.3 NAME=friend.example", "--helo", "friend.example", "--from", "x@elsewhere.example")
ANNA = ("--helo", "client.example", "--auth", "PLAIN", "--auth-user", "anna@site.test", "--auth-password", PASSWORD,
        "--from", "anna@site.test")
RCPT = ("--quit-after", "RCPT")

# (port, what swaks is told)
SCRIPT = {
    "a mailbox": ("mx", STRANGER, "--to", "anna@site.test"),
    "with an extension": ("mx", STRANGER, "--to", "anna+box@site.test", RCPT),
    "an alias": ("mx", FRIEND, "--to", "team@site.test"),
    "an alias domain": ("mx", STRANGER, "--to", "anna@other.test", RCPT),
    "a virtual alias of a file": ("mx", STRANGER, "--to", "sales@site.test", RCPT),
    "nobody": ("mx", STRANGER, "--to", "nobody@site.test", RCPT),
    "nobody at the alias domain": ("mx", STRANGER, "--to", "nobody@other.test", RCPT),
    "moved": ("mx", STRANGER, "--to", "moved@site.test", RCPT),
    "not a relay": ("mx", STRANGER, "--to", "someone@elsewhere.example", RCPT),
    "a friend relays": ("mx", FRIEND, "--to", "someone@elsewhere.example", RCPT),
    "the backup of a domain": ("mx", STRANGER, "--to", "carl@backup.test", RCPT),
    "nobody at the backed up domain": ("mx", STRANGER, "--to", "nobody@backup.test", RCPT),
    "an alias not for strangers": ("mx", STRANGER, "--to", "team@site.test", RCPT),
    "a mailbox not for strangers": ("mx", STRANGER, "--to", "quiet@site.test", RCPT),
    "a blocked client": ("mx", BLOCKED, "--to", "anna@site.test", RCPT),
    "a blocked sender": ("mx", STRANGER, "--from", "x@spam.example", "--to", "anna@site.test", RCPT),
    "a sender who has to wait": ("mx", STRANGER, "--from", "later@slow.example", "--to", "anna@site.test", RCPT),
    "a sender without domain": ("mx", STRANGER, "--from", "x@host", "--to", "anna@site.test", RCPT),
    "a short HELO": ("mx", STRANGER, "--helo", "short", "--to", "anna@site.test", RCPT),
    "a malformed HELO": ("mx", STRANGER, "--helo", "a..b", "--to", "anna@site.test", RCPT),
    "a bounce": ("mx", STRANGER, "--from", "<>", "--to", "anna@site.test"),
    "a bounce to two": ("mx", STRANGER, "--from", "<>", "--to", "anna@site.test,ben@site.test"),
    "some of several": ("mx", STRANGER, "--to", "anna@site.test,nobody@site.test,ben@site.test"),
    "an advertisement": ("mx", STRANGER, "--to", "anna@site.test", "--header", "Subject: buy now"),
    "too large": ("mx", STRANGER, "--to", "anna@site.test", "--body", "x" * 70 + "\\n" + ("y" * 70 + "\\n") * 1500),
    "VRFY": ("mx", STRANGER, "--to", "anna@site.test", "--quit-after", "FIRST-HELO"),
    "log-in": ("submission", ANNA, "--to", "ben@site.test"),
    "relaying after a log-in": ("submission", ANNA, "--to", "someone@elsewhere.example", RCPT),
    "a closed domain": ("submission", ANNA, "--to", "x@closed.example", RCPT),
    "another's address": ("submission", ANNA, "--from", "ben@site.test", "--to", "ben@site.test", RCPT),
    "an alias of hers": ("submission", ANNA, "--from", "team@site.test", "--to", "ben@site.test", RCPT),
    "a wrong password": ("submission", ANNA, "--auth-password", "wrong", "--to", "ben@site.test", RCPT),
}
# Where Roost means to say something else: Postfix's replies and its own.
DIFFERENT = {
    "a domain that is switched off": (("mx", STRANGER, "--to", "x@closed.test", RCPT),
        "554 5.7.1 <x@closed.test>: Relay access denied",
        "550 5.2.1 <x@closed.test>: Recipient address rejected: Mailbox disabled"),
    "no log-in": (("submission", ("--helo", "client.example", "--from", "anna@site.test"), "--to", "ben@site.test", RCPT),
        "553 5.7.1 <anna@site.test>: Sender address rejected: not logged in", "530 5.7.0"),  # RFC 4954 section 6
}


def flat(words):
    for word in words:
        if isinstance(word, tuple):
            yield from word
        else:
            yield word


def replies(home, port, words):
    """What the server said: errors about an address in full, of other errors the two codes, of the rest one."""
    command = ["swaks", "--server", "127.0.0.1", "--port", port, "--timeout", "60s", *flat(words)]
    output = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=home, env=environment(home),
                            check=False, timeout=120).stdout
    said = re.findall(r"^<[-~*]+ +(\d{3}[ -].*)$", output, re.M)
    assert said, output
    assert any(line.startswith("250") for line in said), output
    return [line if "<" in line and line[0] in "45" else line[:9] if line[0] in "45" else line[:3]
            for line in said if line[3] == " "]


def ask_both(site, home, kind, *words):
    ports = {"mx": (site.mx, site.roost.ports["smtp"]), "submission": (site.submission, site.roost.ports["submission"])}
    return [replies(home, port, words) for port in ports[kind]]


@pytest.mark.parametrize("name", SCRIPT)
def test_the_same_script_gives_the_same_replies(site, tmp_path, name):
    of_postfix, of_roost = ask_both(site, tmp_path, *SCRIPT[name])
    assert of_roost == of_postfix


@pytest.mark.parametrize("name", DIFFERENT)
def test_where_the_replies_differ(site, tmp_path, name):
    words, says_postfix, says_roost = DIFFERENT[name]
    of_postfix, of_roost = ask_both(site, tmp_path, *words)
    assert says_postfix in of_postfix and says_roost in of_roost, (of_postfix, of_roost)
