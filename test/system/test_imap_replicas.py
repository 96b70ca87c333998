# SPDX-License-Identifier: MIT
"""
Several sessions change one mailbox at the same time at random; each client's copy, built from what it was told alone,
must in the end be the mailbox. QRESYNC clients lose their connections and come back with their copies. What searches, sorting
and threading answer then is compared with a second implementation, and so is what updating searches have come to.

REPLICA_SECONDS (8) and REPLICA_SEED say how long and which; a failure prints the seed and what was said.
"""

import contextlib
import os
import random
import time

import imap_model
import pytest
from imap_replica import LEVELS, Command, Replica, format_set
from roost_instance import wait_until

SECONDS = float(os.environ.get("REPLICA_SECONDS", "8"))
SEED = int(os.environ.get("REPLICA_SEED", "9051"))
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "$Label1", "$Label2", "Work"]
BOXES = ["Other", "Moved"]  # one of them is there


class Storm:
    def __init__(self, roost, user, seed, guest=None):
        self.roost, self.user, self.random = roost, user, random.Random(seed)
        self.port = roost.ports["imap"]
        self.model = imap_model.Model(self.random)
        self.commands = self.rounds = self.resyncs = self.questions = self.inboxes = 0
        levels = ["plain", "condstore", "qresync", *self.random.sample(sorted(LEVELS), 3)]
        self.judge = Replica(self.port, user, "condstore")
        self.judge.run("CREATE", f"CREATE {BOXES[0]}")
        for _ in range(12):
            self.judge.run("APPEND", "APPEND INBOX", self.model.make())
        self.clients = [Replica(self.port, user, level) for level in levels]
        self.judges = {"INBOX": self.judge}
        if guest:
            self.invite(guest)
        for client in self.clients:
            client.select()

    def invite(self, guest):
        """Three of the clients are somebody else's, who may do all that they do and has a \\Seen of his own."""
        for mailbox in ("INBOX", BOXES[0]):
            self.judge.run("SETACL", f"SETACL {mailbox} {guest} lrswite")
        inbox = f"other/{self.user.split('@')[0]}/INBOX"
        for client in self.clients[3:]:
            client.drop()
        levels = ["qresync", "condstore", self.random.choice(sorted(LEVELS))]
        self.clients[3:] = [Replica(self.port, guest, level, inbox) for level in levels]
        self.judges[inbox] = Replica(self.port, guest, "condstore", inbox)

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

    @staticmethod
    def boxes(client):
        """Under the names that this client has for them."""
        return [client.mailbox.replace("INBOX", name) for name in BOXES]

    def transfer(self, client):
        r = self.random
        uid = client.uidonly or r.random() < 0.5
        text, messages = self.choose_set(client, uid)
        if messages:
            verb = r.choice(["COPY", "MOVE"])
            # Of a guest also his own mail.
            places = [client.mailbox, *self.boxes(client)] + ["INBOX"] * (client.mailbox != "INBOX")
            client.send(Command(verb, uid), f"{'UID ' * uid}{verb} {text} {r.choice(places)}")

    def search(self, client):
        r = self.random
        uid = client.uidonly or r.random() < 0.5
        key, _ = self.model.key(numbers=not client.uidonly)
        text = r.choice([f"SEARCH CHARSET UTF-8 {key}", f"SORT (REVERSE DATE SUBJECT) UTF-8 {key}",
                         f"THREAD REFERENCES UTF-8 {key}", f"SEARCH RETURN (SAVE COUNT) CHARSET UTF-8 {key}"])
        client.send(Command(text.split(" ")[0], uid), "UID " * uid + text)

    def watch(self, client):
        """A search that is kept up to date (RFC 5267), or the end of one."""
        if client.contexts and self.random.random() < 0.3:
            tag = self.random.choice(sorted(client.contexts))
            del client.contexts[tag]
            client.send(Command("CANCELUPDATE"), f'CANCELUPDATE "{tag}"')
        elif len(client.contexts) < 3:
            key, test = self.model.key(numbers=False)
            client.send(Command("SEARCH", True, updates=test), f"UID SEARCH RETURN (ALL UPDATE) CHARSET UTF-8 {key}")

    def replace(self, client):
        uid = client.uidonly or self.random.random() < 0.5
        messages = [m for m in self.choose_set(client, uid)[1] if m.uid is not None or not uid]
        if messages:
            m = messages[0]
            number = m.uid if uid else client.messages.index(m) + 1
            to = self.random.choice([client.mailbox, client.mailbox, *self.boxes(client)])
            client.send(Command("REPLACE", uid), f"{'UID ' * uid}REPLACE {number} {to}", self.model.make())

    def rename(self, client):
        r = self.random
        if client.mailbox == "INBOX" and r.random() < 0.1:
            # All of INBOX goes (RFC 9051 section 6.3.6), and comes again.
            self.inboxes += 1
            client.send(Command("RENAME"), f"RENAME INBOX Kept{self.inboxes}")
        else:
            client.send(Command("RENAME"), "RENAME {} {}".format(*r.sample(self.boxes(client), 2)))

    def expunge(self, client):
        if self.random.random() < 0.5:
            client.send(Command("EXPUNGE"), "EXPUNGE")
        else:
            text, messages = self.choose_set(client, True)
            if messages:
                client.send(Command("EXPUNGE", True), f"UID EXPUNGE {text}")

    def simple(self, client):
        inbox = client.mailbox
        text = self.random.choice(["NOOP", "CHECK", f"STATUS {inbox} (MESSAGES UIDNEXT UNSEEN)",
                                   f"STATUS {self.boxes(client)[0]} (MESSAGES)", "UIDBATCHES 500", "NAMESPACE",
                                   'LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN))', 'GETMETADATA "" /private/comment',
                                   f"GETQUOTAROOT {inbox}", f"MYRIGHTS {inbox}", f"RESETKEY {inbox}",
                                   "URLFETCH x"])
        client.send(Command(text.split(" ")[0]), text)

    def idle(self, client):
        client.send(Command("IDLE"), "IDLE")
        client.trace.append("C: DONE")
        client.socket.sendall(b"DONE\r\n")

    def append(self, client):
        if len(client.messages) >= 40:
            return
        flags = " (\\Deleted $Label1)" if self.random.random() < 0.3 else ""
        how = self.random.random()
        known = [m.uid for m in client.messages if m.uid is not None]
        if how < 0.2 and known:
            # It may be gone: then nothing is appended.
            url = f"/{client.mailbox};UIDVALIDITY={client.uidvalidity}/;UID={self.random.choice(known)}"
            client.send(Command("APPEND"), f'APPEND {client.mailbox}{flags} CATENATE (URL "{url}")')
        elif how < 0.4:
            client.send(Command("APPEND"), f"APPEND {client.mailbox}{flags}", self.model.make(), self.model.make())
        else:
            text = self.model.make()
            date = self.random.choice(["", " " + self.model.date()])
            client.send(Command("APPEND"), f"APPEND {client.mailbox}{flags}{date}", text)

    def leave(self, client):
        """Away and back, by CLOSE or by SELECT of the same mailbox."""
        client.finish()
        if self.random.random() < 0.5:
            client.contexts.clear()
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
            text = self.model.make().replace(b"\r", b"")
            (folder / "new" / f"17950{len(self.model.made):05}.M1P1.elsewhere").write_bytes(text)

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
             self.leave, self.another_program, self.lose, self.watch, self.replace, self.rename],
            [30, 25, 6, 5, 5, 12, 5, 12, 2, 1, 4, 4, 4, 1])[0]
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

    def other_program_is_seen(self):
        """What it did just beside a change of Roost's own is found by a later look at the folder: here is one."""
        folder = self.roost.home(self.user.split("@")[0]) / "Maildir"
        for name in ("cur", "new"):
            os.utime(folder / name)
        status = self.judge.ask("STATUS", False, "STATUS INBOX (MESSAGES)")[0]
        files = sum(1 for name in ("cur", "new") for _ in (folder / name).iterdir())
        return f"(MESSAGES {files})" in status

    def settle(self):
        for client in self.clients:
            client.finish()
        wait_until(self.other_program_is_seen, what="all files to be messages")
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
        messages = {name: self.model.mailbox(judge) for name, judge in self.judges.items()}
        for client in self.clients:
            imap_model.check(self.model, messages[client.mailbox], client)
            self.questions += 3
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
    totals = [0, 0, 0, 0]
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
        for i, n in enumerate((storm.commands, storm.rounds, storm.resyncs, storm.questions)):
            totals[i] += n
    print(f"{totals[0]} commands, {totals[1]} comparisons of all copies, {totals[2]} lost connections, "
          f"{totals[3]} searches compared")
    assert totals[1] > 0 and totals[2] > 0
