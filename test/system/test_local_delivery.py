# SPDX-License-Identifier: MIT
"""What aliases of this machine lead to besides addresses: files, Maildirs and commands."""

import contextlib
import fcntl
import mailbox
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from mail_helpers import instance_imap, subjects, wait_for_subject  # noqa: F401
from roost_instance import wait_until
from test_faults import fill, small_disk  # noqa: F401
from test_local import HOST, flush_until_empty, queue, send, wait_for_empty_queue, wait_for_reason

SETTINGS = {"minimal_backoff_time": "1h", "maximal_backoff_time": "2h", "command_time_limit": "100s"}


@pytest.fixture
def place():
    """A directory of the user who gets the mail."""
    path = Path(tempfile.mkdtemp(prefix="roost-local-", dir="/tmp"))
    path.chmod(0o755)
    (path / "box").mkdir(mode=0o755)
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path / "box", nobody.pw_uid, nobody.pw_gid)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make(make_instance, place):
    def start(text, **settings):
        path = place / "aliases"
        path.write_text(text.replace("{box}", str(place / "box")).replace("{dir}", str(place)))
        path.chmod(0o644)
        roost = make_instance(settings={"local_domains": [HOST], "alias_maps": [str(path)], **SETTINGS, **settings})
        roost.aliases = path
        return roost

    return start


def script(place, name, text):
    path = place / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def read(path):
    return path.read_text() if path.exists() else ""


def children(roost):
    """Processes of deliveries to files and commands."""
    parents = roost.pids("roost-local-run")
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()
            and read(p / "stat") and int(read(p / "stat").rsplit(")", 1)[1].split()[1]) in parents]


def test_files_and_maildirs(make, place):
    roost = make("mbox: {box}/mbox\ndir: {box}/Mail/\nnull: /dev/null\n")
    box = place / "box" / "mbox"
    first = send(roost, f"mbox+more@{HOST}", body="From here\n.\nto there\n")
    wait_for_empty_queue(roost)
    second = send(roost, f"mbox@{HOST}")
    send(roost, f"null@{HOST}")
    wait_for_empty_queue(roost)
    messages = list(mailbox.mbox(box))
    assert [m["Subject"] for m in messages] == [first, second]
    assert messages[0].get_from().startswith("alice@example.test ")
    assert messages[0]["Return-Path"] == "<alice@example.test>" and messages[0]["Delivered-To"] == f"mbox+more@{HOST}"
    assert ">From here\n.\nto there\n" in messages[0].get_payload()
    assert b"\r" not in box.read_bytes()
    assert not (place / "box" / "mbox.lock").exists()
    subject = send(roost, f"dir@{HOST}")
    wait_for_empty_queue(roost)
    found = list((place / "box" / "Mail" / "new").iterdir())
    assert len(found) == 1 and f"Subject: {subject}\n" in found[0].read_text()
    assert not list((place / "box" / "Mail" / "tmp").iterdir())
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody").pw_uid
        assert box.stat().st_uid == found[0].stat().st_uid == nobody
        assert box.stat().st_mode & 0o777 == 0o600


def test_a_file_that_must_not_be_written(make, place):
    roost = make("link: {box}/link\nhard: {box}/hard\nfifo: {box}/fifo\nfull: {box}/full\n", mailbox_size_limit="20K")
    (place / "target").write_text("precious\n")
    (place / "target").chmod(0o666)
    (place / "box" / "link").symlink_to(place / "target")
    os.link(place / "target", place / "box" / "hard")
    os.mkfifo(place / "box" / "fifo", 0o666)
    for name in ("link", "hard", "fifo"):
        send(roost, f"{name}@{HOST}")
    wait_until(lambda: len([m for m in queue(roost) if m["reason"]]) == 3, what="all wait")
    assert (place / "target").read_text() == "precious\n"
    (place / "box" / "full").write_bytes(b"x" * 30000)
    (place / "box" / "full").chmod(0o666)
    send(roost, f"full@{HOST}")
    wait_until(lambda: "5.2.2" in roost.log(), what="it comes back")
    assert (place / "box" / "full").stat().st_size == 30000


def test_locks(make, place):
    roost = make("mbox: {box}/mbox\n")
    box = place / "box" / "mbox"
    box.write_text("")
    box.chmod(0o666)
    with open(box, "r+") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        send(roost, f"mbox@{HOST}")
        wait_until(lambda: (place / "box" / "mbox.lock").exists(), what="it waits for the lock")
        assert box.stat().st_size == 0
    wait_for_empty_queue(roost)
    assert len(mailbox.mbox(box)) == 1


