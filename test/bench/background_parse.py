# SPDX-License-Identifier: MIT
"""How long the background takes to parse an adopted tree, and what its owner notices of that.

ROOST_BUILD=.../build python3 test/bench/background_parse.py [MESSAGES]
"""

import imaplib
import os
import ssl
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "system"))

from mail_helpers import make_message  # noqa: E402
from roost_instance import PASSWORD, Roost  # noqa: E402


def status(roost):
    return next(s for s in roost.ctl("status") if s["service"] == "index")


def make_tree(maildir, count, owner):
    for sub in ("new", "cur", "tmp"):
        (maildir / sub).mkdir(parents=True)
    text = make_message(body="A line of text of some sixty bytes, as people write them, more or less.\n" * 45,
                        attachments=[("a.bin", b"x" * 600)]).as_bytes()
    for n in range(count):
        path = maildir / "cur" / f"{1500000000 + n}.M{n}P1.other.host:2,S"
        path.write_bytes(text.replace(b"Subject: ", b"Subject: %d " % n, 1))
        if os.getuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
    if os.getuid() == 0:
        for path in (maildir.parent, maildir, *maildir.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)
    return len(text)


def milliseconds(function):
    begin = time.perf_counter()
    function()
    return (time.perf_counter() - begin) * 1000


def rounds(client, condition):
    """Latencies of commands that write and read, until the condition holds."""
    found = {"STORE": [], "APPEND": [], "FETCH FLAGS": []}
    message = make_message().as_bytes()
    client.create("Work")
    client.select("Work")
    client.append("Work", None, None, message)
    client.noop()
    while not condition(len(found["STORE"])):
        found["STORE"].append(milliseconds(lambda: client.store("1", "+FLAGS", "\\Flagged")))
        found["APPEND"].append(milliseconds(lambda: client.append("Work", None, None, message)))
        found["FETCH FLAGS"].append(milliseconds(lambda: client.fetch("1:*", "(FLAGS)")))
        time.sleep(0.02)
    return found


def show(title, found):
    for name, values in found.items():
        values.sort()
        print(f"{title}: {name}: median {statistics.median(values):.2f} ms, "
              f"99 % {values[int(len(values) * 0.99)]:.2f} ms, most {values[-1]:.2f} ms, of {len(values)}")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100000
    roost = Roost(settings={"mail_fsync": "no"})
    try:
        roost.add_user("big")
        size = make_tree(roost.home("big") / "Maildir", count, os.stat(roost.state / "mail"))
        context = ssl.create_default_context(cafile=str(roost.tls_cert))
        context.check_hostname = False
        client = imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=context)
        begin = time.perf_counter()
        client.login("big@example.test", PASSWORD)
        print(f"log-in with {count} messages of {size} bytes taken in: {time.perf_counter() - begin:.1f} s")
        begin = time.perf_counter()
        done = [0.0]

        def parsed(_):
            if time.perf_counter() - done[0] > 0.5:
                done[0] = time.perf_counter()
                return status(roost)["parsed_in_background"] >= count
            return False

        show("meanwhile", rounds(client, parsed))
        print(f"all parsed after {time.perf_counter() - begin:.1f} s")
        show("at rest", rounds(client, lambda n: n >= 300))
        client.logout()
    finally:
        roost.close()


if __name__ == "__main__":
    main()
