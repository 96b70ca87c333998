# SPDX-License-Identifier: MIT
"""What roostctl --json prints of every verb has the fields that roostctl(8) names, and no others."""

import imaplib
import re
import smtplib
import subprocess

import pytest
from conftest import tls_context
from mail_helpers import make_message
from roost_instance import BUILD, PASSWORD, TOP, free_ports, wait_until

ALICE, BOB, CAROL = "alice@example.test", "bob@example.test", "carol@example.test"


# ---- what the manual page says ----


# As the page says: what prints something else, and what has fields of each daemon's own besides.
NOT_JSON = {"queue cat", "trace"}
WITH_OTHERS = {"status"}


def words_behind(macro, text):
    lines = [line.removeprefix(macro) for line in text.splitlines() if line.startswith(macro)]
    return {word for line in lines for word in line.rstrip(" .,").split()}


def documented():
    """By verb: whether it is a list, the fields that are always there, those that are there sometimes."""
    section = (TOP / "doc" / "roostctl.8").read_text().split(".Sh JSON OUTPUT\n")[1].split("\n.Sh ")[0]
    found = {}
    for entry in section.split("\n.It Ic ")[1:]:
        verbs, _, rest = entry.partition("\n")
        always, _, sometimes = rest.partition("\nsometimes\n")
        for verb in verbs.replace("Fl -", "--").split(" , "):
            found[verb.removeprefix("Ic ")] = (rest.startswith("A list"), words_behind(".Li ", always),
                                               words_behind(".Li ", sometimes))
    return found


def verbs_of_the_program():
    told = subprocess.run([BUILD / "roostctl", "--help"], capture_output=True, text=True).stdout
    return {match.group(1) for match in re.finditer(r"^  ([a-z][a-z-]*(?: [a-z][a-z-]*(?= |$))*)", told, re.M)}


def test_every_verb_is_in_the_page():
    verbs, page = verbs_of_the_program(), documented()
    assert {"user list", "status"} < verbs
    assert {verb for verb in verbs - NOT_JSON if not any(f"{known} ".startswith(f"{verb} ") for known in page)} == set()


# ---- what there is ----


def fields_of(value, name=""):
    if isinstance(value, list):
        inner = set().union(*(fields_of(item, name) for item in value))
        return inner or ({name} if name else set())
    if isinstance(value, dict) and (value or not name):
        dot = f"{name}." if name else ""
        return set().union(*(fields_of(item, dot + key) for key, item in value.items()))
    return {name}


class Runner:
    def __init__(self, roost):
        self.roost, self.seen = roost, set()
        self.page = documented()

    def run(self, verb, *args, stdin="", status=(0,)):
        """verb: as it stands in the page."""
        found_status, found, error = self.roost.ctl(*verb.split(), *args, check=False, stdin=stdin)
        assert found_status in status, (verb, args, error)
        is_list, always, sometimes = self.page[verb]
        assert isinstance(found, list if is_list else dict), (verb, found)
        for item in found if is_list else [found]:
            fields = fields_of(item)
            missing, more = always - fields, fields - always - sometimes
            # Of a list inside that is empty, only its name can be seen.
            empty = {field for field in more if any(known.startswith(field + ".") for known in always | sometimes)}
            missing = {field for field in missing if field.split(".")[0] not in empty}
            more = set() if verb in WITH_OTHERS else more - empty
            assert (missing, more) == (set(), set()), (verb, item)
        assert found or not is_list or not always, f"{verb}: nothing to compare"
        self.seen.add(verb)
        return found


@pytest.fixture
def server(make_instance):
    return make_instance(settings={"expunge_keep": "1d", "submission_limit_day": 100, "log_level": "info",
                                   "minimal_backoff_time": "1h", "smtp_tls_security_level": "none",
                                   "relayhost": f"[127.0.0.1]:{free_ports(1)[0]}"})


