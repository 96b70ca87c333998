# SPDX-License-Identifier: MIT
"""Mutt and NeoMutt with header caches and quick resynchronisation, Alpine, fetchmail with IDLE, curl.

A failure shows what the program and Roost said to each other.
"""

import contextlib
import email.header
import email.policy
import imaplib
import mailbox
import os
import re
import shutil
import signal
import subprocess

import pytest
from mail_helpers import deliver, instance_imap, make_message, subjects  # noqa: F401
from programs import environment, run_on_terminal, write_secret
from roost_instance import PASSWORD, wait_until
from test_clients import Curl, mutt_conf, quoted

SMTP = email.policy.SMTP
READERS = {"mutt": "", "neomutt": "set debug_level = 5\nset debug_file = debug\n"}


class Reader:
    """Mutt or NeoMutt with a header cache; each call is one session that ends."""

    def __init__(self, roost, home, user, program, settings):
        self.roost = roost
        self.home = home
        self.program = program
        (home / "cache").mkdir()
        # Mutt has no message cache here: every body comes over the wire.
        self.conf = mutt_conf(roost, home, user, f"set sleep_time = 0\nset header_cache = {home}/cache\n{settings}{READERS[program]}")
        self.count = 0

    def url(self, folder):
        return f"imaps://localhost:{self.roost.ports['imaps']}/{folder}"

    def __call__(self, keys, folder="INBOX"):
        debug = ["-d", "4"] if self.program == "mutt" else []
        for old in self.home.glob("*debug*"):
            old.unlink()
        try:
            status, screen = run_on_terminal(self.home, self.program, "-n", *debug, "-F", self.conf, "-f",
                                             self.url(folder), "-e", f"push '{keys}'")
            assert status == 0, screen.decode(errors="replace")[-3000:]
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.said()}") from None
        return self.said()

    def said(self):
        """The lines of the wire out of the program's own log."""
        text = "".join(path.read_text(errors="replace") for path in self.home.glob("*debug*"))
        return "\n".join(line for line in text.splitlines() if re.search(r"(^|\s)\d+[<>] ", line))[-20000:]

    def copied(self):
        """Subjects and flags of all that the program sees, copied out by it."""
        self.count += 1
        path = self.home / f"copy{self.count}"
        said = self(f"<tag-pattern>~A<enter><tag-prefix><copy-message>{path}<enter><exit>")
        rows = []
        for message in mailbox.mbox(path, create=False):
            subject = str(email.header.make_header(email.header.decode_header(message["Subject"])))
            rows.append((subject, "F" in message.get_flags()))
        return rows, said


@pytest.fixture(params=READERS)
def reader(request, roost, user, tmp_path):
    if not any(os.access(f"{place}/{request.param}", os.X_OK) for place in ("/usr/bin", "/usr/local/bin")):
        pytest.skip(f"{request.param} is not installed")
    return lambda settings="": Reader(roost, tmp_path, user, request.param, settings)


@pytest.mark.parametrize("resync", ["set imap_condstore = yes\n", "set imap_condstore = yes\nset imap_qresync = yes\n"],
                         ids=["condstore", "qresync"])
def test_a_cache_catches_up(reader, user, imap, resync):
    """What others did while the program was away is seen, whichever way it asks for it."""
    see = reader(resync)
    session = imap(user)
    for n in range(12):
        session.append("INBOX", None, None, make_message(subject=f"Nummer {n} für alle").as_bytes(policy=SMTP))
    rows, _ = see.copied()
    assert rows == [(f"Nummer {n} für alle", False) for n in range(12)]
    session.select()
    session.store("3,7", "+FLAGS", "(\\Flagged)")
    session.store("1,5:6", "+FLAGS", "(\\Deleted)")
    session.expunge()
    session.append("INBOX", "\\Flagged", None, make_message(subject="new").as_bytes(policy=SMTP))
    rows, said = see.copied()
    assert rows == [*((f"Nummer {n} für alle", n in (2, 6)) for n in (1, 2, 3, 6, 7, 8, 9, 10, 11)), ("new", True)], said
    if "qresync" in resync:
        assert "CHANGEDSINCE" in said and "VANISHED (EARLIER) " in said, said
    else:
        assert "CHANGEDSINCE" in said or "MODSEQ" in said, said


def test_a_session_of_changes(reader, user, lmtp, imap):
    """Flags, a move, deletions, a search at the server, and the folder browser."""
    use = reader("set imap_condstore = yes\nset imap_qresync = yes\n")
    for n in range(6):
        deliver(lmtp, user, subject=f"m{n}", body="needle\n" if n == 4 else "hay\n")
    use("<delete-pattern>~s m0<enter><jump>2<enter><flag-message>"
        f"<jump>3<enter><save-message>{use.url('Archive/2026')}<enter><limit>=b needle<enter>"
        "<tag-pattern>~A<enter><tag-prefix><set-flag>!<limit>all<enter><quit>")
    session = imap(user)
    assert subjects(session) == ["m1", "m3", "m4", "m5"]
    assert session.search(None, "FLAGGED")[1] == [b"1 3"]
    assert subjects(session, "Archive/2026") == ["m2"]
    # From one folder to the next and back in one session, with what was changed in each.
    use(f"<change-folder>{use.url('Archive/2026')}<enter><flag-message><sync-mailbox>"
        f"<change-folder>{use.url('INBOX')}<enter><delete-pattern>~s m5<enter><quit>")
    assert subjects(session) == ["m1", "m3", "m4"]
    session.select("Archive/2026", readonly=True)
    assert session.search(None, "FLAGGED")[1] == [b"1"]


