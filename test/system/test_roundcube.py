# SPDX-License-Identifier: MIT
"""Roundcube on Roost: its IMAP library from PHP, and with ROOST_TEST_BROWSER=1 the web pages in Chromium.

A failure shows what Roundcube and Roost said to each other. The browser test leaves its screenshots in
the directory that ROOST_TEST_BROWSER names, if it names one.
"""

import contextlib
import email
import email.policy
import hashlib
import imaplib
import json
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from mail_helpers import make_message, subjects
from programs import SECOND_TRY, environment, run
from roost_instance import PASSWORD, can_connect, free_ports, wait_until

ROUNDCUBE = Path("/var/lib/roundcube")
SMTP = email.policy.SMTP
DATA = bytes(range(256)) * 300

pytestmark = [SECOND_TRY, pytest.mark.skipif(
    not (ROUNDCUBE / "index.php").exists() or not shutil.which("php"),
    reason="roundcube-core, roundcube-sqlite3 and php-cli are not installed")]


class Roundcube:
    """A configuration, database, log and temporary directory of its own for the installed Roundcube."""

    def __init__(self, roost, home):
        self.roost = roost
        self.home = home
        self.config = home / "config"
        for name in ("config", "logs", "temp"):
            (home / name).mkdir()
        for name in ("defaults.inc.php", "mimetypes.php"):
            (self.config / name).symlink_to(Path("/etc/roundcube") / name)
        with contextlib.closing(sqlite3.connect(home / "db")) as db:
            db.executescript(Path("/usr/share/roundcube/SQL/sqlite.initial.sql").read_text())
        ssl = f"['ssl' => ['verify_peer' => true, 'peer_name' => 'localhost', 'cafile' => '{roost.tls_cert}']]"
        (self.config / "config.inc.php").write_text(f"""<?php
$config['db_dsnw'] = 'sqlite:///{home}/db?mode=0600';
$config['log_driver'] = 'file';
$config['log_dir'] = '{home}/logs/';
$config['temp_dir'] = '{home}/temp/';
$config['imap_debug'] = true;
$config['imap_host'] = 'ssl://localhost:{roost.ports["imaps"]}';
$config['imap_conn_options'] = {ssl};
$config['imap_cache'] = 'db';
$config['messages_cache'] = 'db';
$config['smtp_host'] = 'ssl://localhost:{roost.ports["submissions"]}';
$config['smtp_conn_options'] = {ssl};
$config['des_key'] = 'abcdefghijklmnopqrstuvwx';
$config['plugins'] = [];
$config['create_default_folders'] = true;
$config['drafts_mbox'] = 'Drafts';
$config['sent_mbox'] = 'Sent';
$config['junk_mbox'] = 'Junk';
$config['trash_mbox'] = 'Trash';
$config['language'] = 'en_US';
$config['draft_autosave'] = 0;
$config['message_show_email'] = true;
""")

    def library(self, user, **more):
        script = Path(__file__).parent / "roundcube_library.php"
        result = run(self.home, "php", script, "localhost", self.roost.ports["imaps"], user,
                     stdin=PASSWORD.encode() + b"\n", status=None, ROUNDCUBE_CONFIG_DIR=self.config, **more)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:] + self.said().encode()
        return json.loads(result.stdout)

    def said(self):
        """The end of what went over the wire, and Roundcube's own errors."""
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-6000:]}"
                         for path in sorted((self.home / "logs").iterdir()))

    def no_errors(self):
        errors = self.home / "logs" / "errors.log"
        assert not errors.exists(), errors.read_text()
        wire = (self.home / "logs" / "imap.log").read_text(errors="replace")
        refused = re.findall(r"S: A\d+ (?:BAD|NO) .*", wire)
        assert not refused, refused


@pytest.fixture
def roundcube(roost, tmp_path):
    return Roundcube(roost, tmp_path)


def fill(session):
    """Five messages: with an attachment; with umlauts; an answer to the first; two more."""
    first = make_message(subject="number one", body="Schöne Grüße.\n", attachments=[("größer.bin", DATA)])
    messages = [first, make_message(subject="Grüße aus Köln", body="a needle\n"), make_message(subject="Re: number one"),
                make_message(subject="number four"), make_message(subject="number five")]
    messages[2]["In-Reply-To"] = messages[2]["References"] = first["Message-ID"]
    for n, message in enumerate(messages):
        message.replace_header("Date", f"Fri, 20 Nov 2026 10:0{n}:00 +0000")
        assert session.append("INBOX", None, None, message.as_bytes(policy=SMTP))[0] == "OK"
    return messages