def test_a_full_disk_leaves_nothing_half_written(make, place, small_disk):
    disk = small_disk("4M", 1000)
    disk.chmod(0o777)
    roost = make(f"mbox: {disk}/mbox\ndir: {disk}/Mail/\n")
    send(roost, f"mbox@{HOST}", subject="before")
    wait_for_empty_queue(roost)
    size = (disk / "mbox").stat().st_size
    give_back = fill(disk)
    send(roost, f"mbox@{HOST}", subject="big", body="x" * 70 + "\n" + "y\n" * 200000)
    send(roost, f"dir@{HOST}", subject="big too", body="y\n" * 200000)
    wait_until(lambda: len([m for m in queue(roost) if m["reason"]]) == 2, what="both wait")
    assert (disk / "mbox").stat().st_size == size
    give_back()
    flush_until_empty(roost)
    assert [m["Subject"] for m in mailbox.mbox(disk / "mbox")] == ["before", "big"]
    assert len(list((disk / "Mail" / "new").iterdir())) == 1


def test_commands(make, place, instance_imap):
    out = place / "box" / "out"
    script(place, "take", f'{{ id -un; env; cat; }} > {out}.tmp && mv {out}.tmp {out}\n')
    script(place, "later", f'echo "not now"; test -e {place}/box/ok || exit 75\n')
    script(place, "never", 'cat > /dev/null; echo "5.7.1 go away"; echo "and more"; exit 69\n')
    script(place, "chatty", 'head -c 3000000 /dev/zero | tr "\\\\0" x; exit 0\n')
    script(place, "deaf", "exit 0\n")
    script(place, "dies", "kill -9 $$\n")
    roost = make('take: "|{dir}/take"\nlater: "|{dir}/later"\nnever: "|{dir}/never"\nchatty: "|{dir}/chatty"\n'
                 'deaf: "|{dir}/deaf"\ndies: |{dir}/dies\nmissing: |{dir}/missing\n')
    subject = send(roost, f"take+-rf@{HOST}", sender="o'dd$@example.test", body="z\n" * 100000)
    text = wait_until(lambda: read(out), what="the command has run")
    lines = text.splitlines()
    assert lines[0] == (pwd.getpwuid(os.getuid()).pw_name if os.getuid() else "nobody")
    assert "SENDER=o_dd_@example.test" in lines and "EXTENSION=_rf" in lines and "ALIAS=take" in lines
    assert f"DOMAIN={HOST}" in lines and f"Subject: {subject}" in lines and lines.count("z") == 100000
    assert not [line for line in lines if line.startswith(("ROOST", "LD_"))]
    wait_for_empty_queue(roost)
    for name in ("chatty", "deaf"):
        send(roost, f"{name}@{HOST}", body="w\n" * 300000)
        wait_for_empty_queue(roost)
    send(roost, f"later@{HOST}")
    wait_for_reason(roost, "not now")
    (place / "box" / "ok").write_text("")
    flush_until_empty(roost)
    send(roost, f"never@{HOST}")
    alice = instance_imap("alice@example.test", roost)
    wait_for_subject(alice, "Mail could not be delivered")
    report = b"".join(part[1] for part in alice.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple))
    assert b"go away" in report and b"5.7.1" in report and b"and more" not in report
    # Neither is a fault of the mail.
    send(roost, f"dies@{HOST}")
    wait_for_reason(roost, "ended by signal 9")
    send(roost, f"missing@{HOST}")
    wait_for_reason(roost, "missing")


def test_a_command_that_hangs_is_ended_with_what_it_started(make, place):
    script(place, "hang", f"sleep 1000 & echo $! > {place}/box/pid; wait\n")
    roost = make('hang: "|{dir}/hang"\n', command_time_limit="1s")
    send(roost, f"hang@{HOST}")
    wait_for_reason(roost, "it took too long")
    pid = int(read(place / "box" / "pid"))
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or " Z " in read(Path(f"/proc/{pid}/stat")),
               what="its child is gone")


def test_killed_deliveries_are_done_again(make, place):
    script(place, "wait", f"cat > /dev/null; test -e {place}/box/go || {{ touch {place}/box/begun; sleep 1000; }}; "
           f"echo x >> {place}/box/done\n")
    roost = make('wait: "|{dir}/wait"\n')
    send(roost, f"wait@{HOST}")
    wait_until(lambda: (place / "box" / "begun").exists(), what="the command runs")
    found = children(roost)
    assert len(found) == 1
    (place / "box" / "go").write_text("")
    os.kill(found[0], signal.SIGKILL)
    flush_until_empty(roost)
    assert read(place / "box" / "done") == "x\n"
    assert roost.process.poll() is None


