# SPDX-License-Identifier: MIT
"""Messages, and things in a Maildir, that nothing good ever made: they are delivered, read or skipped, and do no harm."""

import imaplib
import os
import re
import socket
import time
from pathlib import Path

import pytest
from roost_instance import PASSWORD, wait_until
from test_bad_input import GARBAGE, MAIL, bad_roost, endless, roost, start_of_daemons, talk  # noqa: F401
from test_proxy import Line

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


# ---- messages that nothing good ever wrote ----


def nested(depth, closed):
    parts = [b"Subject: nested\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n"]
    parts += [b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(depth)]
    parts.append(b"--b%d\r\n\r\nat last\r\n" % depth)
    if closed:
        parts += [b"--b%d--\r\n" % n for n in range(depth, -1, -1)]
    return b"".join(parts)


MESSAGES = {
    "nothing": b"",
    "one line end": b"\r\n",
    "header without body": b"Subject: x\r\n",
    "body without header": b"\r\nbody only\r\n",
    "no line end": b"Subject: x\r\n\r\nno end",
    "binary": b"Subject: x\r\n\r\n" + GARBAGE,
    "binary header": GARBAGE.replace(b"\r\n", b"") + b"\r\n\r\nx\r\n",
    "NUL": b"Subject: a\0b\r\n\r\nx\0y\r\n",
    "bare CR and LF": b"Subject: x\nTo: y\rCc: z\r\n\n\rbody\r\r\n",
    "long line": b"Subject: " + b"x" * 1000000 + b"\r\n\r\n" + b"y" * 1000000 + b"\r\n",
    "no boundary": b"Content-Type: multipart/mixed\r\n\r\n--\r\n\r\nx\r\n----\r\n",
    "empty boundary": b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n----\r\n",
    "endless boundary": b"Content-Type: multipart/mixed; boundary=\"" + b"b" * 100000 + b"\r\n\r\nx\r\n",
    "boundary within itself": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; "
                              b"boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n--b--\r\n",
    "boundary prefix": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; "
                       b"boundary=bb\r\n\r\n--bb\r\n\r\nx\r\n--b\r\n\r\ny\r\n--bb--\r\n--b--\r\n",
    "ends within a boundary": b"Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n\r\nx\r\n--ab",
    "10,000 deep": nested(10000, True),
    "10,000 deep, open": nested(10000, False),
    "100,000 parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100000 + b"--b--\r\n",
    "message in message": b"Content-Type: message/rfc822\r\n\r\n" * 5000 + b"Subject: inside\r\n\r\nx\r\n",
    "100,000 addresses": b"To: " + b"a@example.test, " * 100000 + b"b@example.test\r\n\r\nx\r\n",
    "100,000 address fields": b"To: a@example.test\r\n" * 100000 + b"\r\nx\r\n",
    "5 MB of header": b"X-Large: " + b"y" * 70 + b"\r\n" + (b" " + b"z" * 76 + b"\r\n") * 65000 + b"\r\nx\r\n",
    "50,000 parameters": b"Content-Type: text/plain" + b"".join(b"; name*%d*=%%41" % n for n in range(50000)) + b"\r\n\r\nx\r\n",
    "parameters in disorder": b"Content-Type: text/plain; name*2=c; name*0*=utf-8''a; name*99999999999=x; name*1=b; name*=; name*0=\r\n\r\nx\r\n",
    "groups": b"To: a:b:c:;;;, :;, x:y@example.test;, <>, <@>, @, \"\r\n\r\nx\r\n",
    "nested comments": b"To: " + b"(" * 50000 + b"a@example.test" + b")" * 50000 + b"\r\n\r\nx\r\n",
    "routes": b"To: <" + b"@a.test," * 10000 + b":b@example.test>\r\n\r\nx\r\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?=FF=FE?= =?x?b?!?= =?utf-8?b?" + b"A" * 50000 + b"?= =?=?=\r\n\r\nx\r\n",
    "truncated UTF-8": b"Subject: \xc3\r\nFrom: \xe2\x82 <a@example.test>\r\n\r\n\xf0\x9f\x98",
    "unknown charset and encoding": b"Content-Type: text/plain; charset=klingon\r\nContent-Transfer-Encoding: x-none\r\n\r\nx\r\n",
    "broken base64": b"Content-Transfer-Encoding: base64\r\n\r\n!!!!====A\r\n",
    "broken quoted-printable": b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=\r\n==3=ZZ=\r\n",
    "odd date": b"Date: Foo, 99 Bar 99999999999 99:99:99 +99999\r\n\r\nx\r\n",
    "dots": b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\n",
    "folding only": b"Subject:\r\n \r\n \r\n\t\r\n\r\nx\r\n",
    "colons": b":\r\n: x\r\n::\r\nSubject : y\r\n\r\nx\r\n",
}


