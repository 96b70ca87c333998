# SPDX-License-Identifier: MIT
"""Mail to programs (pipe_transports): what they get, what their end means, and programs as content filters."""

import os
import pwd
import shutil
import smtplib
import subprocess
import tempfile
from pathlib import Path

import pytest
from content_filters import fetch_one
from mail_helpers import instance_imap, make_message, subjects  # noqa: F401
from roost_instance import BUILD, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"
USER = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def place():
    """Where programs lie, with a directory of their user."""
    path = Path(tempfile.mkdtemp(prefix="roost-pipe-", dir="/tmp"))
    path.chmod(0o755)
    (path / "box").mkdir(mode=0o755)
    if os.getuid() == 0:
        shutil.chown(path / "box", USER)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def script(place, name, text):
    path = place / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def send(roost, subject, to, sender="Sender@example.org", port="smtp", body="Hello.\n"):
    message = make_message("sender@example.org", "someone@example.test", subject, body)
    with smtplib.SMTP("127.0.0.1", roost.ports[port], timeout=60) as client:
        assert client.send_message(message, from_addr=sender, to_addrs=list(to)) == {}


def queue(roost):
    return roost.ctl("queue", "list")


def wait_for_empty_queue(roost):
    wait_until(lambda: queue(roost) == [], what="the queue is empty")


def start(make_instance, place, transports, **settings):
    (place / "transport").write_text(settings.pop("table", ""))
    return make_instance(settings={
        "pipe_transports": transports, "transport_maps": [f"file:{place}/transport"], "mynetworks": ["127.0.0.0/8"],
        "minimal_backoff_time": "1h", "maximal_backoff_time": "2h", "dns_resolvers": ["127.0.0.1@1"],
        "log_level": "info", **settings})


def test_what_a_program_gets(make_instance, place):
    out = place / "box"
    program = script(place, "keep", f'''n=$(ls {out} | wc -l)
printf '%s\\n' "$@" > {out}/args.$n.new; id -un >> {out}/args.$n.new; pwd >> {out}/args.$n.new
cat > {out}/mail.$n; mv {out}/args.$n.new {out}/args.$n
''')
    roost = start(make_instance, place, [
        f"many user={USER} flags=R argv={program} -f ${{sender}} -s $size {{a b}} $$5 -- ${{recipient}} +$(user):${{extension}}",
        f"one user={USER} flags=DFORhuX> directory={out} argv={program} ${{mailbox}}@${{domain}} ${{original_recipient}} ${{nexthop}}",
    ], table="piped.test many:\none.test one:Some.Hop\n", recipient_delimiter="+")
    send(roost, "for many", ["First+More@piped.test", "second@piped.test"])
    wait_for_empty_queue(roost)
    args = sorted(out.glob("args.*"))
    assert len(args) == 1
    found = args[0].read_text().split("\n")
    size = int(found[3])
    assert found[:-1] == [
        "-f", "Sender@example.org", "-s", str(size), "a b", "$5", "--", "First+More@piped.test", "second@piped.test",
        "+First:More", "+second:", USER, "/"]
    head, mail = b"Return-Path: <Sender@example.org>\n", next(out.glob("mail.*")).read_bytes()
    assert mail.startswith(head + b"Received:") and b"\r" not in mail and b"\nHello.\n" in mail
    # The size is that of the message as it came, lines ended by CRLF.
    assert size == len(mail) - len(head) + mail.count(b"\n") - 1
    for path in out.iterdir():
        path.unlink()
    send(roost, "for one", ["A@one.test", "b@one.test"], body="From here\n")
    wait_for_empty_queue(roost)
    found = sorted(p.read_text() for p in out.glob("args.*"))
    assert found == [f"{name}@one.test\n{name}@one.test\nsome.hop\n{USER}\n{out}\n" for name in ("a", "b")]
    mail = min((p.read_text() for p in out.glob("mail.*")), key=lambda text: "b@one" in text)
    assert mail.startswith("From Sender@example.org ")
    assert "\nReturn-Path: <Sender@example.org>\nX-Original-To: A@one.test\nDelivered-To: A@one.test\n" in mail
    assert "\n>From here\n" in mail
    # What has been there does not go there again.
    with smtplib.SMTP("127.0.0.1", roost.ports["smtp"], timeout=60) as client:
        client.sendmail(ALICE, ["a@one.test"], "Delivered-To: A@one.test\r\nSubject: again\r\n\r\nx\r\n")
    wait_until(lambda: "dsn=5.4.6" in roost.log(), what="the circle is noticed")


