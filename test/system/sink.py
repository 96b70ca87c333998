# SPDX-License-Identifier: MIT
"""An SMTP server of a test's own that offers what it is told, keeps what it gets, and fails where it is told to."""

import base64
import contextlib
import socket
import ssl
import subprocess
import threading

DEFAULT_EHLO = ("PIPELINING", "SIZE 10000000", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES")


def make_certificate(directory, name, authority=None):
    """cert.pem and key.pem for a DNS name, self-signed or by (cert, key) of an authority; returns their paths."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-subj", f"/CN={name}", "-days", "30", "-keyout", key, "-out", cert]
    if authority:
        command += ["-CA", authority[0], "-CAkey", authority[1], "-addext", "basicConstraints=CA:FALSE",
                    "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([str(c) for c in command], check=True, capture_output=True)
    return cert, key


class Transaction:
    def __init__(self, session):
        self.mail, self.rcpts, self.data = "", [], None
        self.tls, self.client_cert, self.user = session.tls, session.client_cert, session.user
        self.session = session.number


class Session:
    def __init__(self, sink, connection, number):
        self.sink, self.connection, self.number = sink, connection, number
        self.tls, self.client_cert, self.user = False, None, None
        self.line = ""  # the last of this session; sink.lines has those of all
        self.file = connection.makefile("rb")
        self.next = None

    def say(self, text):
        self.connection.sendall(text.encode() + b"\r\n")

    def start_tls(self):
        self.connection = self.sink.tls.wrap_socket(self.connection, server_side=True)
        self.client_cert = self.connection.getpeercert() if self.connection.context.verify_mode else None
        self.file = self.connection.makefile("rb")
        self.tls = True

    def fault(self, step):
        """What the sink is to do at a step instead of the right thing; True: it is done."""
        what = self.sink.faults.get(step)
        if callable(what):
            what = what(self)
        if what is None:
            return False
        if what == "close":
            raise ConnectionError
        if what == "hang":
            self.sink.released.wait(60)
            raise ConnectionError
        self.connection.sendall(what if isinstance(what, bytes) else what.encode() + b"\r\n")
        return True

    def run(self):
        if self.sink.implicit_tls:
            self.start_tls()
        if not self.fault("greeting"):
            self.say(f"220 {self.sink.name} ESMTP")
        while True:
            line = self.file.readline()
            if not line:
                return
            self.line = line.decode(errors="replace").rstrip()
            self.sink.lines.append(self.line)
            verb, _, rest = line.decode(errors="replace").strip().partition(" ")
            handler = getattr(self, "do_" + verb.lower(), None)
            if verb.upper() == "QUIT":
                return
            if handler is None:
                self.say("500 5.5.1 what?")
            elif not self.fault(verb.lower()):
                handler(rest)

    def do_ehlo(self, rest):
        offer = list(self.sink.ehlo)
        if self.sink.tls and not self.tls:
            offer.append("STARTTLS")
        if self.tls:
            offer += self.sink.ehlo_tls
        if self.sink.accounts and (self.tls or not self.sink.tls):
            offer.append("AUTH " + self.sink.mechanisms)
        self.connection.sendall("".join(f"250-{line}\r\n" for line in [self.sink.name, *offer]).encode()
                                + b"250 HELP\r\n")

    def do_helo(self, rest):
        self.say(f"250 {self.sink.name}")

    def do_starttls(self, rest):
        self.say("220 go ahead")
        self.start_tls()

    def do_auth(self, rest):
        mechanism, _, initial = rest.partition(" ")
        if mechanism == "PLAIN":
            _, user, password = base64.b64decode(initial).decode().split("\0")
        else:
            self.say("334 VXNlcm5hbWU6")
            user = base64.b64decode(self.file.readline()).decode()
            self.say("334 UGFzc3dvcmQ6")
            password = base64.b64decode(self.file.readline()).decode()
        if self.sink.accounts.get(user) == password:
            self.user = user
            self.say("235 2.7.0 welcome")
        else:
            self.say("535 5.7.8 no")

    def do_mail(self, rest):
        self.next = Transaction(self)
        self.next.mail = rest
        self.say("250 2.1.0 ok")

    def do_rcpt(self, rest):
        if self.next is None:
            self.say("503 5.5.1 MAIL first")
            return
        self.next.rcpts.append(rest)
        self.say("250 2.1.5 ok")

    def do_data(self, rest):
        if not self.next or not self.next.rcpts:
            self.say("554 5.5.1 no valid recipients")
            return
        self.say("354 go on")
        if self.fault("content"):
            return
        data = b""
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError
            if line == b".\r\n":
                break
            data += line[1:] if line.startswith(b".") else line
        self.take(data)

    def do_bdat(self, rest):
        size, _, last = rest.partition(" ")
        data = self.file.read(int(size))
        assert last == "LAST"
        self.take(data)

    def take(self, data):
        if self.fault("end"):
            return
        self.next.data = data
        self.sink.messages.append(self.next)
        self.next = None
        self.say("250 2.0.0 taken")

    def do_rset(self, rest):
        self.next = None
        self.say("250 2.0.0 ok")


class Sink:
    session_class = Session

    def __init__(self, port, host="127.0.0.1", name="sink.test", ehlo=DEFAULT_EHLO, certificate=None, client_ca=None,
                 implicit_tls=False, ehlo_tls=(), accounts=None, mechanisms="PLAIN LOGIN", faults=None):
        self.port, self.host, self.name, self.ehlo = port, host, name, ehlo
        self.implicit_tls, self.ehlo_tls, self.accounts, self.mechanisms = implicit_tls, ehlo_tls, accounts, mechanisms
        self.faults = faults or {}
        self.messages, self.lines, self.sessions, self.open = [], [], 0, set()
        self.released = threading.Event()
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
            if client_ca:
                self.tls.load_verify_locations(client_ca)
                self.tls.verify_mode = ssl.CERT_OPTIONAL
        self.socket = socket.create_server((host, port), backlog=256)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.sessions += 1
                threading.Thread(target=self.serve, args=(connection, self.sessions), daemon=True).start()

    def serve(self, connection, number):
        session = self.session_class(self, connection, number)
        self.open.add(session)
        with contextlib.suppress(OSError, ValueError):
            session.run()
        with contextlib.suppress(OSError):
            session.connection.close()
        self.open.discard(session)

    def close(self):
        self.released.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        # A client that keeps its connection must not take this server for the next one.
        for session in list(self.open):
            with contextlib.suppress(OSError):
                session.connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
