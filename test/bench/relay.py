# SPDX-License-Identifier: MIT
"""The queue of Roost beside Postfix's: mail that is passed on, and mail that waits. Load and sink are Postfix's tools."""

import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import servers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from queue_files import fill  # noqa: E402

CLIENTS = 8


def queue_is_empty(queue):
    """Nothing in a queue of either kind, whose directories have these names in both."""
    return not any(files for name in ("incoming", "active", "deferred") for _, _, files in os.walk(queue / name))


class Sink:
    """smtp-sink: takes all and keeps nothing."""

    def __init__(self):
        self.port = servers.free_ports(1)[0]
        self.process = subprocess.Popen(["smtp-sink", "-u", "nobody", f"127.0.0.1:{self.port}", "1000"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        servers.wait_until(lambda: servers.can_connect(self.port), what="the sink listens")

    def close(self):
        self.process.terminate()
        self.process.wait(30)


def send(port, count, recipient="someone@elsewhere.test"):
    servers.run("smtp-source", "-s", CLIENTS, "-m", count, "-l", 4096, "-f", "sender@example.org", "-t", recipient,
                f"127.0.0.1:{port}")


def relay_rate(port, queue, count):
    start = time.monotonic()
    send(port, count)
    servers.wait_until(lambda: queue_is_empty(queue), 300, "the queue is empty")
    return count / (time.monotonic() - start)


def bench_relay(row, best, scale):
    sink = Sink()
    roost = servers.BenchRoost(relayhost=f"[127.0.0.1]:{sink.port}", smtp_tls_security_level="none")
    postfix = servers.Postfix(1, {"relayhost": f"[127.0.0.1]:{sink.port}", "virtual_mailbox_domains": ""})
    count = 4000 // scale
    try:
        row(f"relay through the queue, 4 KB, {CLIENTS} clients", "messages/s", *best(
            lambda: relay_rate(roost.ports["smtp"], roost.state / "queue", count),
            lambda: relay_rate(postfix.port, postfix.dir / "queue", count), 2), True, "Postfix")
    finally:
        roost.close()
        postfix.close()
        sink.close()


def memory_of(pids, names):
    """PSS in KB of those of the processes whose programs have these names."""
    return servers.pss_kb([pid for pid in pids if Path(os.readlink(f"/proc/{pid}/exe")).name in names])


def roost_deferred(count):
    """(KB of the queue's processes, seconds from the start of Roost until they have the queue)."""
    # Nothing of either delivers: that of Postfix is not even started, and that of Roost is given the time to end.
    roost = servers.BenchRoost(max_idle="2s")
    try:
        roost.stop()
        deferred = roost.state / "queue" / "deferred"
        fill(deferred, count, lambda n: f"user@d{n % 1000}.elsewhere.test", int(time.time()) - 60, int(time.time()) + 86400)
        owner = pwd.getpwnam("vmail")
        for path in deferred.iterdir():
            os.chown(path, owner.pw_uid, owner.pw_gid)
        start = time.monotonic()
        roost.start()
        servers.wait_until(lambda: f"deferred={count}" in roost.log(), 120, "the queue is loaded")
        seconds = time.monotonic() - start
        time.sleep(4)
        return memory_of(roost.all_pids(), ("roost-qmgr", "roost-smtp", "roost-lmtp-client")), seconds
    finally:
        roost.close()


def postfix_deferred(count):
    """The same; Postfix has its queue when a message that comes last has been tried."""
    # In memory, or it would take this disk a quarter of an hour to take the mail.
    postfix = servers.Postfix(1, {"defer_transports": "smtp", "virtual_mailbox_domains": "", "minimal_backoff_time": "10000s",
                                  "maximal_backoff_time": "10000s", "queue_run_delay": "300s"}, "/dev/shm")
    try:
        send(postfix.port, count)
        waiting = postfix.dir / "queue" / "deferred"
        servers.wait_until(lambda: sum(len(f) for _, _, f in os.walk(waiting)) >= count, 600, "all are deferred")
        servers.run("postfix", "-c", postfix.etc, "stop")
        start = time.monotonic()
        servers.run("postfix", "-c", postfix.etc, "start")
        servers.wait_until(lambda: servers.can_connect(postfix.port), what="Postfix listens")
        send(postfix.port, 1)
        servers.wait_until(lambda: sum(len(f) for _, _, f in os.walk(waiting)) >= count + 1, 120, "it was tried")
        seconds = time.monotonic() - start
        master = int((postfix.dir / "queue" / "pid" / "master.pid").read_text())
        time.sleep(2)
        return memory_of(servers.descendants(master), ("master", "qmgr", "pickup")), seconds
    finally:
        postfix.close()


def bench_deferred(row, scale):
    count = 100000 // scale
    ours, theirs = roost_deferred(count), postfix_deferred(count)
    row(f"{count:,} deferred messages: memory of the queue", "KB (PSS)", ours[0], theirs[0], False, "Postfix")
    row(f"{count:,} deferred messages: from start to work", "s", ours[1], theirs[1], False, "Postfix")
