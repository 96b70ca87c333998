# SPDX-License-Identifier: MIT
"""Roost and Debian's Dovecot with the same users in the same PostgreSQL: log-ins, and what asks the directory.

Called by ./run. Passwords are stored as they are ({PLAIN}), so that the servers are measured and not a hash.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import servers
from roost_instance import Postgres, Roost, can_connect, free_ports, wait_until

DATABASE = "mail"
# More than Roost keeps processes for: hardly one log-in finds one that served its user before.
USERS = 300
MESSAGES = 1000
BODY_LINES = 290  # of 35 bytes: 10 KB
PROTOCOLS = ("imap", "pop3", "submission")

DOVECOT_CONF = """
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
protocols = imap pop3 lmtp submission
listen = 127.0.0.1
ssl = no
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
# Else each log-in by submission makes a connection to the server that mail is handed on to.
submission_backend_capabilities = 8BITMIME PIPELINING
submission_relay_host = 127.0.0.1
passdb {{
  driver = sql
  args = {dir}/sql.conf
}}
userdb {{
  driver = sql
  args = {dir}/sql.conf
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
{more}
"""

DOVECOT_LOGIN = """
service {name}-login {{
  {login}
  inet_listener {name} {{
    port = {port}
  }}
}}
"""

# As its documentation has it for many log-ins: processes that stay, and what was looked up is remembered.
FAST_LOGIN = "service_count = 0\n  process_min_avail = {cores}\n  client_limit = 10000"
FAST_AUTH = "auth_cache_size = 100 M\n"

DOVECOT_SQL = """
driver = pgsql
connect = {dsn}
default_pass_scheme = PLAIN
password_query = SELECT local || '@' || domain AS user, password FROM mailbox WHERE local = '%Ln' AND domain = '%Ld' AND active = 1
user_query = SELECT '{dir}/mail/' || local || '@' || domain AS home FROM mailbox WHERE local = '%Ln' AND domain = '%Ld' AND active = 1
iterate_query = SELECT local || '@' || domain AS user FROM mailbox
"""


class SqlDovecot:
    """fast: its documented set-up for many log-ins; else as packaged."""

    def __init__(self, dsn, fast):
        self.dir = Path(tempfile.mkdtemp(prefix="bench-dovecot-", dir="/tmp"))
        self.dir.chmod(0o755)
        names = (*PROTOCOLS, "lmtp")
        self.ports = dict(zip(names, free_ports(len(names))))
        vmail = pwd.getpwnam("vmail")
        (self.dir / "mail").mkdir()
        os.chown(self.dir / "mail", vmail.pw_uid, vmail.pw_gid)
        login = FAST_LOGIN.format(cores=os.cpu_count()) if fast else ""
        more = FAST_AUTH if fast else ""
        for name in PROTOCOLS:
            more += DOVECOT_LOGIN.format(name=name, port=self.ports[name], login=login)
        (self.dir / "sql.conf").write_text(DOVECOT_SQL.format(dir=self.dir, dsn=dsn))
        (self.dir / "dovecot.conf").write_text(DOVECOT_CONF.format(dir=self.dir, lmtp=self.ports["lmtp"], more=more))
        self.process = subprocess.Popen(["dovecot", "-F", "-c", self.dir / "dovecot.conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        for port in self.ports.values():
            wait_until(lambda port=port: can_connect(port), what="Dovecot listens")

    def home(self, user):
        return self.dir / "mail" / f"{user}@{servers.DOMAIN}"

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


def fill(postgres):
    statement = (f"INSERT INTO mailbox (domain, local, password) SELECT '{servers.DOMAIN}', 'user' || n, "
                 f"'{{PLAIN}}{servers.PASSWORD}' FROM generate_series(0, {USERS - 1}) AS n")
    servers.run(postgres.bin / "psql", "-q", "-d", postgres.dsn(DATABASE), "-c", statement)


def bench_logins(row, load, sides, count):
    """sides: Roost, Dovecot as packaged, Dovecot for many log-ins."""
    # The first log-in of a user makes the mailbox.
    for server in sides:
        load("load_imap", "-p", server.ports["imap"], "-c", 10, "-u", USERS, "-n", USERS, "-P", servers.PASSWORD,
             "login")
    for protocol in PROTOCOLS:
        program = ("load_imap", "login") if protocol == "imap" else ("load_login", protocol)
        for clients in (1, 10):
            def rate(server):
                return float(load(program[0], "-p", server.ports[protocol], "-c", clients, "-u", USERS, "-n", count,
                                  "-P", servers.PASSWORD, program[1]))

            figures = [[rate(server) for server in sides] for _ in range(3)]
            ours, packaged, fast = map(max, zip(*figures))
            name = {"imap": "IMAP", "pop3": "POP3"}.get(protocol, protocol)
            row(f"{name} log-ins, users in PostgreSQL, {clients} clients", "log-ins/s", ours, packaged, True)
            row(f"{name} log-ins, users in PostgreSQL, {clients} clients, high-perf.", "log-ins/s", ours, fast, True,
                "Dovecot (performance)")


def bench_retrieve(row, load, sides):
    vmail = pwd.getpwnam("vmail")
    for server in sides:
        servers.make_big_maildir(server.home("user0") / "Maildir", MESSAGES, vmail.pw_uid, vmail.pw_gid,
                                 body_lines=lambda n: BODY_LINES)
    top = sides[0].home("user0").parent
    if top.stat().st_uid != vmail.pw_uid:
        os.chown(top, vmail.pw_uid, vmail.pw_gid)

    def seconds(server):
        return float(load("load_login", "-p", server.ports["pop3"], "-n", MESSAGES, "-P", servers.PASSWORD, "retrieve"))

    # The first time each looks at a mailbox that is new to it.
    first = [seconds(server) for server in sides]
    row(f"POP3: log in and retrieve {MESSAGES} messages of 10 KB, first time", "s", first[0], min(first[1:]), False)
    figures = [[seconds(server) for server in sides] for _ in range(5)]
    ours, packaged, fast = map(min, zip(*figures))
    row(f"POP3: log in and retrieve {MESSAGES} messages of 10 KB", "s", ours, packaged, False)
    row(f"POP3: log in and retrieve {MESSAGES} messages of 10 KB, high-perf.", "s", ours, fast, False,
        "Dovecot (performance)")


def bench_recipients(row, load, sides, count):
    for clients in (1, 10):
        def rate(server):
            return float(load("load_login", "-p", server.ports["lmtp"], "-c", clients, "-u", USERS, "-n", count,
                              "rcpt"))

        figures = [[rate(server) for server in sides] for _ in range(3)]
        ours, packaged, fast = map(max, zip(*figures))
        row(f"LMTP: recipients looked up in PostgreSQL, {clients} clients", "RCPT/s", ours, packaged, True)
        row(f"LMTP: recipients looked up in PostgreSQL, {clients} clients, high-perf.", "RCPT/s", ours, fast, True,
            "Dovecot (performance)")


def bench_pgsql(row, load, scale):
    postgres = Postgres()
    sides = []
    try:
        postgres.create_database(DATABASE)
        sides.append(Roost(db="postgresql", dsn=postgres.dsn(DATABASE), users=(), settings={
            "password_scheme": "PLAIN", "log_level": "info", "max_connections_per_ip": 20000}))
        fill(postgres)
        sides += [SqlDovecot(postgres.dsn(DATABASE), fast) for fast in (False, True)]
        bench_retrieve(row, load, sides)
        bench_logins(row, load, sides, 2 * USERS // scale)
        bench_recipients(row, load, sides, 20000 // scale)
    finally:
        for server in sides:
            server.close()
        postgres.close()
