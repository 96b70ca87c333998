# SPDX-License-Identifier: MIT
"""Runs other people's programs, each with a HOME of its own and nothing of the caller's environment."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading

import pytest
from roost_instance import wait_until

# A client or a daemon of others that now and then hangs by itself: such a test is run again, once, and the first failure is in
# the log. What tests Roost alone has no second try.
SECOND_TRY = pytest.mark.flaky(reruns=1)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(home, **more):
    return {"PATH": PATH, "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(home), "TERM": "xterm",
            **{name: str(value) for name, value in more.items()}}


def write_secret(path, text):
    """A file that only its owner may read, as programs want of one with a password; returns the path."""
    path.write_text(text)
    path.chmod(0o600)
    return path


def run(home, *command, stdin=b"", status=0, timeout=120, **more):
    """Runs a program to its end; status None: any. Returns its CompletedProcess, output in bytes."""
    result = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, cwd=home,
                            timeout=timeout, env=environment(home, **more))
    assert status is None or result.returncode == status, (
        f"{command[0]} ended with {result.returncode}\n{result.stdout.decode(errors='replace')[-4000:]}"
        f"{result.stderr.decode(errors='replace')[-4000:]}")
    return result


def run_on_terminal(home, *command, timeout=60, answers=()):
    """Runs a program that wants a terminal to its end; returns its exit status and its screen's bytes.

    answers: (pattern, keys) in turn; the keys are typed when the screen has the pattern and rests.
    """
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(home)
        # A size that changes after the program's start would cost it the keys it has waiting.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        os.execvpe(str(command[0]), [str(c) for c in command], environment(home))
    screen = bytearray()

    def read():
        pending, seen = list(answers), 0
        try:
            while True:
                if select.select([fd], [], [], 0.2)[0]:
                    data = os.read(fd, 65536)
                    if not data:
                        return
                    screen.extend(data)
                elif pending and re.search(pending[0][0], screen[seen:]):
                    seen = len(screen)
                    os.write(fd, pending.pop(0)[1])
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    ended = []

    def has_ended():
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            ended.append(os.waitstatus_to_exitcode(status))
        return done

    try:
        wait_until(has_ended, timeout, f"the end of {command[0]}")
    except AssertionError:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise AssertionError(f"{command[0]} does not end:\n{screen.decode(errors='replace')[-4000:]}") from None
    finally:
        reader.join(10)
        os.close(fd)
    return ended[0], bytes(screen)
