# SPDX-License-Identifier: MIT
"""
Several sessions change one mailbox at the same time at random; each client's copy, built from what it was told alone,
must in the end be the mailbox. QRESYNC clients lose their connections and come back with their copies.

REPLICA_SECONDS (8) and REPLICA_SEED say how long and which; a failure prints the seed and what was said.
"""

import contextlib
import os
import random
import time

import pytest
from imap_replica import LEVELS, Command, Replica, format_set

SECONDS = float(os.environ.get("REPLICA_SECONDS", "8"))
SEED = int(os.environ.get("REPLICA_SEED", "9051"))
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "$Label1", "$Label2", "Work"]
MESSAGE = b"From: a@example.test\r\nSubject: %d\r\n\r\nbody\r\n"


class Storm:
    def __init__(self, roost, user, seed, guest=None):
        self.roost, self.user, self.random = roost, user, random.Random(seed)
        self.port = roost.ports["imap"]
        self.serial = 0
        self.commands = self.rounds = self.resyncs = 0
        levels = ["plain", "condstore", "qresync", *self.random.sample(sorted(LEVELS), 3)]
        self.judge = Replica(self.port, user, "condstore")
        self.judge.run("CREATE", "CREATE Other")
        for _ in range(12):
            self.judge.run("APPEND", "APPEND INBOX", self.text())
        self.clients = [Replica(self.port, user, level) for level in levels]
        self.judges = {"INBOX": self.judge}
        if guest:
            self.invite(guest)
        for client in self.clients:
            client.select()

    def invite(self, guest):
        """Three of the clients are somebody else's, who may do all that they do and has a \\Seen of his own."""
        for mailbox in ("INBOX", "Other"):
            self.judge.run("SETACL", f"SETACL {mailbox} {guest} lrswite")
        inbox = f"other/{self.user.split('@')[0]}/INBOX"
        for client in self.clients[3:]:
            client.drop()
        levels = ["qresync", "condstore", self.random.choice(sorted(LEVELS))]
        self.clients[3:] = [Replica(self.port, guest, level, inbox) for level in levels]
        self.judges[inbox] = Replica(self.port, guest, "condstore", inbox)

    def text(self):
        self.serial += 1
        return MESSAGE % self.serial

    # ---- one command of one client ----

    def choose_set(self, client, uid):
        """(text, messages): numbers or UIDs, as the client knows them."""
        r = self.random
        if uid and r.random() < 0.2:
            return "1:*", list(client.messages)
        known = [m for m in client.messages if m.uid is not None] if uid else client.messages
        chosen = r.sample(known, min(len(known), r.choice([1, 1, 2, 5])))
        if uid:
            return format_set(m.uid for m in chosen), chosen
        return format_set(client.messages.index(m) + 1 for m in chosen), chosen

    def store(self, client):
        r = self.random
        uid = client.uidonly or r.random() < 0.5
        text, messages = self.choose_set(client, uid)
        if not messages:
            return
        operation, silent = r.choice(["+", "-", "", "+"]), r.random() < 0.6
        flags = set(r.sample(FLAGS, r.choice([1, 1, 2])))
        modifier = ""
        if client.condstore and r.random() < 0.5:
            modseq = r.choice([client.modseq, r.choice([m.modseq or 1 for m in messages]), 0, 2**62])
            modifier = f"(UNCHANGEDSINCE {modseq}) "
        command = Command("STORE", uid, (messages, operation, flags) if silent else None)
        client.send(command, f"{'UID ' * uid}STORE {text} {modifier}{operation}FLAGS{'.SILENT' * silent} "
                             f"({' '.join(sorted(flags))})")

    def fetch(self, client):
        r = self.random
        uid = client.uidonly or r.random() < 0.5
        text, messages = self.choose_set(client, uid)
        if not messages:
            return
        items = ["FLAGS", "(UID FLAGS)", "BODY[]", "BODY.PEEK[HEADER]", "(UID ENVELOPE)", "(FLAGS BODY[TEXT])"]
        modifier, earlier = "", False
        if client.condstore:
            items += ["(FLAGS MODSEQ)", "MODSEQ", "(UID MODSEQ BODY[])"]
            if r.random() < 0.4:
                modifier = f" (CHANGEDSINCE {r.choice([client.modseq, 1, max(1, client.modseq - 5)])})"
        if client.qresync and uid and modifier and r.random() < 0.7:
            modifier, earlier = modifier.replace(")", " VANISHED)"), True
        client.send(Command("FETCH", uid, earlier=earlier), f"{'UID ' * uid}FETCH {text} {r.choice(items)}{modifier}")

    def transfer(self, client):
        r = self.random
        uid = client.uidonly or r.random() < 0.5
        text, messages = self.choose_set(client, uid)
        if messages:
            verb = r.choice(["COPY", "MOVE"])
            other = client.mailbox.replace("INBOX", "Other")
            # Of a guest also his own mail.
            places = [client.mailbox, other, other] + ["INBOX"] * (client.mailbox != "INBOX")
            client.send(Command(verb, uid), f"{'UID ' * uid}{verb} {text} {r.choice(places)}")

    def search(self, client):
        r = self.random
        uid = client.uidonly or r.random() < 0.5
        client.send(Command("SEARCH", uid), f"{'UID ' * uid}SEARCH {r.choice(['ALL', 'SEEN', 'UNDELETED', 'SUBJECT 1'])}")

    def expunge(self, client):
        if self.random.random() < 0.5:
            client.send(Command("EXPUNGE"), "EXPUNGE")
        else:
            text, messages = self.choose_set(client, True)
            if messages:
                client.send(Command("EXPUNGE", True), f"UID EXPUNGE {text}")

    def simple(self, client):
        text = self.random.choice(["NOOP", "CHECK", f"STATUS {client.mailbox} (MESSAGES UIDNEXT UNSEEN)",
                                   f"STATUS {client.mailbox.replace('INBOX', 'Other')} (MESSAGES)"])
        client.send(Command(text.split(" ")[0]), text)

    def idle(self, client):
        client.send(Command("IDLE"), "IDLE")
        client.trace.append("C: DONE")
        client.socket.sendall(b"DONE\r\n")

    def append(self, client):
        if len(client.messages) < 40:
            flags = " (\\Deleted $Label1)" if self.random.random() < 0.3 else ""
            client.send(Command("APPEND"), f"APPEND {client.mailbox}{flags}", self.text())

    def leave(self, client):
        """Away and back, by CLOSE or by SELECT of the same mailbox."""
        client.finish()
        if self.random.random() < 0.5:
            client.run("CLOSE", "CLOSE")
        client.select()

    def another_program(self, client):
        """A mail program on the Maildir itself."""
        folder = self.roost.home(self.user.split("@")[0]) / "Maildir"
        files = sorted(path for name in ("cur", "new") for path in (folder / name).iterdir())
        if self.random.random() < 0.4 and len(files) > 5:
            with contextlib.suppress(OSError):
                self.random.choice(files).unlink()
        elif len(client.messages) < 40:
            self.serial += 1
            (folder / "new" / f"17950{self.serial:05}.M1P1.elsewhere").write_bytes(self.text().replace(b"\r", b""))

    def lose(self, client):
        if not client.qresync:
            return
        # Some of what is on its way may still arrive.
        for _ in range(self.random.choice([0, 0, 1, 3])):
            if client.running:
                client.step()
        client.drop()
        client.resync(self.random.random() < 0.7, self.random.random() < 0.4)
        self.resyncs += 1

    def act(self):
        client = self.random.choice(self.clients)
        action = self.random.choices(
            [self.store, self.fetch, self.transfer, self.search, self.expunge, self.simple, self.idle, self.append,
             self.leave, self.another_program, self.lose],
            [30, 25, 6, 5, 5, 12, 5, 12, 2, 1, 4])[0]
        # While answers are due, sequence numbers are in the air.
        if client.running and action not in (self.lose, self.another_program):
            client.finish()
        action(client)
        self.commands += 1
        # Several commands of different clients run at the same time; some are read at once.
        if self.random.random() < 0.4:
            client.finish()
            if self.random.random() < 0.5:
                client.learn()

    # ---- judging ----

    def settle(self):
        for client in self.clients:
            client.finish()
        for client in self.clients:
            client.settle()
        # Setting \Seen or not, nobody changes anything any more.
        for client in self.clients:
            client.settle()
        for judge in self.judges.values():
            judge.select("EXAMINE")
        for client in self.clients:
            judge = self.judges[client.mailbox]
            want = judge.copy()
            mine = client.copy()
            if not client.condstore:
                mine = [(uid, flags, modseq) for (uid, flags, _), (_, _, modseq) in zip(mine, want)] \
                    if len(mine) == len(want) else mine
            if mine != want:
                raise AssertionError(f"{client} has\n{mine}\nbut the mailbox is\n{want}\n" + "\n".join(client.trace))
            if client.qresync:
                highest = judge.modseq
                assert client.modseq == highest, (client, client.modseq, highest, list(client.trace)[-20:])
        self.rounds += 1

    def close(self):
        for client in [*self.clients, *self.judges.values()]:
            client.drop()


@pytest.fixture
def roost(make_instance):
    return make_instance()


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_every_copy_is_the_mailbox(roost, shared):
    deadline = time.monotonic() + SECONDS
    storms = 0
    totals = [0, 0, 0]
    while time.monotonic() < deadline:
        seed = SEED + storms
        storms += 1
        user = roost.add_user(f"storm{storms}")
        storm = Storm(roost, user, seed, roost.add_user(f"guest{storms}") if shared else None)
        try:
            for _ in range(12):
                for _ in range(60):
                    storm.act()
                storm.settle()
                if time.monotonic() > deadline:
                    break
        except (AssertionError, OSError) as e:
            said = "\n".join(f"--- {c}\n" + "\n".join(list(c.trace)[-40:]) for c in storm.clients)
            raise AssertionError(f"REPLICA_SEED={seed}: {e}\n{said}") from e
        storm.close()
        for i, n in enumerate((storm.commands, storm.rounds, storm.resyncs)):
            totals[i] += n
    print(f"{totals[0]} commands, {totals[1]} comparisons of all copies, {totals[2]} lost connections")
    assert totals[1] > 0 and totals[2] > 0
