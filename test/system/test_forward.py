# SPDX-License-Identifier: MIT
"""Users of this machine and their .forward."""

import array
import mailbox
import os
import pwd
import shutil
import signal
import smtplib
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from mail_helpers import instance_imap, subjects, wait_for_subject  # noqa: F401
from roost_instance import BUILD, wait_until
from test_local import HOST, flush_until_empty, send, wait_for_empty_queue, wait_for_reason
from test_local_delivery import SETTINGS, children, read

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
# Two users of every Debian, and who must not read their files.
ME, OTHER, STRANGER = "games", "news", "backup"
TARGET, FORWARDED = f"{ME}@{HOST}", f"{OTHER}@{HOST}"


class Home:
    """Where a user of the system has his .forward in these tests (forward_path)."""

    def __init__(self, path, user):
        self.path, self.user = path, user
        path.mkdir(mode=0o755)
        shutil.chown(path, user)

    def write(self, text, name=".forward", owner=None, mode=0o644):
        path = self.path / name
        fresh = self.path / ".new"
        fresh.write_text(text)
        fresh.chmod(mode)
        shutil.chown(fresh, owner or self.user)
        fresh.replace(path)
        return path


@pytest.fixture
def homes():
    path = Path(tempfile.mkdtemp(prefix="roost-home-", dir="/tmp"))
    path.chmod(0o755)
    yield {user: Home(path / user, user) for user in (ME, OTHER, "root")}
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make(make_instance, homes, tmp_path):
    root = homes[ME].path.parent

    def start(aliases="", **settings):
        table = root / "aliases"
        table.write_text(aliases)
        table.chmod(0o644)
        return make_instance(settings={
            "local_domains": [HOST], "alias_maps": [f"hash:{table}"],
            "forward_path": [f"{root}/$user/.forward${{recipient_delimiter}}${{extension}}", f"{root}/$user/.forward"],
            "log_level": "info", **SETTINGS, **settings})

    return start


def add_mailboxes(roost, *users):
    roost.ctl("domain", "add", HOST)
    for user in users:
        roost.add_user(user, domain=HOST)


def refused(roost, to):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as problem:
        send(roost, to)
    return problem.value.recipients[to][0]


def test_addresses(make, homes, instance_imap):
    roost = make(f"team: {ME}, alice@example.test\n")
    add_mailboxes(roost, ME)
    alice, bob = (instance_imap(f"{name}@example.test", roost) for name in ("alice", "bob"))
    own = instance_imap(TARGET, roost)
    plain = send(roost, TARGET)
    wait_for_subject(own, plain)
    # To somebody else alone; a comment and an empty line do not count.
    homes[ME].write("# away\n\nalice@example.test\n")
    first = send(roost, TARGET)
    wait_for_subject(alice, first)
    wait_for_empty_queue(roost)
    assert subjects(own) == [plain]
    header = alice.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1].decode()
    assert f"Delivered-To: {TARGET}" in header and "Return-Path: <alice@example.test>" in header
    # His own name in it, with a backslash or not, is the mailbox.
    for text in (f"\\{ME}, bob@example.test\n", f"{ME}\nbob@example.test\n", f"{TARGET}, bob@example.test, {ME}+x\n"):
        homes[ME].write(text)
        both = send(roost, TARGET.upper())
        for box in (own, bob):
            wait_for_subject(box, both)
        wait_for_empty_queue(roost)
        assert subjects(bob).count(both) == 1
    # An alias leads to the user, who wants it elsewhere.
    homes[ME].write("bob@example.test")
    team = send(roost, f"team@{HOST}")
    for box in (alice, bob):
        wait_for_subject(box, team)
    # One for an extension comes first.
    homes[ME].write("alice@example.test\n", ".forward+box")
    extended = send(roost, f"{ME}+box@{HOST}")
    wait_for_subject(alice, extended)
    other = send(roost, f"{ME}+else@{HOST}")
    wait_for_subject(bob, other)
    wait_for_empty_queue(roost)
    assert extended not in subjects(bob) and other not in subjects(alice)
    # An empty one says nothing.
    homes[ME].write("# nothing\n")
    last = send(roost, TARGET)
    wait_for_subject(own, last)


def test_who_has_none(make, homes, instance_imap):
    roost = make()
    for user in (ME, "nosuchuser", "vmail", "roost"):
        assert refused(roost, f"{user}@{HOST}") == 550
    homes[ME].write("alice@example.test\n")
    subprocess.run([BUILD / "sendmail", "-i", ME], input=b"Subject: from cron\n\nx\n", check=True,
                   env={**os.environ, "ROOST_CONF": str(roost.conf)})
    wait_for_subject(instance_imap("alice@example.test", roost), "from cron")
    roost.settings["forward_path"] = []
    roost.write_conf()
    roost.ctl("reload")
    wait_until(lambda: _refused_now(roost), what="forward_path is empty")