def test_the_library(roost, roundcube, imap):
    user = roost.add_user("roundcube", quota="10M")
    session = imap(user)
    messages = fill(session)
    names = [str(message["Subject"]) for message in messages]
    said = roundcube.library(user)
    # Others have mailboxes that everybody may see.
    own = [name for name in said["folders"] if name.split("/")[0] not in ("other", "Public")]
    assert own == ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"]
    assert set(said["special"].values()) >= {"Drafts", "Sent", "Junk", "Trash"}
    assert said["quota"]["total"] == 10 * 1024 and 0 < said["quota"]["used"] < 10 * 1024
    assert (said["count"], said["unseen"]) == (5, 5)
    assert [row["subject"] for row in said["list"]] == names
    assert said["by_subject"] == ["Re: number one", "number one", "number four", "number five", "Grüße aus Köln"]
    assert said["found"] == ["Grüße aus Köln"] and said["found_body"] == [said["list"][1]["uid"]]
    assert said["found_everywhere"] == 4
    assert sorted(map(tuple, said["threads"])) == sorted((1 if name.startswith("Re") else 0, name) for name in names)
    at = said["threads"].index([0, "number one"])
    assert said["threads"][at + 1] == [1, "Re: number one"]
    assert said["text"].replace("\r\n", "\n") == "Schöne Grüße.\n"
    assert said["attachments"][0]["name"] == "größer.bin"
    assert said["attachments"][0]["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert said["raw"] == hashlib.sha256(messages[0].as_bytes(policy=SMTP)).hexdigest()
    assert said["moved"] == said["moved_renamed"] == ["Re: number one", "number four"]
    assert "Archiv 2026/K&APY-ln &- mehr" in said["renamed"] and "Projekte" not in said["renamed"]
    assert "Archiv 2026" in said["after_delete"] and "Archiv 2026/K&APY-ln &- mehr" not in said["after_delete"]
    assert [(row["subject"], row["flags"]) for row in said["drafts"]] == [("draft", ["DRAFT", "SEEN"])]
    assert said["draft_text"].strip() == "second"
    assert said["metadata"] == {"INBOX": {"/private/comment": "Grüße"}}
    assert len(said["capabilities"]) == 13, said["capabilities"]
    assert [row["subject"] for row in said["list_after"]] == ["number one", "Grüße aus Köln", "number four"]
    session.select(readonly=True)
    assert [set(imaplib.ParseFlags(row)) - {b"\\Recent"} for row in session.fetch("1:*", "FLAGS")[1]] == [
        {b"\\Flagged", b"\\Seen"}, {b"$LABEL1"}, set()]
    roundcube.no_errors()

    # Another client changes the mailbox; Roundcube's cache catches up from the mod-sequence it had.
    session.select()
    session.store("1", "FLAGS", "(\\Answered)")
    session.store("2", "+FLAGS", "(\\Deleted)")
    session.expunge()
    session.append("INBOX", "\\Seen", None, make_message(subject="from elsewhere").as_bytes(policy=SMTP))
    said = roundcube.library(user, ONLY_LOOK=1)
    assert [(row["subject"], row["flags"]) for row in said["list"]] == [
        ("number one", ["ANSWERED"]), ("from elsewhere", ["SEEN"]), ("number four", [])]
    assert said["count"] == 3
    assert "CHANGEDSINCE" in (roundcube.home / "logs" / "imap.log").read_text(errors="replace")
    roundcube.no_errors()
    assert subjects(session, "Drafts") == ["draft"]


# ---- the web pages ----


class Browser:
    """Chromium without a screen, driven as a person would: by what is to be seen on the page."""

    def __init__(self, url, home, shots):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                       "--window-size=1400,900", f"--user-data-dir={home}/profile"):
            options.add_argument(option)
        options.add_experimental_option("prefs", {"download.default_directory": str(home / "down")})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver", log_path=str(home / "chromedriver.log")),
                                       options=options)
        self.driver.set_page_load_timeout(60)
        self.driver.execute_cdp_cmd("Page.setDownloadBehavior",
                                    {"behavior": "allow", "downloadPath": str(home / "down")})
        self.url = url
        self.shots = shots
        self.count = 0

    def shot(self, name):
        self.count += 1
        self.driver.save_screenshot(str(self.shots / f"{self.count:02}-{name}.png"))

    def go(self, query):
        self.driver.get(f"{self.url}/?{query}")

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def until(self, script, what):
        """The value of a JavaScript expression, once it is true; a page that just changes has none."""
        from selenium.common.exceptions import WebDriverException

        def value():
            with contextlib.suppress(WebDriverException):
                return self.run(f"return {script}")

        try:
            return wait_until(value, 30, what)
        except AssertionError:
            self.shot("failed")
            raise

    def command(self, *words):
        """A command of Roundcube's, as its buttons give them; while it is busy it passes them over."""
        wait_until(lambda: self.run("if (!window.rcmail || rcmail.busy) return false;"
                                    "rcmail.command.apply(rcmail, arguments); return true", *words), what="Roundcube is not busy")
        self.until("!rcmail.busy", f"{words} is done")

    def rows(self):
        self.until("!rcmail.busy && !document.querySelector('#messagestack .loading')", "the list is there")
        return self.run("return [...document.querySelectorAll('#messagelist tbody tr')]"
                        ".filter(r => getComputedStyle(r).display != 'none')"
                        ".map(r => r.querySelector('.subject a').innerText.trim())")

    def select(self, text):
        self.run("let row = [...document.querySelectorAll('#messagelist tbody tr')]"
                 ".find(r => r.querySelector('.subject a').innerText.trim() == arguments[0]);"
                 "rcmail.message_list.select(row.uid)", text)
        # Which begins after a while by itself.
        self.until("!rcmail.busy && (frame => frame.document.readyState == 'complete' && new URLSearchParams(frame.location.search)"
                   ".get('_uid') == rcmail.message_list.get_single_selection())"
                   "(rcmail.get_frame_window(rcmail.env.contentframe))", "the preview is there")


