# SPDX-License-Identifier: MIT
"""Clients that write into the log of file operations what they were promised, and when."""

import ctypes
import imaplib
import json
import re
import socket
import threading
import time

imaplib.Commands.setdefault("MOVE", ("SELECTED",))
TOKEN = re.compile(rb"^X-Token: (\S+)\r?$", re.M)
REPORT = b"Content-Type: multipart/report"


class Recorder:
    """record.so, loaded for what the driver says to it."""

    def __init__(self, library, log, root, size=1 << 30):
        self.lib = ctypes.CDLL(str(library))
        for name in ("powercut_calls", "powercut_faults", "powercut_lost"):
            getattr(self.lib, name).restype = ctypes.c_uint64
        self.lib.powercut_fault_what.restype = ctypes.c_char_p
        assert self.lib.powercut_create(str(log).encode(), str(root).encode(), ctypes.c_uint64(size)) == 0
        self.promises = None  # that follow what is marked
        self.lock = threading.Lock()
        self.environment = {"LD_PRELOAD": str(library), "POWERCUT_LOG": str(log)}

    def mark(self, event, **fields):
        self.lib.powercut_mark(json.dumps({"e": event, **fields}).encode())
        if self.promises:
            with self.lock:
                self.promises.apply({"e": event, **fields})

    def fault(self, errnum, calls, after, count=1):
        bits = sum(1 << c for c in calls)
        self.lib.powercut_fault(errnum, bits, ctypes.c_int64(after), ctypes.c_int64(count))

    def faults(self):
        return self.lib.powercut_faults()

    def calls(self):
        return self.lib.powercut_calls()