def test_how_a_program_ends(make_instance, place):
    ends = script(place, "ends", 'cat > /dev/null\necho "$2"\nexit $1\n')
    transports = [f"t{n} user={USER} argv={ends} {n} {{{text}}}" for n, text in (
        (75, "busy"), (67, "nobody there"), (99, "4.2.1 wait a bit"), (1, "no"))]
    transports += [f"slow user={USER} time_limit=1 argv={script(place, 'slow', 'sleep 60')}",
                   f"missing user={USER} argv={place}/nothing",
                   f"small user={USER} size=10 argv={ends} 0 x"]
    if os.getuid() == 0:
        transports += [f"root user=root argv={ends} 0 x", f"ours user=vmail argv={ends} 0 x"]
    names = [t.split()[0] for t in transports]
    roost = start(make_instance, place, transports, table="".join(f"{name}.test {name}:\n" for name in names))
    for name in names:
        send(roost, f"to {name}", [f"someone@{name}.test"], sender=ALICE)
    waiting = {"t75": "busy", "t99": "wait a bit", "slow": "took too long", "missing": "status 127",
               "root": "must not be root", "ours": "none of Roost's own users"}

    def reasons():
        return {row["recipients"][0].split("@")[1].split(".")[0]: row["reason"] for row in queue(roost)
                if row["queue"] == "deferred" and row["recipients"]}
    wanted = {name: text for name, text in waiting.items() if name in names}
    wait_until(lambda: set(reasons()) == set(wanted), what="what may be better later waits")
    for name, text in wanted.items():
        assert text in reasons()[name], (name, reasons())
    for name, dsn in (("t67", "5.1.1"), ("t1", "5.3.0"), ("small", "5.2.3")):
        wait_until(lambda name=name: f"to=someone@{name}.test" in roost.log(), what="it failed")
        line = next(line for line in roost.log().splitlines() if f"to=someone@{name}.test" in line and "dsn=" in line
                    and "smtpd.accept" not in line)
        assert f"dsn={dsn}" in line, line


def test_an_address_is_no_option(make_instance, place):
    program = script(place, "keep", f'touch {place}/box/ran; cat > /dev/null\n')
    roost = start(make_instance, place, [f"piped user={USER} argv={program} ${{sender}} ${{recipient}}"],
                  table="piped.test piped:\n")
    send(roost, "as an option", ["-o@piped.test"], sender=ALICE)
    wait_until(lambda: "dsn=5.1.3" in roost.log(), what="it is refused")
    assert not (place / "box" / "ran").exists()


def test_a_program_as_content_filter(make_instance, place, instance_imap):  # noqa: F811
    """The simple filter of Postfix's FILTER_README: it gives mail back with sendmail, and that is not filtered again."""
    program = place / "filter"
    roost = start(make_instance, place, [f"filter user={USER} flags=q argv={program} -f ${{sender}} -- ${{recipient}}"],
                  content_filter="filter:dummy")
    script(place, "filter", f'''tmp=$(mktemp {place}/box/in.XXXXXX) || exit 75
trap "rm -f $tmp" 0
cat > $tmp || exit 75
grep -q "^Subject: bad" $tmp && {{ echo "5.7.1 this is bad"; exit 69; }}
sed '0,/^Subject:/s//X-Filtered: yes\\nSubject:/' $tmp | {BUILD}/sendmail -C {roost.conf} -G -i "$@"
exit $?
''')
    if os.getuid() == 0:
        roost.conf.chmod(0o644)
        for parent in (roost.conf.parent, roost.state, roost.state / "run"):
            parent.chmod(0o755)
    send(roost, "good", [ALICE, BOB])
    for who in (ALICE, BOB):
        message = fetch_one(instance_imap(who, roost), "good")
        assert message["X-Filtered"] == "yes" and len(message.get_all("X-Filtered")) == 1
        assert message["Return-Path"] == "<Sender@example.org>"
    subprocess.run([BUILD / "sendmail", "-C", roost.conf, "-f", ALICE, BOB], check=True, input=b"Subject: by sendmail\n\nHi.\n")
    if os.getuid() == 0:
        assert fetch_one(instance_imap(BOB, roost), "by sendmail")["X-Filtered"] == "yes"
    send(roost, "bad", [BOB], sender=ALICE)
    wait_until(lambda: "dsn=5.7.1" in roost.log(), what="the filter refuses it")
    wait_for_empty_queue(roost)
    assert "bad" not in subjects(instance_imap(BOB, roost))