@pytest.fixture
def pages(roost, roundcube, tmp_path):
    """A browser on a web server on Roundcube on Roost."""
    place = os.environ.get("ROOST_TEST_BROWSER", "")
    shots = Path(place) if os.path.isabs(place) else tmp_path
    shots.mkdir(parents=True, exist_ok=True)
    (tmp_path / "down").mkdir()
    port = free_ports(1)[0]
    with open(tmp_path / "php.log", "wb") as log:
        server = subprocess.Popen(["php", "-S", f"127.0.0.1:{port}", "-t", ROUNDCUBE / "public_html"], cwd=tmp_path,
                                  stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                  env=environment(tmp_path, ROUNDCUBE_CONFIG_DIR=roundcube.config,
                                                  PHP_CLI_SERVER_WORKERS=4), start_new_session=True)
    browser = None
    try:
        wait_until(lambda: can_connect(port), what="the web server listens")
        browser = Browser(f"http://127.0.0.1:{port}", tmp_path, shots)
        yield browser
    finally:
        if browser:
            browser.driver.quit()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait(10)


@pytest.mark.skipif(not os.environ.get("ROOST_TEST_BROWSER") or not shutil.which("chromedriver"),
                    reason="ROOST_TEST_BROWSER is not set, or chromium-driver and python3-selenium are missing")