def directory(run, path):
    run("user add", CAROL, stdin=PASSWORD + "\n")
    run("user set", CAROL, "--quota", "1G")
    run("user password", CAROL, stdin=PASSWORD + "\n")
    run("user list")
    run("user show", CAROL)
    run("user app-password add", CAROL, "--name", "phone")
    run("user app-password list", CAROL)
    run("user app-password remove", CAROL, "--name", "phone")
    for verb in ("quota get", "quota set", "quota recalc"):
        run(verb, CAROL, *(["--storage", "2G"] if verb == "quota set" else []))
    run("domain add", "more.test")
    run("domain set", "more.test", "--active", "no")
    run("domain list")
    run("alias add", "office@example.test", ALICE)
    run("alias list")
    run("domain-alias add", "other.test", "example.test")
    run("domain-alias list")
    for kind, line in (("user", f"address,password\ndave@example.test,{{PLAIN}}{PASSWORD}\n"),
                       ("domain", "domain\nthird.test\n"), ("alias", f"address,targets\nsales@example.test,{BOB}\n"),
                       ("domain-alias", "alias,target\nfourth.test,example.test\n")):
        run(f"{kind} export")
        (path / kind).write_text(line)
        run(f"{kind} import", path / kind)
    run("alias remove", "office@example.test")
    run("domain-alias remove", "other.test")
    run("db init")
    run("db upgrade")
    run("cache-flush", ALICE)
    run("domain remove", "more.test")
    run("user remove", CAROL)


def mailboxes(run, roost):
    run("mailbox create", ALICE, "Work")
    run("mailbox list", ALICE)
    run("mailbox rename", ALICE, "Work", "Job")
    run("mailbox acl", "set", ALICE, "Job", BOB, "lr")
    run("mailbox acl", "list", ALICE, "Job")
    with imaplib.IMAP4("localhost", roost.ports["imap"], timeout=60) as session:
        session.login(ALICE, PASSWORD)
        for _ in range(3):
            session.append("INBOX", None, None, make_message().as_bytes())
        session.select()
        session.store("1:2", "+FLAGS", "\\Deleted")
        session.expunge()
        run("who")
        assert run("kick", ALICE)["kicked"] == 1
    run("mailbox undelete", ALICE, "--list")
    run("mailbox undelete", ALICE)
    run("mailbox purge", ALICE)
    run("mailbox delete", ALICE, "Job")
    (roost.home("alice") / "Maildir" / "cur" / "directory").mkdir()
    (roost.home("alice") / "Maildir" / "subscriptions").write_text("nonsense\n")
    run("fsck", ALICE, status=(1, 2))
    for verb in ("status", "rescan", "optimize", "drop"):
        run(f"fts {verb}", ALICE)


def moving(run, roost, path):
    text = make_message().as_bytes().replace(b"\r\n", b"\n")
    (path / "mbox").write_bytes(b"From a@example.org Mon Jan  1 00:00:00 2024\n" + text + b"\n")
    run("import mbox", ALICE, path / "mbox")
    run("import maildir", BOB, roost.home("alice") / "Maildir", status=(1,))  # for the directory in it
    (path / "password").write_text(PASSWORD + "\n")
    run("import imap", BOB, "--host", "127.0.0.1", "--port", roost.ports["imap"], "--login", ALICE, "--plain",
        "--password-file", path / "password")
    (path / "postfix").mkdir()
    (path / "postfix" / "main.cf").write_text("myhostname = mail.example.test\nno_such_parameter = 1\n")
    run("import postfix", path / "postfix", status=(0, 1))
    backup = run("backup", path / "backup", ALICE)["backup"]
    run("backup --verify", path / "backup")
    run("restore", path / "backup" / backup, ALICE)
    run("export", "--format", "dovecot", ALICE)


def queue(run, roost):
    with smtplib.SMTP("127.0.0.1", roost.ports["submission"], timeout=60) as client:
        client.starttls(context=tls_context(roost))
        client.login(ALICE, PASSWORD)
        for _ in range(2):
            client.sendmail(ALICE, ["somebody@elsewhere.test"], make_message(ALICE).as_string())

    def are_deferred():
        rows = roost.ctl("queue", "list")
        return len(rows) == 2 and all(row["queue"] == "deferred" for row in rows) and rows

    rows = wait_until(are_deferred, what="nobody takes them")
    run("queue list")
    run("queue show", rows[0]["id"])
    for verb in ("hold", "release", "requeue", "delete"):
        run(f"queue {verb}", rows[0]["id"])
    run("queue flush")
    run("limit list")
    run("limit reset", "--all")


def test_every_verb_prints_the_fields_of_its_page(server, tmp_path):
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    runner = Runner(server)
    directory(runner.run, tmp_path)
    mailboxes(runner.run, server)
    moving(runner.run, server, tmp_path)
    queue(runner.run, server)
    runner.run("doctor", "--no-dns", status=(0, 1))
    runner.run("status")
    runner.run("reload")
    runner.run("stop")
    assert runner.seen == set(runner.page)
