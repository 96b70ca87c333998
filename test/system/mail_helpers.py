# SPDX-License-Identifier: MIT
"""Messages to send and ways to wait for them."""

import contextlib
import email
import email.policy
import imaplib
import itertools
import ssl
from email.message import EmailMessage

import pytest
from roost_instance import PASSWORD, wait_until

numbers = itertools.count(1)


def make_message(sender="sender@example.org", to="someone@example.test", subject=None, body="Hello.\n",
                 attachments=()):
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject or f"message {next(numbers)}"
    message["Message-ID"] = f"<{next(numbers)}.{id(message)}@example.org>"
    message["Date"] = "Fri, 20 Nov 2026 10:00:00 +0000"
    message.set_content(body)
    for name, data in attachments:
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return message


def deliver(lmtp, user, **options):
    """Hands one message over by LMTP; returns it."""
    message = make_message(to=user, **options)
    client = lmtp()
    client.sendmail("sender@example.org", [user], message.as_bytes(policy=email.policy.SMTP))
    client.quit()
    return message


def subjects(client, mailbox="INBOX"):
    """Subjects of all messages of a mailbox, in order."""
    status, count = client.select(mailbox)
    assert status == "OK"
    if count == [b"0"]:
        return []
    status, data = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    found = []
    for part in data:
        if isinstance(part, tuple):
            found.append(str(email.message_from_bytes(part[1], policy=email.policy.default)["Subject"]))
    return found


def wait_for_subject(client, subject, mailbox="INBOX", timeout=60):
    return wait_until(lambda: subject in subjects(client, mailbox), timeout, f"{subject!r} arrives")


@pytest.fixture
def instance_imap():
    """imap(address, instance=server): the fixture "imap" for tests that have instances of their own only."""
    clients = []

    def connect(address, instance, password=PASSWORD):
        context = ssl.create_default_context(cafile=str(instance.tls_cert))
        client = imaplib.IMAP4_SSL("localhost", instance.ports["imaps"], ssl_context=context, timeout=60)
        client.login(address, password)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        with contextlib.suppress(Exception):
            client.logout()