class Failed(Exception):
    """A command that did not succeed; text is the answer."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


class Smtp:
    """SMTP or LMTP, a recipient's answer at a time."""

    def __init__(self, port, lmtp):
        self.lmtp = lmtp
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.sock.makefile("rb")
        self.reply()
        self.command("LHLO client.example.org" if lmtp else "EHLO client.example.org")

    def reply(self):
        while True:
            line = self.file.readline().decode()
            if not line:
                raise Failed("421 the connection is closed")
            if line[3:4] != "-":
                break
        if line[0] not in "23":
            raise Failed(line.strip())
        return line.strip()

    def command(self, text):
        self.sock.sendall(text.encode() + b"\r\n")
        return self.reply()

    def send(self, sender, recipients, text):
        """One message; a list of answers, Failed where it was refused."""
        self.command(f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            self.command(f"RCPT TO:<{recipient}>")
        self.command("DATA")
        self.sock.sendall(text + b".\r\n")
        answers = []
        for _ in recipients if self.lmtp else [0]:
            try:
                answers.append(self.reply())
            except Failed as e:
                answers.append(e)
        return answers

    def close(self):
        self.file.close()
        self.sock.close()


class World:
    """What there should be: messages, each in a mailbox, and the marks that say since when."""

    def __init__(self, recorder, roost, password):
        self.recorder = recorder
        self.roost = roost
        self.password = password
        self.lock = threading.Lock()
        self.texts = {}  # token -> bytes
        self.instances = []  # [user, box, token]
        self.boxes = {}  # (user, name) -> key
        self.number = 0
        self.connections = {}

    def message(self, size=300):
        with self.lock:
            token = f"t{len(self.texts)}"
            line = f"This is {token}, and it goes on.\r\n"
            self.texts[token] = (f"From: a@example.org\r\nTo: b@example.test\r\nSubject: message {token}\r\n"
                                 f"X-Token: {token}\r\n\r\n" + line * (size // len(line)) + "The end.\r\n").encode()
        return token

    def want(self, user, box, token):
        with self.lock:
            number = len(self.instances)
            self.instances.append([user, self.boxes.setdefault((user, box), self.new_key(user)), token])
        self.recorder.mark("want", i=number, user=user, k=self.boxes[user, box], t=token)
        return number

    def new_key(self, user):
        self.number += 1
        return f"{user}#{self.number}"

    # ---- delivery ----

    def deliver(self, users, size=300):
        """By LMTP; one answer a recipient."""
        token = self.message(size)
        numbers = [self.want(user, "INBOX", token) for user in users]
        client = Smtp(self.roost.ports["lmtp"], lmtp=True)
        try:
            answers = client.send("a@example.org", [f"{u}@example.test" for u in users], self.texts[token])
        finally:
            client.close()
        for number, answer in zip(numbers, answers):
            if not isinstance(answer, Failed):
                self.recorder.mark("have", i=number)
        return answers

    def submit(self, sender, recipients):
        token = self.message()
        for recipient in recipients:
            if recipient.endswith("@example.test"):
                self.want(recipient.split("@")[0], "INBOX", token)
        client = Smtp(self.roost.ports["smtp"], lmtp=False)
        try:
            answer = client.send(sender, recipients, self.texts[token])[0]
        finally:
            client.close()
        if isinstance(answer, Failed):
            raise answer
        found = re.search(r"queued as (\S+)", answer)
        if found:
            self.recorder.mark("queued", t=token, id=found[1], rcpts=recipients)
        return token

    # ---- IMAP ----

    def imap(self, user):
        if user not in self.connections:
            client = imaplib.IMAP4("127.0.0.1", self.roost.ports["imap"])
            client.sock.settimeout(60)
            client.login(f"{user}@example.test", self.password)
            self.connections[user] = client
        return self.connections[user]

    def log_out(self):
        for client in self.connections.values():
            client.shutdown()
        self.connections = {}

    def ok(self, result):
        status, data = result
        if status != "OK":
            raise Failed(f"{status} {data[-1] if data else ''}")
        return data

    def select(self, user, box):
        client = self.imap(user)
        client.untagged_responses = {}
        self.ok(client.select(box))
        validity = int(client.response("UIDVALIDITY")[1][0])
        with self.lock:
            key = self.boxes.setdefault((user, box), self.new_key(user))
        next_uid, modseq = client.response("UIDNEXT")[1][0], client.response("HIGHESTMODSEQ")[1][0]
        self.recorder.mark("box", user=user, k=key, name=box, v=validity)
        self.recorder.mark("seq", user=user, v=validity, next=int(next_uid or 0), modseq=int(modseq or 0))
        return validity

    def look(self, user, box):
        """Every message of a mailbox; what is seen is told. Returns uid -> token."""
        validity = self.select(user, box)
        client = self.imap(user)
        status, data = client.uid("FETCH", "1:*", "(UID INTERNALDATE BODY.PEEK[])")
        self.ok((status, data))
        seen = {}
        for part in data:
            if not isinstance(part, tuple):
                continue
            uid = int(re.search(rb"UID (\d+)", part[0])[1])
            date = time.mktime(imaplib.Internaldate2tuple(part[0]))
            token = None if REPORT in part[1] else TOKEN.search(part[1])
            token = token[1].decode() if token else None
            seen[uid] = token
            assert token is None or part[1].endswith(self.texts[token]), f"message {token} is not whole"
            if token:
                self.tell(user, self.boxes[user, box], token, validity, uid, date)
        return seen

    def tell(self, user, key, token, validity, uid, date=None):
        self.recorder.mark("told", user=user, k=key, t=token, v=validity, u=uid, date=date)

    def copied(self, client):
        """Pairs of UIDs from COPYUID, and the UIDVALIDITY."""
        data = client.response("COPYUID")[1][-1]
        if not data:
            return 0, []
        validity, src, dst = data.decode().split()

        def numbers(text):
            found = []
            for part in text.split(","):
                first, _, last = part.partition(":")
                found += range(int(first), int(last or first) + 1)
            return found

        return int(validity), list(zip(numbers(src), numbers(dst)))

    def append(self, user, box, flags="", date=None, size=300):
        token = self.message(size)
        number = self.want(user, box, token)
        client = self.imap(user)
        client.untagged_responses = {}
        stamp = imaplib.Time2Internaldate(date) if date else None
        self.ok(client.append(box, flags, stamp, self.texts[token]))
        self.recorder.mark("have", i=number)
        data = client.response("APPENDUID")[1][0]
        if data:
            validity, uid = map(int, data.split())
            self.tell(user, self.boxes[user, box], token, validity, uid, date)
        return token

    def append_many(self, user, box, count, replaces=None):
        """By one APPEND; with a UID that they replace by REPLACE, which takes one."""
        tokens = [self.message() for _ in range(count)]
        numbers = [self.want(user, box, token) for token in tokens]
        key = self.boxes[user, box]
        if replaces:
            self.recorder.mark("maygo", user=user, k=key, u=[replaces])
        self.recorder.mark("group", user=user, k=key, i=numbers,
                           **({"src": key, "uids": [replaces]} if replaces else {}))
        client = self.imap(user)
        tag = client._new_tag()
        verb = f"UID REPLACE {replaces}" if replaces else "APPEND"
        client.send(b"%b %b %b" % (tag, verb.encode(), box.encode()) + b"".join(
            b" (\\Seen) {%d+}\r\n%b" % (len(self.texts[t]), self.texts[t]) for t in tokens) + b"\r\n")
        uids = []
        while True:
            line = client.readline().decode()
            found = re.search(r"APPENDUID (\d+) (\d+)(?::(\d+))?\]", line)
            if found:
                validity, uids = int(found[1]), range(int(found[2]), int(found[3] or found[2]) + 1)
            if line.startswith(tag.decode()) or not line:
                break
        if " OK" not in line:
            raise Failed(line.partition(" ")[2].strip())
        for number, token, uid in zip(numbers, tokens, uids, strict=True):
            self.recorder.mark("have", i=number)
            self.tell(user, key, token, validity, uid)
        if replaces:
            self.recorder.mark("moved", user=user, k=key, u=[replaces])

    def copy(self, user, box, uids, target, move=False):
        """uids: what look() returned, or a part of it."""
        numbers = {uid: self.want(user, target, token) for uid, token in uids.items()}
        key, target_key = self.boxes[user, box], self.boxes[user, target]
        if move:
            self.recorder.mark("maygo", user=user, k=key, u=list(uids))
        self.recorder.mark("group", user=user, k=target_key, i=list(numbers.values()),
                           **({"src": key, "uids": list(uids)} if move else {}))
        client = self.imap(user)
        client.untagged_responses = {}
        self.ok(client.uid("MOVE" if move else "COPY", ",".join(map(str, uids)), target))
        validity, pairs = self.copied(client)
        for src, dst in pairs:
            self.recorder.mark("have", i=numbers[src])
            self.tell(user, target_key, uids[src], validity, dst)
        if move:
            self.recorder.mark("moved", user=user, k=key, u=[src for src, _ in pairs])

    def store(self, user, uids, flags):
        self.ok(self.imap(user).uid("STORE", ",".join(map(str, uids)), "+FLAGS", flags))

    def expunge(self, user, box, uids):
        self.recorder.mark("maygo", user=user, k=self.boxes[user, box], u=list(uids))
        self.store(user, uids, "(\\Deleted)")
        self.ok(self.imap(user).uid("EXPUNGE", ",".join(map(str, uids))))

    def create(self, user, box):
        key = self.new_key(user)
        self.recorder.mark("boxmay", user=user, k=key, names=[box], gone=True)
        self.ok(self.imap(user).create(box))
        self.boxes[user, box] = key
        self.recorder.mark("boxis", user=user, k=key, names=[box])

    def rename(self, user, old, new):
        moving = {name: key for (u, name), key in self.boxes.items()
                  if u == user and (name == old or name.startswith(old + "/"))}
        for name, key in moving.items():
            self.recorder.mark("boxmay", user=user, k=key, names=[name, new + name[len(old):]], gone=False)
        self.recorder.mark("tree", user=user, names={key: [name, new + name[len(old):]] for name, key in moving.items()})
        self.ok(self.imap(user).rename(old, new))
        for name, key in moving.items():
            del self.boxes[user, name]
            self.boxes[user, new + name[len(old):]] = key
            self.recorder.mark("boxis", user=user, k=key, names=[new + name[len(old):]])

    def delete(self, user, box):
        key = self.boxes[user, box]
        self.recorder.mark("boxmay", user=user, k=key, names=[box], gone=True)
        self.ok(self.imap(user).delete(box))
        del self.boxes[user, box]
        self.recorder.mark("boxgone", user=user, k=key)


class Sink:
    """Takes mail for other domains. Localparts say what comes: "later-..." is put off the first time."""

    def __init__(self, recorder):
        self.recorder = recorder
        self.put_off = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock, sock.makefile("rwb") as f:
            recipients = []

            def say(text):
                f.write(text.encode() + b"\r\n")
                f.flush()

            say("220 sink")
            for line in iter(f.readline, b""):
                word = line[:4].upper()
                if word == b"EHLO":
                    say("250-sink\r\n250 8BITMIME")
                elif word == b"RCPT":
                    address = re.search(rb"<(.*?)>", line)[1].decode()
                    if address.startswith("never"):
                        say("550 5.1.1 nobody of that name")
                    elif address.startswith("later") and address not in self.put_off:
                        self.put_off.add(address)
                        say("450 4.2.1 come again")
                    else:
                        recipients.append(address)
                        say("250 ok")
                elif word == b"DATA":
                    say("354 go on")
                    text = b""
                    while (line := f.readline()) and line != b".\r\n":
                        text += line
                    token = TOKEN.search(text)
                    if token:
                        self.recorder.mark("sent", t=token[1].decode(), rcpts=recipients)
                    recipients = []
                    say("250 taken")
                elif word == b"QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 ok")

    def close(self):
        self.listener.close()