def test_the_pages(roost, roundcube, pages, imap):
    user = roost.add_user("browser", quota="10M")
    session = imap(user)
    messages = fill(session)
    names = [str(message["Subject"]) for message in messages]

    # Log in, folders, list, quota.
    pages.go("")
    pages.run("document.querySelector('#rcmloginuser').value = arguments[0];"
              "document.querySelector('#rcmloginpwd').value = arguments[1];"
              "document.querySelector('#rcmloginsubmit').click()", user, PASSWORD)
    pages.until("window.rcmail && rcmail.env.task == 'mail' && !!rcmail.message_list", "the mailbox is there")
    wait_until(lambda: set(pages.rows()) == set(names), what="the list is shown")
    folders = pages.run("return [...document.querySelectorAll('#mailboxlist li > a')].map(a => a.innerText.split('\\n')[0])")
    assert [name.strip() for name in folders] == ["Inbox", "Drafts", "Sent", "Junk", "Trash", "Archive"]
    assert pages.until("document.querySelector('#quotadisplay .count').innerText", "the quota").endswith("%")
    pages.shot("list")

    # Read; the attachment comes down as it went up.
    uid = pages.run("let r = [...document.querySelectorAll('#messagelist tbody tr')]"
                    ".find(r => r.querySelector('.subject a').innerText.trim() == 'number one'); return r.uid")
    pages.go(f"_task=mail&_mbox=INBOX&_uid={uid}&_action=show")
    assert "Schöne Grüße." in pages.until("document.querySelector('#messagebody').innerText", "the text")
    assert "größer.bin" in pages.run("return document.querySelector('#attachment-list').innerText")
    pages.shot("message")
    pages.run("location = document.querySelector('#attachment-list a.filename').href.replace(/&?_frame=1/, '')"
              ".replace('_action=get', '_action=get&_download=1')")
    down = roundcube.home / "down" / "größer.bin"
    wait_until(lambda: down.exists() and down.read_bytes() == DATA, what="the attachment is here")
    session.select(readonly=True)
    assert session.search(None, "SEEN")[1] == [b"1"]

    # Flag, search, threads, move, delete.
    pages.go("_task=mail&_mbox=INBOX")
    wait_until(lambda: len(pages.rows()) == 5, what="the list is shown")
    pages.select("Grüße aus Köln")
    pages.command("mark", "flagged")
    wait_until(lambda: session.noop() and session.search(None, "FLAGGED")[1] == [b"2"], what="the flag is there")
    pages.run("document.querySelector('#mailsearchform').value = arguments[0]", "Köln")
    pages.command("search")
    wait_until(lambda: pages.rows() == ["Grüße aus Köln"], what="the search found it")
    pages.shot("search")
    pages.command("reset-search")
    wait_until(lambda: len(pages.rows()) == 5, what="the list is shown")
    pages.go("_task=mail&_mbox=INBOX")
    wait_until(lambda: len(pages.rows()) == 5, what="the list is shown")
    pages.run("rcmail.set_list_options(rcmail.env.listcols, 'date', 'DESC', 1, rcmail.env.layout)")
    wait_until(lambda: sorted(pages.rows()) == sorted(set(names) - {"Re: number one"}), what="threads are shown")
    pages.command("expand-all")
    wait_until(lambda: sorted(pages.rows()) == sorted(names), what="threads are open")
    pages.shot("threads")
    pages.select("number four")
    pages.command("move", "Archive")
    wait_until(lambda: "number four" in subjects(session, "Archive"), what="the message is moved")
    pages.select("number five")
    pages.command("delete")
    wait_until(lambda: "number five" in subjects(session, "Trash"), what="the message is in the trash")
    wait_until(lambda: "number five" not in pages.rows(), what="the list is shorter")
    assert subjects(session) == names[:3]

    # A folder is made and goes again.
    pages.go("_task=settings&_action=edit-folder&_framed=0&_path=")
    pages.until("!!document.querySelector('input[name=_name]')", "the form")
    pages.run("document.querySelector('input[name=_name]').value = 'Köln & mehr'")
    pages.run("rcmail.command('save')")
    wait_until(lambda: any(b"K&APY-ln &- mehr" in row for row in session.list()[1]), what="the folder is made")
    pages.go("_task=settings&_action=folders")
    pages.until("[...document.querySelectorAll('#subscription-table li')].some(r => r.innerText.includes('Köln & mehr'))",
                "the folder is listed")
    pages.shot("folders")
    pages.run("window.confirm = () => true; rcmail.http_post('delete-folder', {_mbox: arguments[0]})", "K&APY-ln &- mehr")
    wait_until(lambda: not any(b"K&APY-ln" in row for row in session.list()[1]), what="the folder is gone")

    # A draft is saved, saved again, and sent.
    pages.go("_task=mail&_action=compose")
    pages.until("!!document.querySelector('#composebody')", "the editor")
    pages.run("document.querySelector('#_to').value = arguments[0];"
              "document.querySelector('#compose-subject').value = 'from the browser';"
              "document.querySelector('#composebody').value = 'First.'", user)
    pages.command("savedraft")
    wait_until(lambda: subjects(session, "Drafts") == ["from the browser"], what="the draft is saved")
    pages.run("document.querySelector('#composebody').value = 'Schönen Gruß.'")
    pages.command("savedraft")

    def second_draft():
        status, count = session.select("Drafts", readonly=True)
        if count != [b"1"]:
            return False
        draft = email.message_from_bytes(session.fetch("*", "BODY.PEEK[]")[1][0][1], policy=email.policy.default)
        return draft.get_content().strip() == "Schönen Gruß."

    wait_until(second_draft, what="the newer draft is in place of the first")
    pages.shot("compose")
    pages.command("send", {"nocheck": True})
    wait_until(lambda: "from the browser" in subjects(session), what="the message is sent")
    wait_until(lambda: subjects(session, "Sent") == ["from the browser"], what="a copy is kept")
    wait_until(lambda: subjects(session, "Drafts") == [], what="the draft is gone")
    roundcube.no_errors()