def messages():
    found = {f"fixture {path.name}": path.read_bytes() for path in sorted(FIXTURES.glob("*.eml"))}
    assert found
    return {**found, **MESSAGES}


def dot_stuffed(text):
    if text and not text.endswith(b"\r\n"):
        text += b"\r\n"
    return re.sub(rb"(?m)(^|(?<=\r\n))\.", b"..", text) if text.startswith(b".") else text.replace(b"\r\n.", b"\r\n..")


def test_broken_messages_are_delivered_and_read(roost):
    user = roost.add_user("broken")
    client = Line(roost.ports["lmtp"])
    client.send("LHLO x\r\n")
    client.until("250 ")
    session = imaplib.IMAP4("localhost", roost.ports["imap"], timeout=60)
    session.login(user, PASSWORD)
    session.select()
    failures = {}
    count = 0
    for name, text in messages().items():
        began = time.monotonic()
        client.send(f"MAIL FROM:<>\r\nRCPT TO:<{user}>\r\nDATA\r\n")
        client.until("354")
        client.send(dot_stuffed(text) + b".\r\n")
        answer = client.line()
        if not answer.startswith("250"):
            failures[name] = answer
            continue
        count += 1
        try:
            read_every_way(session, count, text)
        except (AssertionError, imaplib.IMAP4.error, OSError) as e:
            failures[name] = f"{type(e).__name__} {e}"[:500]
        if time.monotonic() - began > 5:
            failures.setdefault(name, f"took {time.monotonic() - began:.1f} s")
    session.noop()
    assert failures == {}, "\n".join(f"{k}: {v}" for k, v in failures.items())
    # All at once, and searched.
    for command in (lambda: session.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"),
                    lambda: session.search(None, "TEXT", '"nothing has this"'), lambda: session.search(None, "TO", "x"),
                    lambda: session.search(None, "SENTSINCE", "1-Jan-2000"), lambda: session.search(None, "SUBJECT", "x"),
                    lambda: session.sort("(REVERSE SUBJECT DATE FROM TO CC SIZE)", "UTF-8", "ALL"),
                    lambda: session.thread("REFERENCES", "UTF-8", "ALL"), lambda: session.thread("ORDEREDSUBJECT", "UTF-8", "ALL"),
                    lambda: session.fetch("1:*", "(PREVIEW (LAZY))"), lambda: session.fetch("1:*", "PREVIEW")):
        status, data = command()
        assert status == "OK"
    session.logout()
    # And once more from the files alone.
    heard = talk(roost, "pop3", f"USER {user}\r\nPASS {PASSWORD}\r\nSTAT\r\nTOP 1 0\r\nQUIT\r\n".encode(), rb"^$")
    assert b"+OK %d " % count in heard


def read_every_way(session, number, text):
    """ENVELOPE, BODYSTRUCTURE and the bytes themselves, which come back as they were."""
    assert session.noop()[0] == "OK"
    for items in ("ENVELOPE", "BODYSTRUCTURE", "BODY", "PREVIEW", "BINARY.SIZE[1]", "BINARY.PEEK[1.1.1.1]", "(BODY.PEEK[1] BODY.PEEK[1.1.1] BODY.PEEK[2.MIME])",
                  "(BODY.PEEK[HEADER.FIELDS (SUBJECT TO)] BODY.PEEK[TEXT]<0.100>)", "BODY[]"):
        status, data = session.fetch(str(number), items)
        # A coding that nobody knows is refused by name (RFC 3516 section 4.3).
        unknown = items.startswith("BINARY") and data[0] and b"[UNKNOWN-CTE]" in data[0]
        assert unknown or status == "OK" and data != [None], (items, data)
    raw = data[0][1]
    # Behind our trace fields.
    end = text if not text or text.endswith(b"\r\n") else text + b"\r\n"
    assert same_lines(raw, end), (raw[-300:], text[-200:])
    size = session.fetch(str(number), "RFC822.SIZE")[1][0]
    assert int(re.search(rb"RFC822.SIZE (\d+)", size)[1]) == len(raw), (size, len(raw))


def same_lines(raw, sent):
    """Line ends are CRLF, IMAP has no NUL (RFC 9051 section 4.3.1), and LMTP replaces Return-Path; all else stays."""
    def lines(text):
        return re.sub(rb"\r*\n", b"\r\n", re.sub(rb"^Return-Path:.*\n", b"", text).replace(b"\0", b"\x80"))

    return lines(raw).endswith(lines(sent))


