# SPDX-License-Identifier: MIT
"""What a mail program does, with Python's own IMAP, POP3, SMTP and LMTP clients."""

import email
import email.policy
import imaplib
import smtplib
import ssl
import threading

import pytest
from conftest import tls_context
from mail_helpers import deliver, make_message, subjects, wait_for_subject
from roost_instance import PASSWORD


def test_a_message_goes_from_submission_to_imap_and_pop3(submission, imap, pop3, user, other_user):
    message = make_message(user, other_user, "the whole road", body="Line one.\n.leading dot\nLast.\n")
    client = submission(user)
    client.send_message(message)
    client.quit()
    inbox = imap(other_user)
    wait_for_subject(inbox, "the whole road")
    _, data = inbox.fetch("1", "(BODY.PEEK[])")
    received = email.message_from_bytes(data[0][1], policy=email.policy.default)
    assert received.get_content().replace("\r\n", "\n") == "Line one.\n.leading dot\nLast.\n"
    assert received["Return-Path"] == f"<{user}>"
    assert "by mail.example.test" in received["Received"]
    box = pop3(other_user)
    assert box.stat()[0] == 1
    by_pop3 = b"\r\n".join(box.retr(1)[1]) + b"\r\n"
    assert by_pop3 == data[0][1]
    box.quit()


def test_submission_with_starttls(roost, user, other_user, imap):
    client = smtplib.SMTP("localhost", roost.ports["submission"], timeout=30)
    client.ehlo()
    assert "starttls" in client.esmtp_features
    client.starttls(context=tls_context(roost))
    client.ehlo()
    assert "starttls" not in client.esmtp_features
    client.login(user, PASSWORD)
    client.send_message(make_message(user, other_user, "over STARTTLS"))
    client.quit()
    wait_for_subject(imap(other_user), "over STARTTLS")


def test_imap_with_starttls(roost, user):
    client = imaplib.IMAP4("localhost", roost.ports["imap"], timeout=30)
    client.starttls(ssl_context=tls_context(roost))
    client.login(user, PASSWORD)
    assert client.select()[0] == "OK"
    client.logout()


@pytest.mark.parametrize("port", ["imaps", "pop3s", "submissions"])
def test_old_tls_is_refused(roost, port):
    import socket

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("localhost", roost.ports[port])) as raw:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(raw)


def test_wrong_passwords_and_unknown_users_look_the_same(roost, user, submission):
    answers = set()
    for name in (user, "nobody@example.test", "x@elsewhere.test", "a'b; DROP TABLE mailbox;--@example.test"):
        client = imaplib.IMAP4_SSL("localhost", roost.ports["imaps"], ssl_context=tls_context(roost))
        with pytest.raises(imaplib.IMAP4.error) as caught:
            client.login(f'"{name}"', "wrong")
        answers.add(str(caught.value))
        client.shutdown()
    assert len(answers) == 1 and "AUTHENTICATIONFAILED" in answers.pop()
    with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        submission(user, "wrong")
    assert caught.value.smtp_code == 535


def test_recipients_at_lmtp(roost, lmtp, user, imap):
    client = lmtp()
    client.ehlo_or_helo_if_needed()
    client.mail("sender@example.org")
    assert client.rcpt(user)[0] == 250
    code, text = client.rcpt("nobody@example.test")
    assert code == 550 and b"5.1.1" in text
    code, text = client.rcpt("someone@elsewhere.test")
    assert 500 <= code < 600
    client.quit()


def test_one_message_for_many_recipients(roost, lmtp, user, other_user, imap):
    message = make_message(subject="for two")
    client = lmtp()
    refused = client.sendmail("sender@example.org", [user, other_user], message.as_bytes())
    assert refused == {}
    client.quit()
    for address in (user, other_user):
        assert subjects(imap(address)) == ["for two"]


def test_detail_of_an_address_names_a_folder(lmtp, user, imap):
    local, domain = user.split("@")
    deliver(lmtp, f"{local}+Lists@{domain}", subject="to the list folder")
    client = imap(user)
    assert subjects(client, "Lists") == ["to the list folder"]
    assert subjects(client) == []


