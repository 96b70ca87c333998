# SPDX-License-Identifier: MIT
"""Debian's Dovecot and Postfix, and Roost, each set up below a directory of its own for `make bench`."""

import itertools
import os
import pwd
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from roost_instance import Roost, can_connect, free_ports, wait_until  # noqa: E402

PASSWORD = "secret"
USERS = 20
DOMAIN = "example.test"

DOVECOT_CONF = """
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{dir}/cert.pem
ssl_key = <{dir}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:~/Maildir
mail_uid = vmail
mail_gid = vmail
first_valid_uid = 1
default_vsz_limit = 0
default_client_limit = 20000
default_process_limit = 10000
mail_max_userip_connections = 10000
passdb {{
  driver = static
  args = password={{PLAIN}}{password}
}}
userdb {{
  driver = static
  args = uid=vmail gid=vmail home={dir}/mail/%u
}}
service imap-login {{
  {login}
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  {imap_service}
}}
service lmtp {{
  process_limit = 200
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
namespace inbox {{
  inbox = yes
}}
"""

POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.test
mydestination =
virtual_mailbox_domains = example.test
virtual_mailbox_maps = static:ok
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
mynetworks = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
smtpd_recipient_restrictions = permit_mynetworks, reject
lmtp_destination_concurrency_limit = 40
lmtp_destination_recipient_limit = 1
smtpd_client_connection_count_limit = 0
message_size_limit = 0
maillog_file = {dir}/maillog
maillog_file_prefixes = {dir}
smtputf8_enable = no
alias_maps =
alias_database =
"""


def run(*command):
    subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)


# As its documentation has it.
DOVECOT_HIBERNATE = """
imap_hibernate_timeout = {after}
service imap {{
  unix_listener imap-master {{
    user = dovecot
  }}
  extra_groups = $default_internal_group
}}
service imap-hibernate {{
  client_limit = 10000
  unix_listener imap-hibernate {{
    mode = 0660
    group = $default_internal_group
  }}
}}
"""


# As its documentation has it, but that nothing is indexed before it is asked for.
DOVECOT_FTS = """
mail_plugins = fts fts_xapian
plugin {{
  fts = xapian
  fts_xapian = partial=3 full=20 verbose=0
  fts_autoindex = no
  fts_enforced = yes
}}
service indexer-worker {{
  vsz_limit = 0
}}
"""


class Dovecot:
    """login: "default" as packaged; "performance", its documented high-performance mode, whose log-in processes serve
    any number of clients; "reused", which goes further: IMAP processes serve a hundred clients each, too."""

    def __init__(self, login="default", hibernate=None, fts=False):
        self.dir = Path(tempfile.mkdtemp(prefix="bench-dovecot-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.ports = dict(zip(["imap", "imaps", "lmtp"], free_ports(3)))
        mail = self.dir / "mail"
        mail.mkdir()
        vmail = pwd.getpwnam("vmail")
        os.chown(mail, vmail.pw_uid, vmail.pw_gid)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=localhost", "-keyout", self.dir / "key.pem", "-out", self.dir / "cert.pem")
        fast, reused = login != "default", login == "reused"
        (self.dir / "dovecot.conf").write_text(DOVECOT_CONF.format(
            dir=self.dir, password=PASSWORD, **self.ports,
            login="service_count = 0\n  process_min_avail = 2\n  client_limit = 10000" if fast else "",
            imap_service="service_count = 100\n  process_min_avail = 4" if reused else "")
            + (DOVECOT_HIBERNATE.format(after=hibernate) if hibernate else "")
            + (DOVECOT_FTS.format() if fts else ""))
        self.process = subprocess.Popen(["dovecot", "-F", "-c", self.dir / "dovecot.conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        wait_until(lambda: can_connect(self.ports["imap"]), what="Dovecot listens")

    def home(self, user):
        return self.dir / "mail" / f"{user}@{DOMAIN}"

    def pids(self):
        return descendants(self.process.pid)

    def index(self, user):
        run("doveadm", "-c", self.dir / "dovecot.conf", "index", "-u", f"{user}@{DOMAIN}", "INBOX")

    def index_bytes(self, user):
        return tree_bytes(self.home(user) / "Maildir" / "xapian-indexes")

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


class Postfix:
    """Takes mail by SMTP and hands it to an LMTP port; settings are further ones of main.cf."""

    def __init__(self, lmtp_port, settings=None, top="/tmp"):
        self.dir = Path(tempfile.mkdtemp(prefix="bench-postfix-", dir=top))
        self.dir.chmod(0o755)
        self.port = free_ports(1)[0]
        self.etc = self.dir / "etc"
        shutil.copytree("/etc/postfix", self.etc, symlinks=True)
        (self.etc / "main.cf").write_text(POSTFIX_MAIN.format(dir=self.dir, lmtp=lmtp_port) + "".join(
            f"{name} = {value}\n" for name, value in (settings or {}).items()))
        master = Path("/usr/share/postfix/master.cf.dist").read_text().splitlines()
        lines = [line for line in master if not line.startswith(("smtp      inet", "pickup"))]
        lines.insert(0, f"127.0.0.1:{self.port} inet n - n - 2000 smtpd")
        # chroot is Debian's default; the queue here is not prepared for it.
        lines = [line.replace("  y       ", "  n       ") for line in lines]
        (self.etc / "master.cf").write_text("\n".join(lines) + "\n")
        for name in ("queue", "data"):
            (self.dir / name).mkdir()
        shutil.chown(self.dir / "data", "postfix", "postfix")
        run("postfix", "-c", self.etc, "start")
        wait_until(lambda: can_connect(self.port), what="Postfix listens")

    def pids(self):
        return descendants(int((self.dir / "queue" / "pid" / "master.pid").read_text()))

    def queue_empty(self):
        for name in ("incoming", "active", "deferred"):
            for _, _, files in os.walk(self.dir / "queue" / name):
                if files:
                    return False
        return True

    def close(self):
        run("postfix", "-c", self.etc, "stop")
        shutil.rmtree(self.dir, ignore_errors=True)


class BenchRoost(Roost):
    def __init__(self, **settings):
        super().__init__(users=(), settings={
            "password_scheme": "PLAIN", "log_level": "info", "max_connections_per_ip": 20000, **settings})
        for n in range(USERS):
            self.add_user(f"user{n}", password=PASSWORD)

    def all_pids(self):
        return descendants(self.process.pid)

    def index(self, user):
        self.ctl("fts", "rescan", f"{user}@{DOMAIN}", timeout=3600)

    def index_bytes(self, user):
        return tree_bytes(self.home(user) / "index" / "fts")


def tree_bytes(top):
    return sum(p.stat().st_size for p in top.rglob("*") if p.is_file())


def descendants(root):
    """root and all processes below it."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, []))
    return found