def test_a_lock_of_one_who_died(make, place):
    """It says who has it; one of another machine is believed for a while."""
    roost = make("mbox: {box}/mbox\n")
    lock = place / "box" / "mbox.lock"
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock.write_text(f"{gone.pid}:elsewhere.example\n")
    shutil.chown(lock, "nobody")
    send(roost, f"mbox@{HOST}")
    wait_for_reason(roost, "another program has locked it")
    lock.write_text(f"{gone.pid}:{socket.gethostname()}\n")
    flush_until_empty(roost)
    assert len(mailbox.mbox(place / "box" / "mbox")) == 1
    assert not lock.exists()


def test_the_deliverers_are_killed_in_a_loop(make, place):
    """roost-local, roost-local-run and the processes that write: what was accepted arrives everywhere, whole."""
    script(place, "keep", f'f=$(mktemp {place}/box/kept/tmp.XXXXXX) && cat > "$f" && mv "$f" "$f.done"\n')
    box = place / "box"
    roost = make('all: {box}/mbox, {box}/Maildir/, "|{dir}/keep"\n', minimal_backoff_time="1s", maximal_backoff_time="1s")
    (box / "kept").mkdir()
    shutil.chown(box / "kept", "nobody")
    body = "A line that fills the message.\n" * 500 + "The end.\n"
    moments = random.Random(1)
    tokens, kills = set(), 0
    programs = ["roost-local", "roost-local-run", "children", "roost-qmgr"]

    def missing():
        whole = [[m.as_bytes() for m in mailbox.mbox(box / "mbox")] if (box / "mbox").exists() else [],
                 [p.read_bytes() for p in box.glob("Maildir/*/*")], [p.read_bytes() for p in box.glob("kept/*.done")]]
        return [t for t in tokens for place in whole
                if not any(f"Subject: {t}\n".encode() in m and m.rstrip().endswith(b"The end.") for m in place)]

    while kills < 40:
        subject = f"token{len(tokens)}."
        send(roost, f"all@{HOST}", subject=subject, body=body)
        tokens.add(subject)
        time.sleep(moments.expovariate(20))
        program = moments.choice(programs)
        pids = children(roost) if program == "children" else roost.pids(program)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                kills += 1
    wait_until(lambda: not missing(), 120, "everything is everywhere")
    wait_for_empty_queue(roost)
    assert roost.process.poll() is None


def test_each_target_has_a_status_of_its_own(make, place, instance_imap):
    script(place, "later", f"test -e {place}/box/ok || exit 75; cat >> {place}/box/ran\n")
    roost = make('many: alice@example.test, {box}/mbox, "|{dir}/later"\n')
    subject = send(roost, f"many@{HOST}")
    wait_for_subject(instance_imap("alice@example.test", roost), subject)
    wait_for_reason(roost, "status 75")
    for _ in range(2):
        roost.ctl("queue", "flush")
        wait_for_reason(roost, "status 75")
    (place / "box" / "ok").write_text("")
    flush_until_empty(roost)
    assert len(mailbox.mbox(place / "box" / "mbox")) == 1
    assert read(place / "box" / "ran").count(f"Subject: {subject}\n") == 1
    assert subjects(instance_imap("alice@example.test", roost)) == [subject]


def test_where_they_may_stand(make, place):
    roost = make('file: {box}/mbox\nincluded: :include:{dir}/list\n', allow_mail_to_files=[])
    (place / "list").write_text('"|/bin/true"\n')
    (place / "list").chmod(0o644)
    send(roost, f"file@{HOST}")
    wait_for_reason(roost, "allow_mail_to_files")
    send(roost, f"included@{HOST}")
    wait_for_reason(roost, "allow_mail_to_commands")
    assert not (place / "box" / "mbox").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("who", ["root", "vmail", "roost", "nosuchuser"])
def test_never_as_root_or_one_of_ours(make, place, who):
    script(place, "run", f"touch {place}/box/ran\n")
    roost = make('run: "|{dir}/run"\n', default_privs=who)
    send(roost, f"run@{HOST}")
    wait_for_reason(roost, "default_privs")
    assert not (place / "box" / "ran").exists()