def test_smtp_takes_mail_for_local_users_only(roost, user, imap, make_instance):
    # Loopback may relay by default; here it may not.
    instance = make_instance(settings={"mynetworks": []})
    client = smtplib.SMTP("localhost", instance.ports["smtp"], timeout=30)
    client.ehlo("client.example.org")
    client.mail("sender@example.org")
    for address in ("x@elsewhere.test", "alice%example.test@elsewhere.test", "@example.test:x@elsewhere.test",
                    '"x@elsewhere.test"@elsewhere.test', "<x@[10.0.0.1]>"):
        code, text = client.docmd(f"RCPT TO:<{address.strip('<>')}>")
        assert code in (550, 553, 554) and b"5.7.1" in text, (address, code, text)
    code, text = client.docmd("RCPT TO:<nobody@example.test>")
    assert code == 550 and b"5.1.1" in text
    assert client.docmd("RCPT TO:<alice@example.test>")[0] == 250
    code, text = client.data(b"Subject: in by SMTP\r\n\r\nx\r\n")
    assert code == 250
    client.quit()
    assert subjects(imap("alice@example.test", instance=instance)) == ["in by SMTP"]


def test_submission_only_for_those_logged_in_and_their_own_addresses(roost, user, other_user, submission):
    client = smtplib.SMTP("localhost", roost.ports["submission"], timeout=30)
    client.ehlo()
    code, _ = client.docmd(f"MAIL FROM:<{user}>")
    assert code == 530
    client.quit()
    client = submission(user)
    code = client.docmd(f"MAIL FROM:<{other_user}>")[0]
    if code == 250:
        code = client.docmd(f"RCPT TO:<{other_user}>")[0]
    assert code == 553
    client.quit()


def test_aliases_and_catch_all(roost, user, other_user, lmtp, imap, submission):
    tag = user.split("@")[0]
    roost.ctl("domain", "add", f"{tag}.test")
    roost.ctl("alias", "add", f"both@{tag}.test", user, other_user)
    roost.ctl("alias", "add", f"@{tag}.test", user)
    client = submission(user)
    client.send_message(make_message(user, f"both@{tag}.test", "to both"), to_addrs=[f"both@{tag}.test"])
    client.send_message(make_message(user, f"any@{tag}.test", "to the catch-all"), to_addrs=[f"any@{tag}.test"])
    client.quit()
    wait_for_subject(imap(other_user), "to both")
    inbox = imap(user)
    wait_for_subject(inbox, "to the catch-all")
    assert sorted(subjects(inbox)) == ["to both", "to the catch-all"]


def test_quota(roost, lmtp, imap, request):
    address = roost.add_user(f"small{id(request)}", quota="20K")
    deliver(lmtp, address, subject="fits", body="x\n" * 1000)
    client = lmtp()
    with pytest.raises(smtplib.SMTPException) as caught:
        client.sendmail("sender@example.org", [address], make_message(body="y\n" * 20000).as_bytes())
    assert "5.2.2" in str(caught.value)
    session = imap(address)
    assert subjects(session) == ["fits"]
    status, data = session.append("INBOX", None, None, make_message(body="z\n" * 20000).as_bytes())
    assert status == "NO" and b"OVERQUOTA" in data[0]
    assert subjects(session) == ["fits"]


def test_folders_flags_copy_move_expunge(lmtp, user, imap):
    for n in range(5):
        deliver(lmtp, user, subject=f"m{n}")
    client = imap(user)
    assert client.create("Work/2026")[0] == "OK"
    assert client.select()[1] == [b"5"]
    assert client.store("2", "+FLAGS", "(\\Flagged $Important)")[0] == "OK"
    assert client.copy("2:3", "Work/2026")[0] == "OK"
    assert client.uid("MOVE", "1", "Work/2026")[0] == "OK"
    client.store("1", "+FLAGS", "\\Deleted")
    client.expunge()
    assert subjects(client) == ["m2", "m3", "m4"]
    assert subjects(client, "Work/2026") == ["m1", "m2", "m0"]
    _, data = client.fetch("1", "(FLAGS)")
    assert b"\\Flagged" in data[0] and b"$Important" in data[0]
    assert client.rename("Work", "Old")[0] == "OK"
    names = [line.decode().rsplit(" ", 1)[1].strip('"') for line in client.list()[1]]
    assert "Old/2026" in names and "Work/2026" not in names
    assert client.delete("Old/2026")[0] == "OK"
    _, data = client.status("INBOX", "(MESSAGES UNSEEN UIDNEXT)")
    assert b"MESSAGES 3" in data[0] and b"UIDNEXT 6" in data[0]


