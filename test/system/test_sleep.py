# SPDX-License-Identifier: MIT
"""An IMAP client that is silent for a while loses nothing and sees nothing, whatever happens meanwhile."""

import os
import signal
import socket
import ssl
import threading

import pytest
from roost_instance import PASSWORD, wait_until
from test_imap_session import Wire

MESSAGE = b"From: a@example.test\r\nSubject: one\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def _sleepy(request):
    from roost_instance import Roost

    instance = Roost(settings={"imap_hibernate_after": "300ms"})
    yield instance
    instance.close()


@pytest.fixture
def sleepy(_sleepy):
    yield _sleepy
    assert _sleepy.process.poll() is None, _sleepy.log_tail()


class SecureWire(Wire):
    def __init__(self, roost, user):
        context = ssl.create_default_context(cafile=str(roost.tls_cert))
        plain = socket.create_connection(("127.0.0.1", roost.ports["imaps"]), timeout=30)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.lines = self.socket.makefile("rb")
        self.lines.readline()
        assert self.command(f'LOGIN {user} "{PASSWORD}"')[-1].startswith("t OK")


numbers = iter(range(1, 10**6))


def new_user(roost):
    return roost.add_user(f"sleeper{next(numbers)}")


def append(wire, count=1, mailbox="INBOX"):
    for _ in range(count):
        wire.send(b"t APPEND %b {%d+}\r\n%b\r\n" % (mailbox.encode(), len(MESSAGE), MESSAGE))
        assert wire.until("t ")[-1].startswith("t OK")


def sleeping(roost, wire):
    """The row of `who` of the client's session when it sleeps."""
    address = "{}:{}".format(*wire.socket.getsockname())
    rows = [row for row in roost.ctl("who") if row["address"] == address]
    return rows and rows[0]["detail"].endswith("(sleeps)") and rows[0]


def wait_asleep(roost, wire):
    return wait_until(lambda: sleeping(roost, wire), what="the session sleeps")


def idle(wire, mailbox="INBOX", tag="i"):
    wire.command(f"SELECT {mailbox}")
    wire.send(f"{tag} IDLE")
    wire.until("+ ")


@pytest.mark.parametrize("kind", [Wire, SecureWire])
def test_news_wakes_and_is_told_exactly(sleepy, kind):
    user = new_user(sleepy)
    wire, other = kind(sleepy, user), Wire(sleepy, user)
    append(other, 3)
    idle(wire)
    before = wait_asleep(sleepy, wire)
    assert before["detail"] == "INBOX (sleeps)"
    assert bool(before["tls"]) == (kind is SecureWire)
    other.command("SELECT INBOX")
    append(other)
    wire.until("* 4 EXISTS")
    wait_asleep(sleepy, wire)
    other.command(r"STORE 2 +FLAGS (\Flagged $Label7)")
    told = wire.until("* 2 FETCH")
    assert r"\Flagged" in told[-1] and "$Label7" in told[-1]
    # A keyword that is new to the client is announced first, as by a session that was awake.
    assert [line for line in told if line.startswith("* FLAGS") and "$Label7" in line]
    wait_asleep(sleepy, wire)
    other.command(r"STORE 1,3 +FLAGS.SILENT (\Deleted)")
    other.command("EXPUNGE")
    assert wire.until("* 2 EXPUNGE")[-2:] == ["* 1 EXPUNGE", "* 2 EXPUNGE"]
    # Another program delivers while nobody else is there.
    wait_asleep(sleepy, wire)
    other.send("z LOGOUT")
    assert other.until("z ")
    new = sleepy.home(user.split("@")[0]) / "Maildir" / "new" / "1795000000.M1P1.elsewhere"
    new.write_bytes(b"Subject: foreign\n\nbody\n")
    wire.until("* 3 EXISTS")
    after = wait_asleep(sleepy, wire)
    assert (after["session"], after["since"]) == (before["session"], before["since"])
    wire.send("DONE")
    assert wire.until("i ")[-1] == "i OK Idle completed"
    assert [line.split()[-1] for line in wire.command("FETCH 1:* UID")[:-1]] == ["2)", "4)", "5)"]


def test_bytes_of_a_sleeper(sleepy):
    """Commands in the packet of DONE, and one in pieces: iOS does the former."""
    user = new_user(sleepy)
    wire = Wire(sleepy, user)
    idle(wire)
    wait_asleep(sleepy, wire)
    wire.send(b"DONE\r\na NOOP\r\nb SELECT INBOX\r\nc IDLE\r\n")
    assert wire.until("+ ")[0] == "i OK Idle completed"
    wait_asleep(sleepy, wire)
    wire.send(b"DO")
    wire.send(b"NE\r\n")
    assert wire.until("c ") == ["c OK Idle completed"]
    # Something else than DONE.
    idle(wire)
    wait_asleep(sleepy, wire)
    wire.send("x NOOP")
    assert wire.until("i ")[-1].startswith("i BAD")
    assert wire.command("NOOP")[-1].startswith("t OK")


