# SPDX-License-Identifier: MIT
"""What is too much for an index: mail of any size, a document without end, a disk without room."""

import base64
import os
import pwd
import random
import subprocess
import zlib

import pytest
from roost_instance import wait_until
from test_fts import connect, search, wait_indexed
from test_fts_attachments import append as append_with
from test_fts_attachments import archive, pdf
from test_fts_words import FILLERS, append, set_settings

MEGABYTE = 1 << 20


def big_message():
    """50 MB of words, more different ones than are kept, one word of a megabyte and one at the very end."""
    rng = random.Random(3)
    words = [f"w{rng.getrandbits(60):x}" for _ in range(150000)]
    lines = [" ".join(words[n:n + 8]) for n in range(0, len(words), 8)]
    text = "\r\n".join(lines).encode() + b"\r\n"
    long_word = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(1000)).encode() * 1049
    body = text * ((50 * MEGABYTE - len(long_word)) // len(text) + 1) + long_word + b"\r\nthelastword\r\n"
    return b"Subject: big\r\nX-Odd: oddvalue\r\n\r\n" + body, long_word[:30].decode(), words[140000]


def parts_message(count):
    parts = b"".join(b"--b\r\nContent-Type: text/plain\r\n\r\npart%dx text\r\n" % n for n in range(count))
    return b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"


def test_messages_of_any_size(make_instance):
    instance = make_instance(settings={"fts_delay": "0s", "max_message_size": "80M"})
    user = instance.add_user("reader")
    client = connect(instance, user)
    client.socket().settimeout(300)
    for n in range(FILLERS):
        append(client, f"filler {n}")
    big, piece, kept_out = big_message()
    for raw in (big, parts_message(10000), b"Subject: " + b"x" * MEGABYTE + b"\r\n\r\nshort\r\n"):
        status, _ = client.append("INBOX", None, None, raw)
        assert status == "OK"
    wait_indexed(instance, user, FILLERS + 3, 240)
    queries = [("BODY", "thelastword", 21), ("BODY", piece[3:20], 21), ("BODY", piece, 21), ("BODY", kept_out, 21),
               ("TEXT", "w" + "0" * 20, None), ("BODY", "part17x", 22), ("HEADER X-Odd", "oddvalue", 21),
               ("SUBJECT", "x" * 100, 23), ("TEXT", "x" * 100, 23), ("BODY", "short", 23),
               ("FUZZY BODY", "thelsatword", 21), ("FUZZY BODY", "part17x", 22)]
    for key, needle, n in queries:
        assert search(client, key, needle) == ([b"%d" % n] if n else []), (key, needle[:40])
    at_the_end = search(client, "BODY", "part9999x")
    assert "fts.index crashed" not in instance.log() and "fts.index failed" not in instance.log()
    set_settings(instance, fts="no")
    client = connect(instance, user)
    client.socket().settimeout(300)
    # Where the MIME parser stops is another matter: both stop there.
    assert search(client, "BODY", "part9999x") == at_the_end
    for key, needle, n in queries:
        assert search(client, key, needle) == ([b"%d" % n] if n else []), (key, needle[:40])


def endless_pdf():
    """Forms, each of which draws the next one ten times: nobody comes to the end of the page."""
    depth = 12
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources "
               b"<< /Font << /F1 5 0 R >> /XObject << /X 6 0 R >> >> >>",
               b"<< /Length 5 >>\nstream\n/X Do\nendstream", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for n in range(depth):
        inner = b"/X Do " * 10 if n < depth - 1 else b"BT /F1 9 Tf (endless) Tj ET"
        objects.append(b"<< /Type /XObject /Subtype /Form /BBox [0 0 612 792] /Length %d /Resources << /Font "
                       b"<< /F1 5 0 R >> /XObject << /X %d 0 R >> >> >>\nstream\n%s\nendstream" % (len(inner), n + 7, inner))
    out, offsets = b"%PDF-1.4\n", []
    for n, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (n, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + (b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
                  % (len(objects) + 1, table, len(objects) + 1, len(out)))


def running(name):
    return subprocess.run(["pgrep", "-x", name], capture_output=True, text=True).stdout.split()


@pytest.mark.skipif(not os.access("/usr/bin/pdftotext", os.X_OK), reason="pdftotext is not installed")
def test_an_extractor_that_hangs(make_instance):
    instance = make_instance(settings={"fts_delay": "0s"})
    user = instance.add_user("reader")
    client = connect(instance, user)
    for n in range(FILLERS):
        append(client, f"filler {n}")
    wait_indexed(instance, user, FILLERS)
    others = set(running("pdftotext"))
    append_with(client, ("endless.pdf", endless_pdf()), text="see the document")
    append_with(client, ("after.pdf", pdf("behind it the quetzal")))
    wait_until(lambda: set(running("pdftotext")) - others, what="the extractor runs")
    # Meanwhile searches do not wait.
    assert search(client, "BODY", "see the document") == [b"21"]
    wait_indexed(instance, user, FILLERS + 2, 90)
    assert search(client, "BODY", "quetzal") == [b"22"]
    assert search(client, "BODY", "see the document") == [b"21"]
    assert "fts.index crashed" not in instance.log()


def bomb():
    """A ZIP whose file says that it is small, and is a gigabyte."""
    zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(zeros.compress(b"\0" * MEGABYTE) for _ in range(1024)) + zeros.flush()
    small = archive("content.xml", b"<text:p>ibis</text:p>")
    at = small.index(b"content.xml") + len(b"content.xml")
    end = small.index(b"PK\x01\x02")
    return small[:at] + data + small[end:]


def test_a_gigabyte_in_a_document(make_instance):
    instance = make_instance(settings={"fts_delay": "0s"})
    user = instance.add_user("reader")
    client = connect(instance, user)
    for n in range(FILLERS):
        append(client, f"filler {n}")
    append_with(client, ("bomb.odt", bomb()), ("more.odt", archive("content.xml", b"<p>" * 5000000 + b"kiwi")))
    append_with(client, ("good.odt", archive("content.xml", b"<text:p>dodo</text:p>")))
    wait_indexed(instance, user, FILLERS + 2, 120)
    assert search(client, "BODY", "dodo") == [b"22"]
    assert search(client, "BODY", "more.odt") == [b"21"]
    assert "fts.index crashed" not in instance.log()


@pytest.fixture
def small_disk():
    """small_disk(directory, size): a file system of its own there. size again: another size."""
    mounted = []

    def mount(directory, size):
        if os.getuid() != 0:
            pytest.skip("mounting needs root")
        again = ["-o", f"remount,size={size}"]
        if directory not in mounted:
            again = ["-t", "tmpfs", "-o", f"size={size},mode=700"]
        result = subprocess.run(["mount", *again, "roost-test", directory], capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"mounting is not possible here: {result.stderr.strip()}")
        if directory not in mounted:
            mounted.append(directory)
            owner = pwd.getpwnam("vmail")
            os.chown(directory, owner.pw_uid, owner.pw_gid)

    yield mount
    for directory in mounted:
        subprocess.run(["umount", "-l", directory], check=True)


def noise(n):
    """Words that no other message has."""
    text = base64.b32encode(random.Random(n).randbytes(18000)).decode().lower()
    return "\n".join(text[i:i + 12] for i in range(0, len(text), 12)) + f"\nunique{n}x"


def test_a_full_disk(make_instance, small_disk):
    instance = make_instance(settings={"fts_delay": "0s", "fts": "no"})
    user = instance.add_user("reader")
    client = connect(instance, user)
    fts_dir = instance.home("reader") / "index" / "fts"
    fts_dir.mkdir()
    small_disk(fts_dir, "600k")
    set_settings(instance)
    client = connect(instance, user)
    count = 60
    for n in range(count):
        append(client, noise(n))
    wait_until(lambda: "fts.index paused" in instance.log(), 90, "the disk is full")
    assert instance.ctl("fts", "status", user)[0]["state"] == "full"
    # Mail comes and is found as ever.
    append(client, "while it is full: albatross")
    assert search(client, "BODY", "albatross") == [b"%d" % (count + 1)]
    assert search(client, "BODY", "unique17x") == [b"18"]
    assert search(client, "BODY", "unique") == [b"%d" % n for n in range(1, count + 1)]
    status, data = client.uid("FETCH", "18", "(BODY.PEEK[TEXT])")
    assert status == "OK" and b"unique17x" in data[0][1]
    assert "fts.index crashed" not in instance.log()
    small_disk(fts_dir, "200M")
    instance.ctl("fts", "rescan", user)
    wait_indexed(instance, user, count + 1, 90)
    assert search(client, "BODY", "unique") == [b"%d" % n for n in range(1, count + 1)]
    assert search(client, "BODY", "albatross") == [b"%d" % (count + 1)]
