# SPDX-License-Identifier: MIT
"""A real Postfix and a real NSD of a test's own, on loopback."""

import contextlib
import mailbox
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from roost_instance import can_connect, wait_until

MAIN_CF = {
    "compatibility_level": "3.6",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "myhostname": "mx1.peer.test",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "maximal_backoff_time": "1s",
    "minimal_backoff_time": "1s",
    "queue_run_delay": "1s",
    "transport_retry_time": "1s",
    "smtpd_tls_security_level": "may",
    "smtpd_tls_received_header": "yes",
    "smtp_tls_security_level": "may",
    "lmtp_destination_recipient_limit": "10",
    "virtual_mailbox_domains": "peer.test, down.test, plain.test, late.test",
    "virtual_mailbox_maps": "inline:{"
        + ", ".join(f"{{ {user}@{domain} = {user}/ }}" for user in ("dave", "erin", "later")
                    for domain in ("peer.test", "down.test", "plain.test", "late.test")) + "}",
    "virtual_transport": "virtual",
    "virtual_minimum_uid": "1",
}


class Postfix:
    """Serves peer.test and others into Maildirs; takes example.test over to what transport() says."""

    def __init__(self, port):
        self.dir = Path(tempfile.mkdtemp(prefix="peer-postfix-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.port = port
        self.etc = self.dir / "etc"
        shutil.copytree("/etc/postfix", self.etc, symlinks=True)
        for name in ("queue", "data", "mail"):
            (self.dir / name).mkdir()
        shutil.chown(self.dir / "data", "postfix", "postfix")
        nobody = pwd.getpwnam("nobody")
        os.chown(self.dir / "mail", nobody.pw_uid, nobody.pw_gid)
        self.call("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mx1.peer.test",
                  "-keyout", self.dir / "key.pem", "-out", self.dir / "cert.pem")
        self.settings = {
            **MAIN_CF,
            "queue_directory": self.dir / "queue",
            "data_directory": self.dir / "data",
            "maillog_file": self.dir / "maillog",
            "maillog_file_prefixes": self.dir,
            "smtpd_tls_cert_file": self.dir / "cert.pem",
            "smtpd_tls_key_file": self.dir / "key.pem",
            "virtual_mailbox_base": self.dir / "mail",
            "virtual_uid_maps": f"static:{nobody.pw_uid}",
            "virtual_gid_maps": f"static:{nobody.pw_gid}",
        }
        self.write()
        master = Path("/usr/share/postfix/master.cf.dist").read_text().splitlines()
        lines = [line.replace("  y       ", "  n       ") for line in master
                 if not line.startswith("smtp      inet")]
        lines.insert(0, f"127.0.0.1:{port} inet n - n - 100 smtpd")
        lines.insert(1, f"127.0.0.2:{port} inet n - n - 100 smtpd -o myhostname=mx2.peer.test")
        (self.etc / "master.cf").write_text("\n".join(lines) + "\n")
        self.start()

    @staticmethod
    def call(*command):
        result = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout

    def write(self):
        (self.etc / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in self.settings.items()))

    def configure(self, **settings):
        """Sets what is given, unsets what is None, and has Postfix take it."""
        for name, value in settings.items():
            if value is None:
                self.settings.pop(name, None)
            else:
                self.settings[name] = value
        self.write()
        self.call("postfix", "-c", self.etc, "reload")

    def transport(self, domain, nexthop):
        self.configure(relay_domains=domain, transport_maps=f"inline:{{ {{ {domain} = {nexthop} }} }}")

    def start(self):
        self.call("postfix", "-c", self.etc, "start")
        wait_until(lambda: can_connect(self.port), what="Postfix listens")

    def stop(self):
        self.call("postfix", "-c", self.etc, "stop")
        wait_until(lambda: not can_connect(self.port), what="Postfix stopped")

    def flush(self):
        """What is deferred is tried now."""
        self.call("postfix", "-c", self.etc, "flush")

    def log(self):
        return (self.dir / "maillog").read_text(errors="replace")

    def log_tail(self, lines=60):
        return "\n".join(self.log().splitlines()[-lines:])

    def queue_is_empty(self):
        return not any(files for name in ("maildrop", "incoming", "active", "deferred")
                       for _, _, files in os.walk(self.dir / "queue" / name))

    def messages(self, user):
        """What lies in a user's Maildir."""
        try:
            return list(mailbox.Maildir(self.dir / "mail" / user, create=False))
        except (FileNotFoundError, mailbox.NoSuchMailboxError):  # Postfix makes it, piece by piece, for the first message
            return []

    def wait_for_message(self, user, subject):
        def find():
            return [m for m in self.messages(user) if subject in str(m["Subject"])]

        return wait_until(find, what=f"{subject!r} arrives at {user}")[0]

    def close(self):
        with contextlib.suppress(AssertionError):
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


NSD_CONF = """
server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{dir}"
  pidfile: "{dir}/pid"
  xfrdfile: "{dir}/xfrd"
  zonelistfile: "{dir}/zones"
  logfile: "{dir}/log"
  xfrdir: "{dir}"
  database: ""
  hide-version: yes
remote-control:
  control-enable: no
zone:
  name: "test"
  zonefile: "zone"
"""


class Nsd:
    """Serves records, given as zone file lines below test., to Roost's resolver; signed: with DNSSEC."""

    def __init__(self, port, records, signed=False, spoil=None):
        self.dir = Path(tempfile.mkdtemp(prefix="peer-nsd-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.port = port
        (self.dir / "zone").write_text(
            "$ORIGIN test.\n$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 1\n@ IN NS ns\nns IN A 127.0.0.1\n"
            + records)
        if signed:
            self.sign(spoil)
        (self.dir / "nsd.conf").write_text(NSD_CONF.format(port=port, dir=self.dir))
        self.process = subprocess.Popen(["/usr/sbin/nsd", "-d", "-c", self.dir / "nsd.conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        wait_until(lambda: can_connect(port) or self.process.poll() is not None, what="NSD answers")
        assert self.process.poll() is None, (self.dir / "log").read_text()

    def sign(self, spoil):
        """Signs the zone; anchor is the file to trust. spoil(text) changes the zone behind its signatures."""
        def call(*command):
            return subprocess.run([str(c) for c in command], cwd=self.dir, check=True, capture_output=True,
                                  text=True).stdout.strip()

        key = call("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "test")
        call("ldns-signzone", "-f", "zone.signed", "zone", key)
        text = (self.dir / "zone.signed").read_text()
        (self.dir / "zone").write_text(spoil(text) if spoil else text)
        self.anchor = self.dir / f"{key}.ds"
        self.anchor.chmod(0o644)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)
