# SPDX-License-Identifier: MIT
"""What other programs do to a Maildir under open sessions, and what they may leave in it."""

import contextlib
import os
import re
import shutil
import time

import pytest
from roost_instance import wait_until
from test_imap_session import Wire
from test_rebuild import MESSAGE, literal, ok

SECOND = 1.0  # a change is told within this


@pytest.fixture(scope="module")
def one(request):
    from conftest import make_roost

    instance = make_roost("sqlite", request)
    yield instance
    instance.close()


@pytest.fixture
def fresh(one):
    fresh.number = getattr(fresh, "number", 0) + 1
    return one.add_user(f"for{fresh.number}")


def maildir(one, user):
    return one.home(user.split("@")[0]) / "Maildir"


def until_within(wire, start, seconds=SECOND):
    begin = time.monotonic()
    seen = wire.until(start)
    # A machine that is busy with other tests is given some more.
    assert time.monotonic() - begin < seconds * float(os.environ.get("ROOST_SLOW", "10")), seen
    return seen


def file_of(folder, number):
    found = [p for sub in ("new", "cur") for p in (folder / sub).iterdir() if f",U={number}" in p.name]
    assert len(found) == 1, found
    return found[0]


def uids(wire):
    return [int(re.search(r"UID (\d+)", line)[1]) for line in ok(wire, "UID FETCH 1:* (UID)") if "FETCH (UID" in line]


def test_messages_while_a_client_idles(one, fresh):
    idle, wire = Wire(one, fresh), Wire(one, fresh)
    box = maildir(one, fresh)
    for number in range(1, 4):
        literal(wire, "APPEND INBOX (\\Seen)", MESSAGE % ((number,) * 3))
    ok(wire, "SELECT INBOX")
    ok(idle, "SELECT INBOX")
    idle.send("i IDLE")
    idle.until("+ ")
    given = {1, 2, 3}

    # Delivered.
    (box / "tmp" / "1.foreign").write_bytes(b"Subject: a\n\nb\n")
    (box / "tmp" / "1.foreign").rename(box / "new" / "1.foreign")
    until_within(idle, "* 4 EXISTS")
    # Flags, by renaming.
    wait_until(lambda: ":2," in file_of(box, 2).name, what="the flags are in the name")
    old = file_of(box, 2)
    old.rename(old.with_name(old.name.split(":2,")[0] + ":2,FS"))
    assert "\\Flagged" in until_within(idle, "* 2 FETCH")[-1]
    # From new/ to cur/, as a mail reader does it.
    old = file_of(box, 4)
    old.rename(box / "cur" / (old.name + ":2,S"))
    assert "\\Seen" in until_within(idle, "* 4 FETCH")[-1]
    # Copied, with the UID in its name: another message.
    old = file_of(box, 1)
    copy(old, box / "cur" / ("9" + old.name))
    until_within(idle, "* 5 EXISTS")
    # The same name in new/ and in cur/.
    copy(old, box / "new" / ("8" + old.name.split(":2,")[0]))
    until_within(idle, "* 6 EXISTS")
    # Deleted.
    file_of(box, 3).unlink()
    until_within(idle, "* 3 EXPUNGE")
    # Moved away and put back: it is gone, and then it is another message.
    old = file_of(box, 2)
    old.rename(box / "elsewhere")
    until_within(idle, "* 2 EXPUNGE")
    (box / "elsewhere").rename(old)
    until_within(idle, "* 5 EXISTS")
    idle.send("DONE")
    idle.until("i ")
    now = uids(idle)
    assert now == sorted(now) and len(set(now)) == 5
    assert not (set(now) & {2, 3}) and now[-1] > 6, "a UID was given twice"
    assert given & set(now) == {1}


def names(wire):
    return {line.rsplit(" ", 1)[1].strip('"') for line in ok(wire, 'LIST "" "*"') if line.startswith("* LIST")}