@pytest.mark.skipif(not shutil.which("alpine"), reason="alpine is not installed")
def test_alpine(make_instance, instance_imap, tmp_path):
    """The oldest of them: opens, reads, flags, deletes and saves, in answer to its questions."""
    roost, user = make_instance(), "alice@example.test"
    session = instance_imap(user, roost)
    for n in range(4):
        session.append("INBOX", None, None, make_message(
            subject=f"letter {n}", body=f"This is the text of {n}.\n").as_bytes(policy=SMTP))
    conf = write_secret(tmp_path / "pinerc", f"""
inbox-path={{localhost:{roost.ports["imaps"]}/ssl/novalidate-cert/user={user}}}INBOX
personal-name=User
user-domain=example.test
feature-list=quit-without-confirm, expunge-without-confirm, enable-flag-cmd, enable-aggregate-command-set
last-version-used=9.99
""")
    status, screen = run_on_terminal(
        tmp_path, "alpine", "-p", conf, "-i", "-d", "imap=4,flush", "-n", "1", answers=[
            (rb"ENTER PASSWORD", PASSWORD.encode() + b"\r"), (rb"Preserve password", b"n"),
            (rb"letter 3", b"*"), (rb"Important", b"*"), (rb".", b"n"), (rb".", b"d"), (rb".", b"\r"),
            (rb"This is the text of 2", b"q")])
    said = "".join(path.read_text(errors="replace")[-6000:] for path in tmp_path.glob(".pine-debug*"))
    assert status == 0, screen.decode(errors="replace")[-3000:] + said
    assert subjects(session) == ["letter 0", "letter 2", "letter 3"], said
    assert session.search(None, "FLAGGED")[1] == [b"1"], said
    assert session.search(None, "SEEN")[1] == [b"2"], said


def test_fetchmail_waits_with_idle(roost, user, lmtp, imap, tmp_path):
    """Mail that comes while fetchmail idles is fetched without a poll."""
    (tmp_path / "fetched").mkdir()
    conf = write_secret(tmp_path / "fetchmailrc", f"""
set no syslog
set idfile "{tmp_path}/ids"
set pidfile "{tmp_path}/pid"
set daemon 3600
poll localhost protocol IMAP port {roost.ports["imaps"]}
  user {quoted(user)} password {quoted(PASSWORD)} ssl sslcertck sslcertfile {quoted(roost.tls_cert)}
  idle fetchall nokeep mda "cat > $(mktemp {tmp_path}/fetched/XXXXXX)"
""")
    deliver(lmtp, user, subject="before")
    log_path = tmp_path / "log"
    with open(log_path, "wb") as log:
        fetchmail = subprocess.Popen(["fetchmail", "-f", conf, "-v", "-N"], cwd=tmp_path, stdout=log, stderr=log,
                                     stdin=subprocess.DEVNULL, env=environment(tmp_path, FETCHMAILHOME=tmp_path))

    def fetched():
        texts = [path.read_text() for path in (tmp_path / "fetched").iterdir()]
        return {line[9:] for text in texts for line in text.splitlines() if line.startswith("Subject: ")}

    try:
        for subject in ("before", "during 1", "during 2"):
            if subject != "before":
                wait_until(lambda: log_path.read_text(errors="replace").rstrip().endswith("idling"), what="it idles")
                deliver(lmtp, user, subject=subject)
            wait_until(lambda: subject in fetched(), what=f"{subject} is fetched")
        # Ended before that it would leave what it has just written.
        wait_until(lambda: subjects(imap(user)) == [], what="the server has none left")
    except AssertionError as e:
        raise AssertionError(f"{e}\n{log_path.read_text(errors='replace')[-4000:]}") from None
    finally:
        fetchmail.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            fetchmail.wait(10)
        fetchmail.kill()
        fetchmail.wait()
    assert fetched() == {"before", "during 1", "during 2"}


def test_curl_of_odd_names_and_parts(roost, user, imap, tmp_path):
    curl = Curl(roost, tmp_path, user)
    session = imap(user)
    session.create('"K&APY-ln &- mehr"')
    message = make_message(subject="parts", body="text\n", attachments=[("x.bin", bytes(range(256)) * 100)])
    (tmp_path / "upload").write_bytes(message.as_bytes(policy=SMTP))
    folder = "K%26APY-ln%20%26-%20mehr"
    curl("imaps", folder, "-T", tmp_path / "upload")
    assert b"K&APY-ln &- mehr" in curl("imaps", "?LIST%20%22%22%20K*", "-X", 'LIST "" "K*"')
    assert curl("imaps", f"{folder};UID=1") == message.as_bytes(policy=SMTP)
    assert curl("imaps", f"{folder};UID=1;SECTION=1").strip() == b"text"
    assert curl("imaps", f"{folder}?UNSEEN").split() == [b"*", b"SEARCH"]
    # UIDVALIDITY that is not that of the folder any more, and a UID that is not there.
    curl("imaps", f"{folder};UIDVALIDITY=1;UID=1", status=78)
    curl("imaps", f"{folder};UID=99", status=78)
    with pytest.raises(imaplib.IMAP4.error):
        session.select('"K&APY-ln')
