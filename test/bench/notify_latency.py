#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How soon a session in IDLE hears of a change, and what it costs to wait.

    ROOST_BUILD=DIR test/bench/notify_latency.py [changes] [sessions]

Starts a Roost of its own. Times are from the last byte of what causes the change to the untagged line in the
waiting session, the work itself included.
"""

import os
import select
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from roost_instance import Roost  # noqa: E402
from test_imap_session import Wire  # noqa: E402
from test_kill import Lines, family  # noqa: E402

USER = "alice@example.test"
MESSAGE = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"


def idle(roost):
    wire = Wire(roost, USER)
    wire.command("SELECT INBOX")
    wire.send("i IDLE")
    wire.until("+ ")
    return wire


def row(name, times):
    times = sorted(1000 * t for t in times)
    print(f"| {name} | {statistics.median(times):.2f} ms | {times[len(times) * 99 // 100]:.2f} ms | "
          f"{times[-1]:.2f} ms |", flush=True)


def measure(name, watcher, count, cause, start):
    times = []
    for number in range(count):
        begin = cause(number)
        watcher.until(start(number))
        times.append(time.perf_counter() - begin)
        time.sleep(0.01)
    row(name, times)


def switches(pids):
    """Context switches of all threads, so far."""
    found = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if "ctxt_switches" in line:
                    found += int(line.split()[1])
    return found


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    roost = Roost(settings={"log_level": "warn", "max_connections_per_ip": 1000})
    try:
        actor, watcher = Wire(roost, USER), idle(roost)
        actor.command("SELECT INBOX")
        lmtp = Lines(roost.ports["lmtp"])
        lmtp.line()

        def reply():
            while (line := lmtp.line())[3:4] == b"-":
                pass
            assert line[:1] in b"23", line

        lmtp.send(b"LHLO client.example.org\r\n")
        reply()

        def deliver(_):
            lmtp.send(f"MAIL FROM:<a@example.org>\r\nRCPT TO:<{USER}>\r\nDATA\r\n".encode())
            for _ in range(3):
                reply()
            begin = time.perf_counter()
            lmtp.send(MESSAGE + b".\r\n")
            reply()
            return begin

        def store(number):
            begin = time.perf_counter()
            actor.command(f"STORE 1 {'-+'[number % 2]}FLAGS.SILENT (\\Flagged)")
            return begin

        new = roost.home("alice") / "Maildir" / "new"

        def foreign(number):
            path = new.with_name("tmp") / f"{number}.foreign"
            path.write_bytes(MESSAGE)
            if os.getuid() == 0:
                os.chown(path, new.stat().st_uid, new.stat().st_gid)
            begin = time.perf_counter()
            path.rename(new / path.name)
            return begin

        exists = iter(range(1, 10**9))
        print(f"| {count} changes, from | median | 99 % | longest |\n|---|--:|--:|--:|")
        measure("LMTP final dot to EXISTS", watcher, count, deliver, lambda n: f"* {next(exists)} EXISTS")
        actor.command("NOOP")
        actor.command("STORE 1 +FLAGS.SILENT (\\Flagged)")
        watcher.until("* 1 FETCH")
        measure("STORE to FETCH", watcher, count, store, lambda n: "* 1 FETCH")
        measure("rename into new/ by another program to EXISTS", watcher, count // 3, foreign,
                lambda n: f"* {next(exists)} EXISTS")

        others = [idle(roost) for _ in range(sessions)]
        actor.command("NOOP")
        times = []
        for number in range(max(count // 10, 10)):
            begin = time.perf_counter()
            actor.send(f"t STORE 1 {'-+'[number % 2]}FLAGS.SILENT (\\Flagged)")
            waiting = {wire.socket.fileno(): wire for wire in others}
            while waiting:
                for fd in select.select(list(waiting), [], [])[0]:
                    waiting.pop(fd).until("* 1 FETCH")
            times.append(time.perf_counter() - begin)
            actor.until("t ")
            time.sleep(0.02)
        row(f"STORE to FETCH in the last of {sessions} sessions", times)

        time.sleep(3)
        for program in ("roost-index", "roost-imap", "roost-proxy"):
            pids = family(roost)[program]
            before = switches(pids)
            time.sleep(10)
            print(f"{program}: {len(pids)} processes, {switches(pids) - before} context switches in 10 s of rest")
    finally:
        roost.close()


if __name__ == "__main__":
    main()