def own(path, like):
    """As the program of a user who owns the mail would have made it."""
    st = like.stat()
    if os.getuid() == 0:
        for p in [path, *path.rglob("*")]:
            # Roost is at work in there, with files that come and go.
            with contextlib.suppress(FileNotFoundError):
                os.chown(p, st.st_uid, st.st_gid, follow_symlinks=False)


def copy(old, new):
    tmp = new.parent.with_name("tmp") / "copy"
    shutil.copy(old, tmp)
    own(tmp, old)
    tmp.rename(new)


def make_folder(path, like=None):
    for sub in ("", "tmp", "new", "cur"):
        (path / sub).mkdir()
    own(path, like or path.parent)


def test_folders_while_a_client_idles(one, fresh):
    idle, wire = Wire(one, fresh), Wire(one, fresh)
    box = maildir(one, fresh)
    ok(wire, "CREATE Here")
    literal(wire, "APPEND Here", MESSAGE % (1, 1, 1))
    ok(idle, "SELECT INBOX")
    idle.send("i IDLE")
    idle.until("+ ")
    # Made: at once in LIST and STATUS of another session.
    make_folder(box / ".Made")
    assert "Made" in names(wire)
    make_folder(box / ".Made2")
    assert "(MESSAGES 0)" in ok(wire, "STATUS Made2 (MESSAGES)")[0]
    # Bit by bit, with looks in between.
    (box / ".Slow").mkdir()
    assert "Slow" not in names(wire)
    time.sleep(0.1)
    assert "Slow" not in names(wire)
    own(box / ".Slow", box)
    (box / ".Slow" / "cur").mkdir()
    own(box / ".Slow", box)
    assert "Slow" in names(wire)
    # Copied, with all that is in it: another mailbox, with another UIDVALIDITY.
    ok(wire, "SELECT Here")
    ids = [ok(wire, "STATUS Here (UIDVALIDITY)")[0].split()[-1]]
    shutil.copytree(box / ".Here", box / ".Copy")
    own(box / ".Copy", box)
    assert "Copy" in names(wire)
    assert "(MESSAGES 1)" in ok(wire, "STATUS Copy (MESSAGES)")[0]
    assert ok(wire, "STATUS Copy (UIDVALIDITY)")[0].split()[-1] != ids[0]
    # Renamed: the same mailbox under another name, and whoever has it selected goes on, with flags
    # that no name of a file has yet.
    ok(wire, "STORE 1 +FLAGS (\\Flagged)")
    (box / ".Here").rename(box / ".There")
    assert names(wire) >= {"There", "Copy"} and "Here" not in names(wire)
    assert ok(wire, "STATUS There (UIDVALIDITY)")[0].split()[-1] == ids[0]
    assert "\\Flagged" in ok(wire, "FETCH 1 FLAGS")[0]
    assert "t OK" in literal(wire, "APPEND There", MESSAGE % (2, 2, 2))[-1]
    assert len(uids(wire)) == 2
    wait_until(lambda: ":2,F" in file_of(box / ".There", 1).name, what="the flag is in the name")
    # Moved away altogether, while it is selected.
    (box / ".There").rename(box.with_name("away"))
    assert "BYE" in "\n".join(wire.command("NOOP"))
    wire.socket.close()
    again = Wire(one, fresh)
    assert "There" not in names(again)
    # Removed.
    shutil.rmtree(box / ".Copy")
    assert "Copy" not in names(again)
    assert again.command("STATUS Copy (MESSAGES)")[-1].startswith("t NO")
    # And a session in IDLE goes on.
    literal(again, "APPEND INBOX", MESSAGE % (3, 3, 3))
    until_within(idle, "* 1 EXISTS")


def test_a_folder_that_goes_while_it_is_watched(one, fresh):
    idle, wire = Wire(one, fresh), Wire(one, fresh)
    box = maildir(one, fresh)
    ok(wire, "CREATE Doomed")
    ok(idle, "SELECT Doomed")
    idle.send("i IDLE")
    idle.until("+ ")
    (box / ".Doomed").rename(box.with_name("doomed"))
    assert "* BYE" in until_within(idle, "* BYE")[-1]


