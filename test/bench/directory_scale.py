#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Whether looking up users and logging in takes longer the more users the directory has.

    ROOST_BUILD=DIR test/bench/directory_scale.py [USERS ...]

Starts a Roost of its own on each database for each number of users (1000 and 1000000), all in one domain, puts them
into the database by SQL, and asks for users at random with eight clients at once. Log-ins are those of submission, up to
the 235, over a connection each, and nothing is remembered of them (auth_cache_ttl = 0); the rest of a log-in does not
depend on how many users there are. A stored password is one quick digest, so that the directory is what takes time.
"""

import base64
import contextlib
import hashlib
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from roost_instance import DOMAIN, PASSWORD, Postgres, Roost  # noqa: E402
from test_kill import Lines, daemons  # noqa: E402

CLIENTS = 8
SECONDS = 10
RCPTS, TRANSACTIONS = 50, 15  # sent at once; of a connection, which ends after 1000 errors
SALT = b"saltsalt"
SETTINGS = {"log_level": "warn", "auth_cache_ttl": "0s", "max_connections_per_ip": 1000,
            "smtpd_hard_error_limit": 1000}


def stored_password():
    digest = hashlib.sha512(PASSWORD.encode() + SALT).digest()
    return "{SSHA512}" + base64.b64encode(digest + SALT).decode()


def user(number):
    return f"user{number:07}"


def fill_sqlite(roost, count):
    password = stored_password()
    with contextlib.closing(sqlite3.connect(roost.state / "db" / "roost.db", timeout=60)) as db, db:
        db.executemany("INSERT INTO mailbox (domain, local, password) VALUES (?, ?, ?)",
                       ((DOMAIN, user(n), password) for n in range(count)))


def fill_postgresql(server, database, count):
    rows = (f"INSERT INTO mailbox (domain, local, password) SELECT '{DOMAIN}', 'user' || lpad(n::text, 7, '0'), "
            f"'{stored_password()}' FROM generate_series(0, {count - 1}) AS n")
    for statement in (rows, "VACUUM ANALYZE mailbox"):
        subprocess.run([server.bin / "psql", "-q", "-d", server.dsn(database), "-c", statement], check=True)


# ---- what is measured ----


def reply(client):
    while (line := client.line())[3:4] == b"-":
        pass
    return line[:3]


def transactions(client, count, expected, dice):
    times = []
    for _ in range(TRANSACTIONS):
        names = [user(dice.randrange(count)) if expected == b"250" else f"nobody{dice.randrange(count)}"
                 for _ in range(RCPTS)]
        commands = [f"RCPT TO:<{name}@{DOMAIN}>" for name in names]
        begin = time.perf_counter()
        client.send(("MAIL FROM:<sender@elsewhere.test>\r\n" + "\r\n".join(commands) + "\r\nRSET\r\n").encode())
        answers = [reply(client) for _ in range(RCPTS + 2)]
        times += [(time.perf_counter() - begin) / RCPTS] * RCPTS
        assert answers[1:-1] == [expected] * RCPTS, answers
    return times


def look_up(roost, count, expected, until, dice):
    """The time of each look-up: of RCPT TO in SMTP transactions that end without a message."""
    times = []
    while time.monotonic() < until:
        client = Lines(roost.ports["smtp"])
        reply(client)
        client.send(b"EHLO client.example.org\r\n")
        reply(client)
        times += transactions(client, count, expected, dice)
        client.close()
    return times


def log_in(roost, count, _expected, until, dice):
    times = []
    while time.monotonic() < until:
        text = base64.b64encode(f"\0{user(dice.randrange(count))}@{DOMAIN}\0{PASSWORD}".encode()).decode()
        client = Lines(roost.ports["submission"])
        reply(client)
        client.send(b"EHLO client.example.org\r\n")
        reply(client)
        begin = time.perf_counter()
        client.send(f"AUTH PLAIN {text}\r\n".encode())
        answer = reply(client)
        times.append(time.perf_counter() - begin)
        assert answer == b"235", answer
        client.close()
    return times


def measure(roost, action, count, expected=None):
    begin = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = [pool.submit(action, roost, count, expected, begin + SECONDS, random.Random(n))
                 for n in range(CLIENTS)]
        times = sorted(t for future in found for t in future.result())
    rate = len(times) / (time.monotonic() - begin)
    return rate, 1000 * statistics.median(times), 1000 * times[len(times) * 99 // 100]


def memory_mb(roost):
    kb = 0
    for pid in daemons(roost, "roost-auth"):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kb += int(line.split()[1])
    return kb / 1024


def report(roost, database, count):
    for name, action, expected in (("look-ups of users", look_up, b"250"), ("look-ups of nobody", look_up, b"550"),
                                   ("log-ins", log_in, None)):
        rate, median, late = measure(roost, action, count, expected)
        print(f"| {name}, {database} | {count:,} | {rate:.0f}/s | {median:.3f} ms | {late:.3f} ms | "
              f"{memory_mb(roost):.1f} MB |", flush=True)


def main():
    counts = [int(word) for word in sys.argv[1:]] or [1000, 1000000]
    print("| measurement | users | rate | median | 99 % within | roost-auth (PSS) |\n|---|--:|--:|--:|--:|--:|")
    for count in counts:
        roost = Roost(settings=SETTINGS, users=())
        try:
            fill_sqlite(roost, count)
            report(roost, "SQLite", count)
        finally:
            roost.close()
    server = Postgres()
    try:
        for count in counts:
            name = f"users{count}"
            server.create_database(name)
            roost = Roost(db="postgresql", dsn=server.dsn(name), settings=SETTINGS, users=())
            try:
                fill_postgresql(server, name, count)
                report(roost, "PostgreSQL", count)
            finally:
                roost.close()
    finally:
        server.close()


if __name__ == "__main__":
    main()
