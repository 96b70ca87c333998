# SPDX-License-Identifier: MIT
"""amavisd as the content filter behind the queue."""

import os
import pwd
import re
import shutil
import smtplib

import pytest
from content_filters import FilterSetup, fetch_one
from mail_helpers import instance_imap, make_message, wait_for_subject  # noqa: F401
from programs import PATH, SECOND_TRY
from test_local import wait_for_empty_queue
from test_mta_filters import Program

pytestmark = [pytest.mark.skipif(not shutil.which("amavisd"), reason="amavisd is not installed"),
              pytest.mark.skipif(os.getuid() != 0, reason="its file of settings must be another user's"), SECOND_TRY]
ALICE, BOB = "alice@example.test", "bob@example.test"
# Nothing but what it does by itself: no scanner, no decoder, no database, no network beyond loopback.
SETTINGS = """
use strict;
$MYHOME = '{home}';
$TEMPBASE = $MYHOME;
$enable_db = 0;
$enable_zmq = 0;
$lock_file = "$MYHOME/lock";
$pid_file = "$MYHOME/pid";
$QUARANTINEDIR = undef;
$virus_quarantine_method = $spam_quarantine_method = $banned_files_quarantine_method = $bad_header_quarantine_method = undef;
$daemon_user = 'nobody';
$daemon_group = 'nogroup';
$myhostname = 'amavis.test.example';
$mydomain = 'example.test';
$max_servers = 2;
$inet_socket_bind = '127.0.0.1';
$inet_socket_port = {port};
@inet_acl = qw( 127.0.0.0/8 );
$forward_method = 'smtp:[127.0.0.1]:{back}';
$notify_method = $forward_method;
$do_syslog = 0;
$LOGFILE = "$MYHOME/log";
$log_level = 1;
@bypass_virus_checks_maps = (1);
@bypass_spam_checks_maps = (1);
@av_scanners = ();
@decoders = ();
$enable_dkim_verification = 0;
@local_domains_maps = (1);
$final_banned_destiny = D_REJECT;
$banned_filename_re = new_RE( qr'\\.exe$'i );
1;
"""


@pytest.fixture
def setup(make_instance):
    made = FilterSetup(make_instance)

    def command(directory):
        directory.chmod(0o755)
        home = directory / "home"
        home.mkdir()
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        (directory / "amavisd.conf").write_text(SETTINGS.format(home=home, port=made.port, back=made.back))
        return ["setpriv", "--reuid", "nobody", "--regid", str(nobody.pw_gid), "--clear-groups", "env", "-i", f"PATH={PATH}",
                f"HOME={home}", "amavisd", "-c", directory / "amavisd.conf", "foreground"]

    made.program = Program(command, made.port)
    made.program.wait()
    yield made
    made.program.close()


def send(roost, subject, attachment=None):
    message = make_message(ALICE, BOB, subject, "Hello.\n")
    if attachment:
        message.make_mixed()
        message.add_attachment(b"MZ nothing", maintype="application", subtype="octet-stream", filename=attachment)
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
        client.ehlo("client.example.org")
        client.send_message(message, ALICE, [BOB])


def test_amavisd_gives_back_what_is_good(setup, instance_imap):
    roost = setup.start_with({"content_filter": f"smtp:[127.0.0.1]:{setup.port}"})
    send(roost, "good", "letter.txt")
    found = fetch_one(instance_imap(BOB, roost), "good")
    assert [field for field in found.get_all("Received") if "(amavis.test.example " in field], str(found)
    assert [part.get_filename() for part in found.walk()][-1] == "letter.txt"
    # What it will not have goes back to the sender, by whoever had taken it: us.
    send(roost, "bad", "evil.exe")
    alice = instance_imap(ALICE, roost)
    wait_for_subject(alice, "Mail could not be delivered")
    report = fetch_one(alice, "Mail could not be delivered")
    assert "BANNED" in report.as_string().upper()
    wait_for_empty_queue(roost)
    # It was told whose mail it is, and said so again (XFORWARD).
    queue_id = re.search(r"smtpd\.accept queue_id=(\w+) ", roost.log()).group(1)
    assert f" origin={queue_id} " in roost.log()