# ---- what does not belong in a Maildir ----

OUTSIDE = b"Subject: not yours\n\nA file of another user.\n"


def odd_symlink(at, outside):
    (at / "1.link").symlink_to(outside)


def odd_link_to_fifo(at, outside):
    os.mkfifo(outside.with_name("pipe"))
    (at / "2.link").symlink_to(outside.with_name("pipe"))


def odd_dangling(at, outside):
    (at / "3.link").symlink_to("/nowhere")


def odd_loop(at, outside):
    (at / "4.link").symlink_to("4.link")


def odd_fifo(at, outside):
    os.mkfifo(at / "5.pipe")


def odd_directory(at, outside):
    (at / "6.dir").mkdir()
    (at / "6.dir" / "7.inside").write_bytes(OUTSIDE)


def odd_socket(at, outside):
    import socket

    here = os.getcwd()
    os.chdir(at)  # the names of sockets are short
    try:
        socket.socket(socket.AF_UNIX).bind("8.sock")
    finally:
        os.chdir(here)


def odd_control(at, outside):
    (at / "9.a\nb").write_bytes(OUTSIDE)


def odd_dot(at, outside):
    (at / ".nfs000001").write_bytes(OUTSIDE)


ODD = [odd_symlink, odd_link_to_fifo, odd_dangling, odd_loop, odd_fifo, odd_directory, odd_socket, odd_control, odd_dot]


@pytest.mark.parametrize("sub", ["new", "cur"])
@pytest.mark.parametrize("odd", ODD, ids=lambda f: f.__name__)
def test_odd_files_are_left_alone(one, fresh, odd, sub):
    wire = Wire(one, fresh)
    box = maildir(one, fresh)
    outside = one.dir / f"outside-{odd.__name__}-{sub}"
    outside.mkdir()
    (outside / "secret").write_bytes(OUTSIDE)
    ok(wire, "SELECT INBOX")
    odd(box / sub, outside / "secret")
    before = sorted(p.name for p in (box / sub).iterdir())
    # An honest message beside it comes through.
    (box / "new" / "99.honest").write_bytes(b"Subject: honest\n\nyes\n")
    assert "* 1 EXISTS" in ok(wire, "NOOP")
    said = "\n".join(ok(wire, "FETCH 1:* (BODY.PEEK[])"))
    assert "honest" in said and "not yours" not in said
    assert len(uids(wire)) == 1
    # Left where it was, also when the index is made anew.
    # Its service is at work in there meanwhile.
    shutil.rmtree(one.home(fresh.split("@")[0]) / "index", ignore_errors=True)
    again = Wire(one, fresh)
    assert "* 1 EXISTS" in ok(again, "SELECT INBOX")
    assert set(before) <= {p.name for p in (box / sub).iterdir()}
    if odd is not odd_dot:
        wait_until(lambda: any("index.file skipped" in line and str(box) in line for line in one.log().splitlines()),
                   what="a line in the log")