def test_between_commands(sleepy):
    user = new_user(sleepy)
    wire, other = Wire(sleepy, user), Wire(sleepy, user)
    append(other, 4)
    wire.command("EXAMINE INBOX")
    wire.command("SEARCH RETURN (SAVE) UID 2:3")
    wait_asleep(sleepy, wire)
    other.command("SELECT INBOX")
    append(other)
    other.command(r"STORE 1 +FLAGS.SILENT (\Deleted)")
    other.command("EXPUNGE")
    # It was not told anything, and numbers are still the old ones.
    told = wire.command("FETCH 1:4 (UID)")
    assert [line for line in told if "FETCH (UID " in line] == [f"* {n} FETCH (UID {n})" for n in (2, 3, 4)]
    assert not [line for line in told if line.endswith("EXPUNGE")]
    wait_asleep(sleepy, wire)
    assert "* 1 EXPUNGE" in wire.command("NOOP")
    wait_asleep(sleepy, wire)
    assert [line.split()[-1] for line in wire.command("FETCH $ UID")[:-1]] == ["2)", "3)"]
    assert wire.command(r"STORE 1 +FLAGS (\Seen)")[-1].startswith("t NO")
    # Nothing selected.
    wire.command("UNSELECT")
    wait_asleep(sleepy, wire)
    assert wire.command("FETCH 1 UID") == ["t BAD Select a mailbox first"]


def test_extensions_last(sleepy):
    user = new_user(sleepy)
    wire, other = Wire(sleepy, user), Wire(sleepy, user)
    append(other, 3)
    assert "* ENABLED QRESYNC" in wire.command("ENABLE QRESYNC")[0]
    idle(wire)
    wait_asleep(sleepy, wire)
    other.command("SELECT INBOX")
    other.command(r"STORE 2 +FLAGS (\Deleted)")
    flags = wire.until("* 2 FETCH")[-1]
    assert "MODSEQ (" in flags and "UID 2" in flags
    wait_asleep(sleepy, wire)
    other.command("EXPUNGE")
    assert wire.until("* VANISHED")[-1] == "* VANISHED 2"
    wait_asleep(sleepy, wire)
    wire.send("DONE")
    wire.until("i OK")


def test_several_connections_of_one_program(sleepy):
    """Thunderbird opens five at once; each sleeps in its own mailbox, and only that one's news wakes it."""
    user = new_user(sleepy)
    folders = ["INBOX", "Sent", "Drafts", "Trash", "Junk"]
    wires = {}
    threads = [threading.Thread(target=lambda f=f: wires.update({f: SecureWire(sleepy, user)})) for f in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for folder in folders:
        idle(wires[folder], folder)
    for folder in folders:
        wait_asleep(sleepy, wires[folder])
    other = Wire(sleepy, user)
    for folder in folders:
        append(other, 1, folder)
        wires[folder].until("* 1 EXISTS")
    for folder in folders:
        wires[folder].send("DONE")
        assert not [line for line in wires[folder].until("i OK") if line.endswith("EXISTS")]


def test_the_index_is_rebuilt_meanwhile(sleepy):
    user = new_user(sleepy)
    wire, other = Wire(sleepy, user), Wire(sleepy, user)
    append(other, 3)
    idle(wire)
    other.send("z LOGOUT")
    other.until("z ")
    wait_asleep(sleepy, wire)
    pid = sleepy.pids("roost-index")[0]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: [p for p in sleepy.pids("roost-index") if p != pid], what="the index is back")
    # Those in IDLE look for what they missed, and sleep again.
    again = Wire(sleepy, user)
    append(again)
    wire.until("* 4 EXISTS")
    wait_asleep(sleepy, wire)
    again.command("SELECT INBOX")
    again.command(r"STORE 1 +FLAGS (\Flagged)")
    wire.until("* 1 FETCH")
    wire.send("DONE")
    wire.until("i OK")
    # The index was killed, so that the UID of the fourth may be any higher one.
    uids = [line.split()[-1] for line in wire.command("FETCH 1:* UID")[:-1]]
    assert uids[:3] == ["1)", "2)", "3)"] and len(uids) == 4