# ---- what does not belong into a Maildir ----


def odd_things(directory):
    secret = directory.parent.parent / "secret"
    secret.write_text("Subject: secret\n\ntop secret\n")
    secret.chmod(0o600)
    (directory / "1795000001.M1P1.link").symlink_to(secret)
    (directory / "1795000002.M1P1.etc").symlink_to("/etc/passwd")
    (directory / "1795000003.M1P1.loop").symlink_to("1795000003.M1P1.loop")
    os.mkfifo(directory / "1795000004.M1P1.fifo")
    (directory / "1795000005.M1P1.directory").mkdir()
    unreadable = directory / "1795000006.M1P1.unreadable"
    unreadable.write_text("Subject: unreadable\n\nx\n")
    unreadable.chmod(0)
    sock = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(directory)
    sock.bind("1795000007.M1P1.socket")
    os.chdir(here)
    sock.close()
    (directory / "1795000008.M1P1.flags,U=7:2,S,ZZZ").write_text("Subject: odd name\n\nx\n")
    (directory / "1795000009.M1P1.huge,U=99999999999,S=-1,W=x:2,").write_text("Subject: odd numbers\n\nx\n")
    (directory / os.fsdecode(b"1795000010.M1P1.\xff\xfe:2,")).write_text("Subject: odd bytes\n\nx\n")
    (directory / ("1795000011.M1P1." + "n" * 230)).write_text("Subject: long name\n\nx\n")
    return {"odd name", "odd numbers", "odd bytes", "long name"}


@pytest.mark.parametrize("sub", ["cur", "new"])
@pytest.mark.parametrize("live", [True, False], ids=["while open", "before the first look"])
def test_odd_files_are_skipped_and_never_followed(roost, sub, live):
    name = f"odd{sub}{'live' if live else ''}"
    user = roost.add_user(name)
    session = imaplib.IMAP4("localhost", roost.ports["imap"], timeout=60)
    session.login(user, PASSWORD)
    directory = roost.home(name) / "Maildir" / sub
    if live:
        session.select()
    good = odd_things(directory)
    (directory / "1795000000.M1P1.good").write_text("Subject: good\n\nx\n")
    good.add("good")
    for path in directory.iterdir():
        if not path.name.endswith("unreadable"):
            os.chown(path, directory.stat().st_uid, directory.stat().st_gid, follow_symlinks=False)

    good.remove("long name")  # there is no room in it for a UID

    def fetch(items):
        """All that is said; the unreadable file makes it end with NO, behind the others."""
        return talk(roost, "imap", f'l LOGIN {user} "{PASSWORD}"\r\ns SELECT INBOX\r\nf UID FETCH 1:* {items}\r\n'
                    .encode(), rb"\nf (OK|NO|BAD)")

    def subjects():
        return {text.decode() for text in re.findall(rb"Subject: ([a-z ]+)", fetch("BODY.PEEK[]"))}

    wait_until(lambda: good <= subjects(), what="the good files are there")
    heard = fetch("(UID BODY.PEEK[])")
    assert b"root:" not in heard and b"top secret" not in heard
    assert b"\nf OK" in heard or re.search(rb"\nf NO .*cannot be read: permission denied", heard), heard[-300:]
    uids = re.findall(rb"\(UID (\d+) BODY", heard)
    assert len(uids) == len(set(uids)) == len(good), uids
    for items in ("(FLAGS INTERNALDATE RFC822.SIZE)", "(ENVELOPE BODYSTRUCTURE)"):
        assert b"\nf BAD" not in fetch(items)
    session.select()
    session.search(None, "TEXT", "secret")
    assert session.copy("1:*", "Trash")[0] in ("OK", "NO")
    # Nothing hangs on the FIFO, and life goes on: flags, delivery, POP3, deletion.
    status, data = session.append("INBOX", None, None, b"Subject: appended\r\n\r\nx\r\n")
    uid = re.search(rb"APPENDUID \d+ (\d+)", data[0])[1].decode()
    assert status == "OK"
    assert session.uid("STORE", uid, "+FLAGS", "(\\Seen \\Deleted)")[0] == "OK"
    assert session.expunge()[0] == "OK"
    heard = talk(roost, "pop3", f"USER {user}\r\nPASS {PASSWORD}\r\nSTAT\r\nRETR 1\r\nQUIT\r\n".encode(), rb"^$")
    assert heard.count(b"+OK") >= 4 and b"top secret" not in heard, heard
    session.logout()