def _refused_now(roost):
    try:
        send(roost, TARGET)
    except smtplib.SMTPRecipientsRefused:
        return True
    return False


def test_an_alias_of_the_user_s_name(make, homes, instance_imap):
    roost = make(f"{ME}: alice@example.test, {ME}\n")
    homes[ME].write("bob@example.test\n")
    subject = send(roost, TARGET)
    for name in ("alice", "bob"):
        wait_for_subject(instance_imap(f"{name}@example.test", roost), subject)
    wait_for_empty_queue(roost)


def test_files_and_commands_are_the_user_s(make, homes):
    home = homes[ME]
    box = home.path
    roost = make()
    home.write(f'{box}/mbox, {box}/Mail/, "|umask; {{ id; pwd; env; cat; }} > {box}/.out && mv {box}/.out {box}/out"\n')
    subject = send(roost, f"{ME}+more@{HOST}")
    wait_for_empty_queue(roost)
    account = pwd.getpwnam(ME)
    found = [box / "mbox", *(box / "Mail" / "new").iterdir(), box / "out"]
    assert len(found) == 3
    for path in found:
        info = path.stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (account.pw_uid, account.pw_gid, 0o600)
        assert f"Subject: {subject}\n" in read(path) and f"Delivered-To: {ME}+more@{HOST}\n" in read(path)
    lines = read(box / "out").splitlines()
    assert lines[0].startswith(f"uid={account.pw_uid}({ME}) ")
    groups = lines[0].split("groups=")[1]
    assert groups == f"{account.pw_gid}({ME})"
    assert f"HOME={account.pw_dir}" in lines and f"USER={ME}" in lines and f"SHELL={account.pw_shell}" in lines
    assert "EXTENSION=more" in lines and f"RECIPIENT={ME}+more@{HOST}" in lines


def test_one_command_alone(make, homes, instance_imap):
    """No message in between: an exit status is that of the mail."""
    home = homes[ME]
    roost = make()
    home.write(f'"|test -e {home.path}/ok || exit 75; cat > {home.path}/out"\n')
    send(roost, TARGET)
    wait_for_reason(roost, "status 75")
    # What is wrong is put right, and counts for what waits.
    home.write(f'"|cat > {home.path}/out"\n')
    flush_until_empty(roost)
    assert read(home.path / "out")
    home.write('"|echo 5.7.1 go away; exit 77"\n')
    send(roost, TARGET)
    alice = instance_imap("alice@example.test", roost)
    wait_for_subject(alice, "Mail could not be delivered")
    wait_for_empty_queue(roost)


def test_root_runs_nothing(make, homes):
    """What root wants done is done as default_privs."""
    out = homes[OTHER].path / "out"
    homes[OTHER].path.chmod(0o777)
    roost = make()
    homes["root"].write(f'"|id -un > {out}.new && mv {out}.new {out}"\n')
    send(roost, f"root@{HOST}")
    wait_for_empty_queue(roost)
    assert read(out) == "nobody\n"


def test_a_killed_command_is_run_again(make, homes):
    home = homes[ME]
    roost = make()
    home.write(f'"|cat > /dev/null; test -e {home.path}/go || {{ touch {home.path}/begun; sleep 1000; }}; '
               f'echo x >> {home.path}/done"\n')
    send(roost, TARGET)
    wait_until(lambda: (home.path / "begun").exists(), what="the command runs")
    # Who told what the .forward says may be about to end still.
    found = wait_until(lambda: (pids := children(roost)) and len(pids) == 1 and pids, what="nobody else is there")
    (home.path / "go").write_text("")
    os.kill(found[0], signal.SIGKILL)
    flush_until_empty(roost)
    assert read(home.path / "done") == "x\n"


def test_loops(make, homes, instance_imap):
    roost = make(f"round: {ME}\n")
    homes[ME].write(f"{OTHER}\n")
    homes[OTHER].write("round\n")
    alice = instance_imap("alice@example.test", roost)
    send(roost, TARGET)
    wait_until(lambda: "Mail could not be delivered" in subjects(alice), what="the report about the circle")
    wait_for_empty_queue(roost)
    assert f"mail for {TARGET} goes round in a circle" in roost.log()


def _by_others(home):
    home.write("alice@example.test\n", mode=0o666)


def _of_a_stranger(home):
    home.write("alice@example.test\n", owner=STRANGER)


def _link(home):
    home.write("alice@example.test\n", "real")
    (home.path / ".forward").symlink_to(home.path / "real")


def _directory(home):
    (home.path / ".forward").mkdir()


def _fifo(home):
    os.mkfifo(home.path / ".forward", 0o644)
    shutil.chown(home.path / ".forward", home.user)


def _unreadable(home):
    home.write("alice@example.test\n", owner="root", mode=0o600)


def _no_home(home):
    shutil.chown(home.path, "root")
    home.path.chmod(0o700)


def _slip(home):
    home.write('alice@example.test\n"unfinished\n')