def test_the_mailbox_is_renamed_or_deleted_meanwhile(sleepy):
    user = new_user(sleepy)
    wire, other = Wire(sleepy, user), Wire(sleepy, user)
    other.command("CREATE Work")
    append(other, 2, "Work")
    idle(wire, "Work")
    wait_asleep(sleepy, wire)
    other.command("RENAME Work Done")
    append(other, 1, "Done")
    wire.until("* 3 EXISTS")
    wait_asleep(sleepy, wire)
    assert other.command("DELETE Done")[-1].startswith("t OK")
    wire.until("* BYE")
    assert wire.at_end()


@pytest.mark.parametrize("how", ["off", "removed"])
def test_the_user_is_gone_meanwhile(sleepy, how):
    user = new_user(sleepy)
    wire = Wire(sleepy, user)
    idle(wire)
    wait_asleep(sleepy, wire)
    if how == "off":
        sleepy.ctl("user", "set", user, "--active", "no")
    else:
        sleepy.ctl("user", "remove", user)
    wire.send(b"DONE\r\na FETCH 1 BODY[]\r\n")
    assert wire.until("* BYE")[-1] == "* BYE This account is closed"
    assert wire.at_end()


@pytest.mark.parametrize("kind", [Wire, SecureWire])
def test_the_user_is_elsewhere_meanwhile(sleepy, kind):
    """He is told where to (RFC 2221), nobody reads or changes anything here, and it is all there when he is back."""
    user = new_user(sleepy)
    wire, late = kind(sleepy, user), kind(sleepy, user)
    append(wire, 2)
    idle(wire)
    late.command("SELECT INBOX")
    for one in (wire, late):
        wait_asleep(sleepy, one)
    sleepy.ctl("user", "set", user, "--host", "Mail.Example.net:1143")
    told = (f"* BYE [REFERRAL imap://{user.replace('@', '%40')};AUTH=*@mail.example.net:1143/] "
            "This account is on the server mail.example.net:1143")
    # What comes with the end of IDLE is not carried out, nor is what a session between commands is sent.
    wire.send(b"DONE\r\na STORE 1 +FLAGS (\\Deleted)\r\nb EXPUNGE\r\n")
    assert wire.until("* BYE") == [told]
    late.send(b"a STORE 1 +FLAGS (\\Deleted)\r\nb APPEND INBOX {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
    assert late.until("* BYE") == [told]
    assert wire.at_end() and late.at_end()
    sleepy.ctl("user", "set", user, "--host", "")
    back = kind(sleepy, user)
    assert "* 2 EXISTS" in back.command("SELECT INBOX")
    assert not any("Deleted" in line for line in back.command("FETCH 1:* FLAGS")[:-1])
    # Switched off is switched off, wherever he was to be.
    idle(back)
    wait_asleep(sleepy, back)
    sleepy.ctl("user", "set", user, "--host", "mail.example.net", "--active", "no")
    back.send("DONE")
    assert back.until("* BYE") == ["* BYE This account is closed"]


def test_news_of_who_is_elsewhere(sleepy):
    """Mail that another program delivers here wakes him, too."""
    user = new_user(sleepy)
    wire = Wire(sleepy, user)
    idle(wire)
    wait_asleep(sleepy, wire)
    sleepy.ctl("user", "set", user, "--host", "192.0.2.1")
    new = sleepy.home(user.split("@")[0]) / "Maildir" / "new" / "1795000000.M1P1.elsewhere"
    new.write_bytes(b"Subject: foreign\n\nbody\n")
    assert wire.until("* BYE")[-1].startswith("* BYE [REFERRAL imap://") and wire.at_end()
    sleepy.ctl("user", "set", user, "--host", "")
    assert "* 1 EXISTS" in Wire(sleepy, user).command("SELECT INBOX")


def test_kick_and_limits(make_instance):
    roost = make_instance(settings={"imap_hibernate_after": "300ms", "max_connections": 3})
    wires = [Wire(roost, "alice@example.test") for _ in range(3)]
    for wire in wires:
        idle(wire)
    rows = [wait_asleep(roost, wire) for wire in wires]
    # A sleeper counts as the connection that it is.
    with socket.create_connection(("127.0.0.1", roost.ports["imap"]), timeout=30) as refused:
        assert refused.recv(100).startswith(b"* BYE")
    assert roost.ctl("kick", rows[0]["session"])["kicked"] == 1
    assert sum(1 for wire in wires if ended(wire)) == 1
    wires.append(wait_until(lambda: try_login(roost, "alice@example.test"), what="there is room again"))
    assert roost.ctl("kick", "alice@example.test")["kicked"] == 3
    # A client that hangs up makes room, too.
    wires = [wait_until(lambda: try_login(roost, "bob@example.test"), what="there is room") for _ in range(3)]
    idle(wires[0])
    for wire in wires:
        wait_asleep(roost, wire)
    for wire in wires:
        wire.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: roost.ctl("who") == [], what="nobody is there")
    wires = [wait_until(lambda: try_login(roost, "bob@example.test"), what="there is room") for _ in range(3)]