def test_names_as_long_as_the_file_system_lets(one, fresh):
    wire = Wire(one, fresh)
    box = maildir(one, fresh)
    ok(wire, "SELECT INBOX")
    for at, name in (("new", "1." + "x" * 253), ("cur", "2." + "y" * 250 + ":2,"), ("new", "3." + "z" * 220)):
        assert len(name) == 255 or at == "cur" or name[0] == "3"
        (box / at / name).write_bytes(b"Subject: long\n\nname\n")
    # Those with a name that has no room for a UID are skipped or get another; none hides the next one.
    (box / "new" / "4.short").write_bytes(b"Subject: short\n\nname\n")
    ok(wire, "NOOP")
    said = "\n".join(ok(wire, "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
    assert "short" in said
    assert len(list((box / "new").iterdir())) + len(list((box / "cur").iterdir())) == 4
    assert not any("BYE" in line for line in ok(wire, "NOOP"))


def test_a_file_without_permission(one, fresh):
    wire = Wire(one, fresh)
    box = maildir(one, fresh)
    path = box / "new" / "1.secret"
    path.write_bytes(b"Subject: locked\n\nup\n")
    path.chmod(0)
    (box / "new" / "2.open").write_bytes(b"Subject: open\n\nyes\n")
    ok(wire, "SELECT INBOX")
    assert len(uids(wire)) == 1
    assert "Subject: open" in "\n".join(ok(wire, "FETCH 1:* (UID BODY.PEEK[])"))
    assert any("index.file skipped" in line and "1.secret" in line for line in one.log().splitlines())
    # It comes with the next look at the folder, when it may be read.
    own(path, box)
    path.chmod(0o600)
    (box / "new" / "3.next").write_bytes(b"Subject: next\n\nyes\n")
    own(box / "new" / "3.next", box)
    ok(wire, "NOOP")
    assert len(uids(wire)) == 3
    # One that is a message already stays one.
    path = file_of(box, 1)
    path.chmod(0)
    # Its service is at work in there meanwhile.
    shutil.rmtree(one.home(fresh.split("@")[0]) / "index", ignore_errors=True)
    again = Wire(one, fresh)
    assert "* 3 EXISTS" in ok(again, "SELECT INBOX")
    assert uids(again) == sorted(set(uids(wire))) == [1, 2, 3]
    assert "BYE" not in "\n".join(again.command("FETCH 1:3 (BODY.PEEK[])"))


@pytest.mark.parametrize("sub", ["cur", "new", "tmp", "."])
def test_linked_directories_are_not_followed(one, fresh, sub):
    wire = Wire(one, fresh)
    box = maildir(one, fresh)
    other = one.dir / f"other-{sub.strip('.') or 'top'}"
    make_folder(other, box)
    (other / "new" / "1.foreign").write_bytes(OUTSIDE)
    (other / "cur" / "2.foreign:2,").write_bytes(OUTSIDE)
    before = sorted(str(p) for p in other.rglob("*"))
    if sub == ".":
        (box / ".Linked").symlink_to(other)
    else:
        make_folder(box / ".Linked")
        (box / ".Linked" / sub).rmdir()
        (box / ".Linked" / sub).symlink_to(other / sub)
        own(box / ".Linked", box)
    names(wire)
    wire.command("SELECT Linked")
    said = "\n".join(wire.command("FETCH 1:* (BODY.PEEK[])"))
    assert "not yours" not in said
    # Nor does a delivery go through it.
    wire.send(b"t APPEND Linked {%d+}\r\n%b\r\n" % (len(MESSAGE % (1, 1, 1)), MESSAGE % (1, 1, 1)))
    wire.until("t ")
    assert sorted(str(p) for p in other.rglob("*")) == before
    # The others are served as ever.
    assert "t OK" in literal(wire, "APPEND INBOX", MESSAGE % (1, 1, 1))[-1]
    again = Wire(one, fresh)
    assert "* 1 EXISTS" in ok(again, "SELECT INBOX")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of others")
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=oct)
def test_a_folder_that_belongs_to_somebody_else(one, fresh, mode):
    wire = Wire(one, fresh)
    box = maildir(one, fresh)
    make_folder(box / ".Theirs", one.dir)
    (box / ".Theirs").chmod(mode)
    for _ in range(3):
        assert "Theirs" not in names(wire)
    assert "t OK" in literal(wire, "APPEND INBOX", MESSAGE % (1, 1, 1))[-1]
    # Its service is at work in there meanwhile.
    shutil.rmtree(one.home(fresh.split("@")[0]) / "index", ignore_errors=True)
    again = Wire(one, fresh)
    assert "* 1 EXISTS" in ok(again, "SELECT INBOX")
    lines = [line for line in one.log().splitlines() if "index.folder skipped" in line and str(box) in line]
    assert lines and all("Theirs" in line for line in lines) and len(lines) < 6
    own(box / ".Theirs", box)
    assert "Theirs" in names(again)
