# SPDX-License-Identifier: MIT
"""Exim authenticates its clients against Roost in Dovecot's protocol.

Its package does not go together with Postfix's, so it is unpacked beside the system, and finds the user it
wants to run as in a passwd file that it alone sees.
"""

import os
import subprocess

import pytest
from programs import SECOND_TRY, run
from roost_instance import PASSWORD, can_connect, free_ports, wait_until
from test_auth_dovecot import USER, server  # noqa: F401, a fixture

pytestmark = [SECOND_TRY, pytest.mark.skipif(os.getuid() != 0, reason="mounts files for Exim, which root may")]

CONFIGURATION = """
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
auth_advertise_hosts = *
acl_smtp_rcpt = acl_rcpt
keep_environment =
begin acl
acl_rcpt:
  accept authenticated = *
  deny message = log in first
begin routers
drop:
  driver = redirect
  data = :blackhole:
begin authenticators
"""
AUTHENTICATOR = """
{name}:
  driver = dovecot
  public_name = {mechanism}
  server_socket = {socket}
  server_set_id = $auth1
"""
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")


@pytest.fixture(scope="module")
def exim(server, tmp_path_factory):  # noqa: F811
    home = tmp_path_factory.mktemp("exim")
    for directory in (home, *home.parents[:2]):
        directory.chmod(0o755)
    download = subprocess.run(["apt-get", "download", "-q", "exim4-daemon-heavy"], cwd=home, capture_output=True,
                              text=True, check=False)
    packages = list(home.glob("*.deb"))
    if not packages:
        pytest.skip(f"Exim's package cannot be had: {download.stderr}")
    run(home, "dpkg", "-x", packages[0], home / "files")
    for name in ("spool", "log"):
        (home / name).mkdir()
        (home / name).chmod(0o777)
    for name, line in (("passwd", "Debian-exim:x:65534:65534::/nonexistent:/bin/false\n"),
                       ("group", "Debian-exim:x:65533:\n")):
        with open(f"/etc/{name}") as system:
            (home / name).write_text(system.read() + line)
    port = free_ports(1)[0]
    conf = home / "conf"
    conf.write_text(CONFIGURATION.format(home=home, port=port) + "".join(
        AUTHENTICATOR.format(name=mechanism.lower().replace("-", "_"), mechanism=mechanism, socket=server.place)
        for mechanism in MECHANISMS))
    conf.chmod(0o644)
    with open(home / "output", "w") as output:
        daemon = subprocess.Popen(
            ["unshare", "-m", "sh", "-c",
             f"mount --bind {home}/passwd /etc/passwd && mount --bind {home}/group /etc/group && exec "
             f"{home}/files/usr/sbin/exim4 -C {conf} -bdf"], stdout=output, stderr=output)
    try:
        wait_until(lambda: can_connect(port) or daemon.poll() is not None, what="Exim listens")
        assert daemon.poll() is None, (home / "output").read_text()
        yield home, port
    finally:
        daemon.terminate()
        daemon.wait()


def swaks(exim, mechanism, user=USER, password=PASSWORD, status=0):
    home, port = exim
    return run(home, "swaks", "--server", "127.0.0.1", "--port", port, "--from", USER, "--to", "dave@peer.test",
               "--auth", mechanism, "--auth-user", user, "--auth-password", password, status=status).stdout.decode()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_exim(exim, mechanism):
    assert "235 Authentication succeeded" in swaks(exim, mechanism)
    name = mechanism.lower().replace("-", "_")
    wait_until(lambda: f"A={name}:{USER}" in (exim[0] / "log" / "mainlog").read_text(), what="Exim knows who it was")


@pytest.mark.parametrize("user, password", [
    (USER, "wrong"), ("nobody@example.test", PASSWORD), ("gone@example.test", PASSWORD)])
def test_exim_refuses(exim, user, password):
    for mechanism in ("PLAIN", "CRAM-MD5"):
        assert "535 Incorrect authentication data" in swaks(exim, mechanism, user, password, status=28)