def ended(wire):
    wire.socket.settimeout(0.2)
    try:
        return wire.socket.recv(100).startswith(b"* BYE")
    except TimeoutError:
        return False
    finally:
        wire.socket.settimeout(30)


def try_login(roost, user):
    try:
        return Wire(roost, user)
    except (AssertionError, OSError):
        return None


def test_stop_says_bye(make_instance):
    roost = make_instance(settings={"imap_hibernate_after": "300ms"})
    wires = [Wire(roost, "alice@example.test"), SecureWire(roost, "alice@example.test")]
    idle(wires[0])
    idle(wires[1])
    for wire in wires:
        wait_asleep(roost, wire)
    roost.stop()
    for wire in wires:
        assert wire.until("* BYE") == ["* BYE Server is going down"]


def test_crashes(make_instance):
    roost = make_instance(settings={"imap_hibernate_after": "300ms"})
    user = "alice@example.test"
    wire = Wire(roost, user)
    idle(wire)
    wait_asleep(roost, wire)
    # The parent of sessions: nothing of it is needed while they sleep.
    pid = roost.pids("roost-imap")[0]
    os.kill(pid, signal.SIGKILL)
    # Until it is reaped: a dying process has connections for a moment after its program can no longer be read in /proc.
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), what="it is dead")
    wire.send("DONE")
    wire.until("i OK")
    idle(wire, tag="j")
    wait_asleep(roost, wire)
    roost.ctl("reload")
    wire.send("DONE")
    wire.until("j OK")
    # roost-idle itself: those whom it holds are cut off, and nobody else.
    awake = Wire(roost, "bob@example.test")
    awake.send("k IDLE")
    awake.until("+ ")
    idle(wire)
    wait_asleep(roost, wire)
    wait_asleep(roost, awake)
    late = Wire(roost, user)
    late.send(b"big APPEND INBOX {%d}\r\n" % len(MESSAGE))
    late.until("+ ")
    os.kill(roost.pids("roost-idle")[0], signal.SIGKILL)
    assert wire.at_end() and awake.at_end()
    late.send(MESSAGE + b"\r\n")
    late.until("big OK")
    wire = wait_until(lambda: try_login(roost, user), what="the client is back")
    idle(wire)
    wait_until(lambda: roost.pids("roost-idle"), what="roost-idle is back")
    wait_asleep(roost, wire)
    wire.send("DONE")
    wire.until("i OK")


def test_time_passes_for_a_sleeper(make_instance):
    """Silence for too long ends a session, asleep or not."""
    roost = make_instance(settings={"imap_hibernate_after": "300ms", "imap_idle_timeout": "60s"})
    wire = Wire(roost, "alice@example.test")
    idle(wire)
    row = wait_asleep(roost, wire)
    assert row["detail"] == "INBOX (sleeps)"
    if not os.environ.get("ROOST_TEST_SLOW"):
        pytest.skip("a minute long: set ROOST_TEST_SLOW")
    wire.socket.settimeout(90)
    assert wire.until("* BYE") == ["* BYE Too long without a command"]
    assert wire.at_end()


def test_what_is_forged_or_replayed_opens_nothing(sleepy):
    """roost-imap takes nothing on its socket for waking that it has not sealed itself (run as the same user)."""
    import struct

    victim = new_user(sleepy)

    def field(data):
        return struct.pack("=I", len(data)) + data

    def handover(ident, name, resume, state):
        return b"".join([field(ident), field(b"imap"), field(b""), field(b""), b"\0", field(b""), field(b""), b"\0", field(name),
                         field(b""), field(b""), field(b""), b"\0" * 3, field(b""), field(b""), struct.pack("=Q", 0),
                         field(resume), field(state), struct.pack("=QQ", 0, 0)])

    ours, theirs = socket.socketpair()
    body = handover(b"0123456789abcdef", victim.encode(), b"\0" * 32 + victim.encode(), b"\0" * 100)
    with socket.socket(socket.AF_UNIX) as wake:
        wake.connect(str(sleepy.state / "run" / "imap-wake"))
        header = struct.pack("=IHHI", len(body), 1, 1 | 1 << 4, 7)
        ours.settimeout(30)
        ours.sendall(b"a SELECT INBOX\r\n")
        socket.send_fds(wake, [header + body], [theirs.fileno()])
        theirs.close()
        heard = b""
        while True:
            piece = ours.recv(1000)
            if not piece:
                break
            heard += piece
        assert heard == b"* BYE This account is closed\r\n"