def pss_kb(pids):
    """Proportional set size of processes together, in KB."""
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


def drop_caches():
    """Empties the page cache, for the cold figures; False where that is not allowed."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
        return True
    except OSError:
        return False


def make_big_maildir(maildir, count, uid, gid, body_lines=lambda n: 30):
    """count messages in cur/ with sizes in their names, as a delivery agent leaves them; body_lines(n)
    lines of body in message n."""
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True, exist_ok=True)
    now = int(time.time())
    for n in range(count):
        text = (f"From: Sender {n % 97} <sender{n % 97}@example.org>\nTo: user0@example.test\n"
                f"Subject: message {n} of many\nMessage-ID: <{n}.bench@example.org>\n"
                f"Date: Fri, 20 Nov 2026 {n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02} +0000\n"
                f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
                + "A line of text that says little.\n" * body_lines(n))
        size, lines = len(text), text.count("\n")
        path = maildir / "cur" / f"{now + n // 1000}.M{n}P1.bench,S={size},W={size + lines}:2,S"
        path.write_text(text)
        os.chown(path, uid, gid)
    for path in [maildir.parent, maildir, *(maildir / n for n in ("cur", "new", "tmp"))]:
        os.chown(path, uid, gid)


def make_words_maildir(maildir, count, uid, gid):
    """count messages of some 4.9 KB, words by Zipf's law, as a person's mail has them: one in fourteen has
    "lighthouse", and all but one in eighteen "because"."""
    rng = random.Random(7)
    syllables = [a + b + c for a in "bdfghklmnprstvw" for b in "aeiou" for c in ("", "n", "r", "s", "t")]
    words = ["".join(rng.choices(syllables, k=rng.choice((1, 1, 2, 2, 3)))) for _ in range(4000)]
    weights = list(itertools.accumulate(1 / (n + 2.7) for n in range(len(words))))
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True, exist_ok=True)
    now = int(time.time())
    for n in range(count):
        some = rng.choices(words, cum_weights=weights, k=720)
        some[100] = "lighthouse" if n % 14 == 0 else some[100]
        some[200] = "because" if n % 18 else some[200]
        lines = [" ".join(some[at:at + 12]) for at in range(0, len(some), 12)]
        text = (f"Received: from mx{n % 5}.example.org (mx{n % 5}.example.org [192.0.2.{n % 250}])\n"
                f"\tby mail.example.test with ESMTPS id {rng.getrandbits(60):x}; Fri, 20 Nov 2026 10:00:00 +0000\n"
                f"From: Sender {n % 97} <sender{n % 97}@example.org>\nTo: user0@example.test\n"
                f"Subject: {' '.join(some[:5])}\nMessage-ID: <{rng.getrandbits(60):x}.{n}@example.org>\n"
                f"Date: Fri, 20 Nov 2026 {n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02} +0000\n"
                f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" + "\n".join(lines) + "\n")
        size, crlf = len(text), len(text) + text.count("\n")
        path = maildir / "cur" / f"{now + n // 1000}.M{n}P1.bench,S={size},W={crlf}:2,S"
        path.write_text(text)
        os.chown(path, uid, gid)
    for path in [maildir.parent, maildir, *(maildir / n for n in ("cur", "new", "tmp"))]:
        os.chown(path, uid, gid)