def _missing_list(home):
    home.write("alice@example.test, :include:/nonexistent/list\n")


def _nested(home):
    home.write(f":include:{home.path}/.forward\n")


@pytest.mark.parametrize("spoil, reason", [
    (_by_others, "others than its owner may write it"), (_of_a_stranger, "its owner is neither the user nor root"),
    (_link, "it is a symbolic link"), (_directory, "it is no regular file"), (_fifo, "it is no regular file"),
    (_unreadable, "Permission denied"), (_no_home, "Permission denied"), (_slip, ".forward:2: a quote that does not end"),
    (_missing_list, "/nonexistent/list: there is no such file"), (_nested, "the files nest too deeply")])
def test_what_is_wrong_keeps_mail_waiting(make, homes, instance_imap, spoil, reason):
    """Neither lost, nor returned, nor in the mailbox as if there were none."""
    roost = make()
    add_mailboxes(roost, ME)
    home = homes[ME]
    spoil(home)
    subject = send(roost, TARGET)
    wait_for_reason(roost, reason)
    shutil.rmtree(home.path)
    homes[ME] = Home(home.path, ME)
    homes[ME].write("bob@example.test\n")
    flush_until_empty(roost)
    wait_for_subject(instance_imap("bob@example.test", roost), subject)
    for address in ("alice@example.test", TARGET):
        assert subjects(instance_imap(address, roost)) == []


def test_lists(make, homes, instance_imap):
    """:include: reads as the user; what it may hold besides addresses is another question."""
    home = homes[ME]
    roost = make()
    home.write(f":include:{home.path}/list\n")
    home.write("alice@example.test\n# no\nbob@example.test\n", "list", mode=0o600)
    subject = send(roost, TARGET)
    for name in ("alice", "bob"):
        wait_for_subject(instance_imap(f"{name}@example.test", roost), subject)
    home.write(f'"|cat > {home.path}/out"\n', "list")
    send(roost, TARGET)
    wait_for_reason(roost, "allow_mail_to_commands")


def test_lists_with_commands(make, homes):
    home = homes[ME]
    roost = make(allow_mail_to_commands=["include"])
    home.write(f":include:{home.path}/list\n")
    home.write(f'"|cat > {home.path}/out"\n', "list")
    send(roost, TARGET)
    wait_for_empty_queue(roost)
    assert read(home.path / "out")
    home.write(f'"|cat > {home.path}/out"\n')
    send(roost, TARGET)
    wait_for_reason(roost, "allow_mail_to_commands")


def test_without_files(make, homes):
    home = homes[ME]
    roost = make(allow_mail_to_files=["alias"])
    home.write(f"{home.path}/mbox\n")
    send(roost, TARGET)
    wait_for_reason(roost, "allow_mail_to_files")
    assert not (home.path / "mbox").exists()


def test_each_target_has_a_status_of_its_own(make, homes, instance_imap):
    home = homes[ME]
    roost = make()
    home.write(f'{home.path}/mbox\n"|exit 75"\n')
    send(roost, TARGET)
    wait_for_reason(roost, "status 75")
    wait_until(lambda: (home.path / "mbox").exists() and len(mailbox.mbox(home.path / "mbox")) == 1, what="the file has it")
    # Who no longer wants it run gets it run no more.
    home.write(f"{home.path}/mbox\n")
    roost.ctl("queue", "flush")
    wait_for_reason(roost, "does not lead there now")
    home.write('"|exit 75"\n')
    roost.ctl("queue", "flush")
    wait_for_reason(roost, "status 75")
    assert len(mailbox.mbox(home.path / "mbox")) == 1


def ask(roost, target, recipient):
    """As roost-local asks roost-local-run: a frame with the message's descriptor."""
    body = b"".join(struct.pack("=I", len(text)) + text for text in (
        target.encode(), b"", recipient.encode(), b"")) + struct.pack("=BQQ", 1, 0, 0)
    frame = struct.pack("=IHHI", len(body), 1, 1 | 1 << 4, 0) + body
    with open("/dev/null", "rb") as message, socket.socket(socket.AF_UNIX) as s:
        s.connect(str(roost.state / "run" / "local-run"))
        s.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [message.fileno()]))])
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    return answer


def test_who_asks_is_not_believed(make, homes):
    """A part of Roost that was taken over cannot run what it likes as a user."""
    home = homes[ME]
    roost = make()
    home.write(f'"|touch {home.path}/wanted"\n')
    assert b"does not lead there now" in ask(roost, f"|touch {home.path}/evil", TARGET)
    assert b"does not lead there now" in ask(roost, f"{home.path}/evil", TARGET)
    assert b"does not lead there now" in ask(roost, f"|touch {home.path}/wanted", f"{OTHER}@{HOST}")
    assert not (home.path / "evil").exists() and not (home.path / "wanted").exists()
    assert b"delivered to a command" in ask(roost, f"|touch {home.path}/wanted", TARGET)
    assert (home.path / "wanted").exists()