def test_special_use_folders_wait_for_a_new_user(user, imap):
    _, lines = imap(user).list()
    text = b"\n".join(lines)
    for use in (b"\\Drafts", b"\\Sent", b"\\Junk", b"\\Trash", b"\\Archive"):
        assert use in text


def test_idle_tells_of_a_delivery(roost, lmtp, user, imap):
    client = imap(user)
    client.select()
    client.send(b"i1 IDLE\r\n")
    assert client.readline().startswith(b"+")
    thread = threading.Thread(target=deliver, args=(lmtp, user))
    thread.start()
    line = client.readline()
    thread.join()
    assert line == b"* 1 EXISTS\r\n"
    # iOS sends the next command in the packet that ends IDLE.
    client.send(b"DONE\r\ni2 NOOP\r\n")
    lines = []
    while not lines or not lines[-1].startswith(b"i2 "):
        lines.append(client.readline())
    assert any(line.startswith(b"i1 OK") for line in lines)


def test_append_keeps_date_flags_and_bytes(user, imap):
    client = imap(user)
    text = make_message(subject="appended").as_bytes(policy=email.policy.SMTP)
    status, data = client.append("Drafts", "(\\Seen \\Draft)", '"17-Jul-1996 02:44:25 -0700"', text)
    assert status == "OK" and b"APPENDUID" in data[0]
    client.select("Drafts")
    _, data = client.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
    header = data[0][0]
    assert b"\\Draft" in header and b"\\Seen" in header
    assert b'"17-Jul-1996 09:44:25 +0000"' in header or b'"17-Jul-1996 02:44:25 -0700"' in header
    assert f"RFC822.SIZE {len(text)}".encode() in header
    assert data[0][1] == text


def test_pop3_deletes_at_quit_and_not_before(lmtp, user, pop3):
    for n in range(3):
        deliver(lmtp, user, subject=f"m{n}")
    box = pop3(user)
    uidls = [line.split()[1] for line in box.uidl()[1]]
    assert len(set(uidls)) == 3
    box.dele(1)
    box.sock.close()  # the connection drops: nothing is deleted
    box.file.close()
    box = pop3(user)
    assert box.stat()[0] == 3
    box.dele(2)
    box.rset()
    box.dele(1)
    box.quit()
    box = pop3(user)
    assert [line.split()[1] for line in box.uidl()[1]] == uidls[1:]
    assert b"Subject: m1" in box.top(1, 0)[1]
    box.quit()


def test_rebuild_of_the_index_changes_nothing(roost, lmtp, user, imap):
    for n in range(10):
        deliver(lmtp, user, subject=f"m{n}")
    client = imap(user)
    client.select()
    client.store("2", "+FLAGS", "(\\Seen Custom)")
    client.store("3", "+FLAGS", "\\Deleted")
    client.expunge()

    def picture(session):
        session.select()
        validity = session.response("UIDVALIDITY")[1]
        _, data = session.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE)")
        return validity, [line.replace(b" \\Recent", b"").replace(b"\\Recent ", b"").replace(b"\\Recent", b"")
                          for line in data]

    before = picture(client)
    client.logout()
    roost.stop()
    roost.remove_index(user.split("@")[0])
    roost.start()
    assert picture(imap(user)) == before


def test_search(lmtp, user, imap):
    deliver(lmtp, user, subject="Grüße aus Köln", body="Straßenbahn nach Nippes.\n")
    deliver(lmtp, user, subject="plain", body="nothing here\n")
    client = imap(user)
    client.select()
    assert client.search(None, "SUBJECT", "plain")[1] == [b"2"]
    client.literal = "Köln".encode()
    assert client.uid("SEARCH", "CHARSET", "UTF-8", "SUBJECT")[1] == [b"1"]
    client.literal = "straßenbahn".encode()
    assert client.uid("SEARCH", "CHARSET", "UTF-8", "BODY")[1] == [b"1"]
    assert client.search(None, "UNSEEN", "NOT", "BODY", "nothing")[1] == [b"1"]
    status, data = client.uid("SEARCH", "CHARSET", "X-NO-SUCH", "ALL")
    assert status == "NO" and b"BADCHARSET" in data[0]
