# SPDX-License-Identifier: MIT
"""roostctl import imap: from Debian's Dovecot and from Roost itself."""

import contextlib
import imaplib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from roost_instance import BUILD, PASSWORD, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import servers  # noqa: E402
from test_adopt import fill, folders, message, ok, quoted, snapshot  # noqa: E402

SOURCE = "mover@example.test"
MANY = int(os.environ.get("ROOST_IMPORT_MESSAGES", "600"))


@pytest.fixture
def make_dovecot(monkeypatch):
    """make_dovecot(namespace): a Dovecot whose private namespace has these settings."""
    if not shutil.which("dovecot"):
        pytest.skip("Dovecot is not installed")
    if os.getuid() != 0:
        pytest.skip("Dovecot has to be started as root")
    started = []

    def make(namespace=""):
        monkeypatch.setattr(servers, "DOVECOT_CONF", servers.DOVECOT_CONF.replace(
            "namespace inbox {{", "namespace inbox {{\n" + namespace))
        started.append(servers.Dovecot())
        return started[-1]

    yield make
    for server in started:
        if server.process.poll() is None:
            server.close()


def log_in(server, user=SOURCE):
    client = imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=30)
    client.login(user, servers.PASSWORD)
    return client


@pytest.fixture
def imap():
    clients = []

    def connect(address, instance):
        client = imaplib.IMAP4("127.0.0.1", instance.ports["imap"], timeout=30)
        client.login(address, PASSWORD)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        with contextlib.suppress(Exception):
            client.logout()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "password"
    path.write_text(servers.PASSWORD + "\n")
    return path


def command(user, server, secret, *more):
    return ["import", "imap", user, "--host", "127.0.0.1", "--port", server.ports["imap"], "--plain",
            "--login", SOURCE, "--password-file", secret, *more]


def contents(client, separator):
    """folder → sorted list of (flags, date, size, hash), without UIDs; and the subscriptions."""
    found, subscribed = snapshot(client, separator)
    return ({name: sorted((tuple(sorted(f)), d, s, h) for f, d, s, h in box[2].values())
             for name, box in found.items()}, subscribed)


@pytest.mark.parametrize("namespace", ["", 'prefix = "INBOX."\n  separator = .\n', 'separator = /\n'])
def test_from_dovecot(make_dovecot, make_instance, imap, secret, namespace):
    dovecot, roost = make_dovecot(namespace), make_instance()
    prefix = "INBOX." if "prefix" in namespace else ""
    separator = "/" if "separator = /" in namespace else "."
    client = log_in(dovecot)
    if prefix:
        names = ["Sent", "Archive", "Archive.2026", "Gr&APYA3w-e"]
        for name in names:
            ok(client.create(quoted(prefix + name)))
            ok(client.append(quoted(prefix + name), "(\\Seen own-word)", '"01-Mar-2010 11:22:33 +0100"',
                             message(1)))
        ok(client.append("INBOX", None, '"02-Mar-2010 11:22:33 +0100"', message(2)))
        ok(client.subscribe(quoted(prefix + "Archive.2026")))
    else:
        fill(client, separator)
    before, subscribed = contents(client, separator)
    if prefix:
        before = {name[1:] if len(name) > 1 else name: box for name, box in before.items()}
        subscribed = {name[1:] if len(name) > 1 else name for name in subscribed}
    total = sum(len(box) for box in before.values())

    done = roost.ctl(*command("alice@example.test", dovecot, secret))
    assert (done["messages"], done["failed"], done["complete"]) == (total, 0, True)
    target = imap("alice@example.test", instance=roost)
    after, subscribed_here = contents(target, "/")
    for name, box in before.items():
        assert after[name] == box, name
    assert subscribed <= subscribed_here

    # Again: nothing is new. The source was not touched.
    done = roost.ctl(*command("alice@example.test", dovecot, secret))
    assert (done["messages"], done["present"], done["flags_changed"]) == (0, total, 0)
    assert contents(client, separator)[0] == contents(log_in(dovecot), separator)[0]


def test_second_run_takes_what_is_new(make_dovecot, make_instance, imap, secret):
    dovecot, roost = make_dovecot(), make_instance()
    client = log_in(dovecot)
    for n in range(5):
        ok(client.append("INBOX", "(\\Flagged one)" if n == 1 else None, None, message(n)))
    call = command("alice@example.test", dovecot, secret)
    assert roost.ctl(*call)["messages"] == 5
    target = imap("alice@example.test", instance=roost)
    ok(target.select("INBOX"))
    ok(target.uid("STORE", "1:2", "+FLAGS", "(\\Seen)"))  # here
    ok(target.uid("STORE", "3", "+FLAGS", "(\\Deleted)"))
    ok(target.uid("EXPUNGE", "3"))
    ok(client.select("INBOX"))
    ok(client.uid("STORE", "1", "+FLAGS", "(\\Answered two)"))  # there
    ok(client.uid("STORE", "2", "-FLAGS", "(\\Flagged one)"))
    ok(client.append("INBOX", "(\\Draft)", None, message(9)))
    done = roost.ctl(*call)
    assert (done["messages"], done["flags_changed"]) == (1, 2)
    boxes, _ = snapshot(target, "/")
    messages = boxes[("INBOX",)][2]
    # Both sides' changes are there, and what was removed here stays away.
    assert messages[1][0] == {"\\Seen", "\\Answered", "two"}
    assert messages[2][0] == {"\\Seen"}
    assert sorted(messages) == [1, 2, 4, 5, 6]
    assert messages[6][0] == {"\\Draft"}

    # Without its memory it compares what is there, and takes nothing twice but what was removed.
    (state,) = (roost.home("alice") / "import").iterdir()
    state.unlink()
    done = roost.ctl(*call)
    assert (done["messages"], done["present"]) == (1, 5)


