# SPDX-License-Identifier: MIT
"""A content filter of a test's own: takes mail by SMTP, gives it back by SMTP, and fails where it is told to."""

import email
import smtplib

from roost_instance import free_ports, wait_until
from sink import DEFAULT_EHLO, Session, Sink

XFORWARD = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"


# What may be said, or not, at any step of the dialogue.
FAULTS = {"close": "close", "4xx": "451 4.3.0 not now", "5xx": "550 5.7.1 no", "garbage": b"\0\xff what\r\n"}


class FilterSession(Session):
    def __init__(self, *args):
        super().__init__(*args)
        self.client = {}

    def do_xforward(self, rest):
        self.client.update(word.split("=", 1) for word in rest.split())
        self.say("250 2.0.0 ok")

    def take(self, data):
        if self.fault("end"):
            return
        transaction, self.next = self.next, None
        transaction.data, transaction.client = data, self.client
        try:
            self.sink.give_back(transaction)
        except smtplib.SMTPDataError as error:
            self.say(f"{error.smtp_code} {error.smtp_error.decode()}")
            return
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            self.say(f"{code} {text.decode()}")
            return
        self.sink.messages.append(transaction)
        self.client = {}
        self.say("250 2.0.0 taken by the filter")


class Filter(Sink):
    """Marks what it gives back to the port `back`."""

    session_class = FilterSession

    def __init__(self, port, back, **options):
        self.back = back
        super().__init__(port, name="filter.test", ehlo=(*DEFAULT_EHLO[:3], XFORWARD), **options)

    def give_back(self, transaction):
        def address(text):
            return text[text.index("<") + 1:text.index(">")]

        with smtplib.SMTP("127.0.0.1", self.back, timeout=60) as client:
            client.ehlo("filter.test")
            if client.has_extn("xforward") and transaction.client:
                code, text = client.docmd("XFORWARD " + " ".join(f"{k}={v}" for k, v in transaction.client.items()))
                assert code == 250, text
            client.sendmail(address(transaction.mail), [address(r) for r in transaction.rcpts],
                            b"X-Filtered: yes\r\n" + transaction.data)


class FilterSetup:
    """A filter and instances that use it, as start of the kind of filter says; they try nothing again by themselves."""

    def __init__(self, make_instance):
        self.make_instance = make_instance
        self.port, self.back, self.elsewhere = free_ports(3)

    def start_with(self, settings):
        return self.make_instance(settings={
            "listen_reinject": [f"127.0.0.1:{self.back}"], "smtpd_spf": "off", "minimal_backoff_time": "1h",
            "maximal_backoff_time": "2h", "smtp_tls_security_level": "none", "log_level": "info", **settings})

    def filter(self, **options):
        return Filter(self.port, self.back, **options)


def fetch_all(client, subject, count=1):
    """The messages with a subject in the INBOX, once there are so many."""
    def find():
        client.select("INBOX")
        found = client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
        return found if len(found) >= count else None

    numbers = wait_until(find, what=f"{subject!r} arrives")
    return [email.message_from_bytes(client.fetch(n, "(BODY.PEEK[])")[1][0][1]) for n in numbers]


def fetch_one(client, subject):
    messages = fetch_all(client, subject)
    assert len(messages) == 1, [str(m) for m in messages]
    return messages[0]
