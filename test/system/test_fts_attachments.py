# SPDX-License-Identifier: MIT
"""Words inside attachments, and attachments that mean harm."""

import io
import mailbox
import os
import zipfile
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from test_clients import mutt_on_terminal
from test_fts import connect, search, wait_indexed

FILLERS = 20


def pdf(text, page=b""):
    """A PDF of one page with this text on it."""
    stream = b"BT /F1 24 Tf 72 700 Td (%s) Tj ET" % text.encode() + page
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
               b"/Resources << /Font << /F1 5 0 R >> >> >>",
               b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
               b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    out, offsets = b"%PDF-1.4\n", []
    for n, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (n, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + (b"xref\n0 6\n0000000000 65535 f \n%strailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
                  % (table, len(out)))


def archive(name, text):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("mimetype", "application/x")
        z.writestr(name, text)
    return out.getvalue()


def append(client, *attachments, text="see the attachment"):
    m = EmailMessage()
    m["From"], m["Subject"] = "sender@example.org", "attached"
    m.set_content(text)
    for name, data in attachments:
        m.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    status, _ = client.append("INBOX", None, None, m.as_bytes(policy=SMTP))
    assert status == "OK"


@pytest.fixture
def reader(make_instance):
    instance = make_instance(settings={"fts_delay": "0s"})
    user = instance.add_user("reader")
    client = connect(instance, user)
    for n in range(FILLERS):
        append(client, text=f"filler {n}")
    yield instance, user, client
    client.logout()


def test_words_in_documents(reader):
    instance, user, client = reader
    append(client, ("a.pdf", pdf("Quarterly zebrafish report")))
    append(client, ("b.odt", archive("content.xml", "<x><text:p>Das <text:span>Okapi</text:span>tier</text:p></x>")))
    append(client, ("c.docx", archive("word/document.xml", "<w:p><w:t>Wol</w:t><w:t>verine &amp; co</w:t></w:p>")))
    wait_indexed(instance, user, FILLERS + 3)
    assert search(client, "BODY", "zebrafish") == [b"21"]
    assert search(client, "TEXT", "ZEBRA") == [b"21"]
    assert search(client, "21 BODY", "zebrafish") == [b"21"]
    assert search(client, "BODY", "okapitier") == [b"22"]
    assert search(client, "BODY", "wolverine") == [b"23"]
    assert search(client, "NOT BODY", "zebrafish") == [b"%d" % n for n in range(1, 24) if n != 21]
    assert search(client, "HEADER Subject", "zebrafish") == []


def test_mutt_finds_a_word_in_a_pdf(reader, tmp_path):
    instance, user, client = reader
    append(client, ("report.pdf", pdf("Quarterly zebrafish report")))
    append(client, ("other.pdf", pdf("Quarterly okapi report")))
    wait_indexed(instance, user, FILLERS + 2)
    copy = tmp_path / "copy"
    mutt_on_terminal(instance, tmp_path, user, "<limit>=b zebrafish<enter><tag-pattern>~A<enter>"
                     f"<tag-prefix><copy-message>{copy}<enter><exit>")
    [found] = mailbox.mbox(copy, create=False)
    assert [part.get_filename() for part in found.walk()] == [None, None, "report.pdf"]


def test_documents_that_mean_harm(reader):
    instance, user, client = reader
    append(client, ("bomb.odt", archive("content.xml", b"<text:p>ocelot</text:p>" + b"A" * (200 << 20))))
    append(client, ("cut.docx", archive("word/document.xml", "x" * 5000)[:-40]))
    append(client, ("bad.pdf", b"%PDF-1.4\n" + os.urandom(5000)), ("good.pdf", pdf("behind it the pangolin")))
    append(client, ("loop.pdf", pdf("tapir", b" /X Do" * 200000)))
    append(client, text="and a plain word: aardvark")
    wait_indexed(instance, user, FILLERS + 5, 120)
    assert search(client, "BODY", "ocelot") == [b"21"]
    assert search(client, "BODY", "pangolin") == [b"23"]
    assert search(client, "BODY", "aardvark") == [b"25"]
    assert "fts.index crashed" not in instance.log()