def test_equal_messages_stay_as_many(make_dovecot, make_instance, secret):
    dovecot, roost = make_dovecot(), make_instance()
    client = log_in(dovecot)
    for _ in range(3):
        ok(client.append("INBOX", None, None, message(1)))
    call = command("alice@example.test", dovecot, secret)
    assert roost.ctl(*call)["messages"] == 3
    assert roost.ctl(*call)["messages"] == 0


def test_which_folders_and_what_they_are_called(make_dovecot, make_instance, imap, secret):
    dovecot, roost = make_dovecot(
        'separator = /\n mailbox "Sent Items" {{\n special_use = \\Sent\n auto = create\n }}\n'), make_instance()
    client = log_in(dovecot)
    for name in ["Old/2019", "Old/2020", "Junk mail", "Sent Items"]:
        client.create(quoted(name))
        ok(client.append(quoted(name), None, None, message(name)))
    done = roost.ctl(*command("alice@example.test", dovecot, secret, "--exclude", "Junk*", "--map", "Old=Archive/Old",
                              "--mailbox", "Old*", "--mailbox=Sent*"))
    assert done["messages"] == 3
    target = imap("alice@example.test", instance=roost)
    found, _ = snapshot(target, "/")
    filled = {name for name, box in found.items() if box[2]}
    assert filled == {("Archive", "Old", "2019"), ("Archive", "Old", "2020"), ("Sent",)}


def test_killed_and_repeated(make_dovecot, make_instance, imap, secret):
    """SIGKILL again and again in the middle: at the end each message is there once."""
    dovecot, roost = make_dovecot(), make_instance()
    client = log_in(dovecot)
    ok(client.create("Old"))
    for box in ["INBOX", "Old"]:
        for n in range(MANY // 2):
            ok(client.append(box, "(\\Seen)" if n % 3 else None, None, message(n, n % 40)))
    before, _ = contents(client, ".")
    words = command("alice@example.test", dovecot, secret)
    state = roost.home("alice") / "import"
    for size in (1, 4000, 9000, 15000):
        process = subprocess.Popen([str(w) for w in [BUILD / "roostctl", "-c", roost.conf, *words]],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: process.poll() is not None
                   or sum(f.stat().st_size for f in state.glob("*")) >= size, what="some messages are taken")
        process.send_signal(signal.SIGKILL)
        process.wait()
    begin = time.monotonic()
    done = roost.ctl(*words)
    assert done["complete"]
    assert time.monotonic() - begin < 60
    after, _ = contents(imap("alice@example.test", instance=roost), "/")
    for name, box in before.items():
        assert after[name] == box, name


def test_from_roost(make_instance, imap, secret, tmp_path):
    """Over TLS, with the certificate checked."""
    source, target = make_instance(), make_instance()
    client = imap("alice@example.test", instance=source)
    for name in ("Sent", "Archive"):
        ok(client.delete(name))
    fill(client, "/")
    before, subscribed = contents(client, "/")
    (tmp_path / "roost").write_text(PASSWORD)
    words = ["import", "imap", "bob@example.test", "--host", "localhost", "--port", source.ports["imaps"],
             "--login", "alice@example.test", "--password-file", tmp_path / "roost"]
    status, _, error = target.ctl(*words, check=False)
    assert status == 1 and "certificate" in error
    done = target.ctl(*words, "--ca-file", source.tls_cert)
    assert done["complete"]
    after, subscribed_here = contents(imap("bob@example.test", instance=target), "/")
    for name, box in before.items():
        assert after[name] == box, name
    assert subscribed <= subscribed_here
    words[words.index("--port") + 1] = source.ports["imap"]
    done = target.ctl(*words, "--starttls", "--insecure")
    assert (done["messages"], done["complete"]) == (0, True)


def test_refused(make_dovecot, make_instance, secret):
    dovecot, roost = make_dovecot(), make_instance()
    secret.write_text("wrong")
    status, _, error = roost.ctl(*command("alice@example.test", dovecot, secret), check=False)
    assert status == 1 and "refused" in error
    status, _, error = roost.ctl(*command("nobody@example.test", dovecot, secret), check=False)
    assert status == 1 and "no such user" in error
    status, _, error = roost.ctl("import", "imap", "alice@example.test", check=False)
    assert status == 64 and "--host" in error


def test_over_quota(make_dovecot, make_instance, secret):
    dovecot, roost = make_dovecot(), make_instance()
    client = log_in(dovecot)
    for n in range(30):
        ok(client.append("INBOX", None, None, message(n, 400)))
    roost.add_user("small", quota="60K")
    status, done, error = roost.ctl(*command("small@example.test", dovecot, secret), check=False)
    assert status == 1 and "quota" in error
    assert done["complete"] is False
    roost.ctl("user", "set", "small@example.test", "--quota", "10M")
    assert roost.ctl(*command("small@example.test", dovecot, secret))["complete"]
    boxes = roost.ctl("mailbox", "list", "small@example.test")
    assert [b["messages"] for b in boxes if b["name"] == "INBOX"] == [30]
