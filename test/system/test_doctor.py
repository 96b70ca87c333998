# SPDX-License-Identifier: MIT
"""roostctl doctor: every kind of finding, against a DNS server and certificates made for it."""

import contextlib
import shutil
import subprocess

import psycopg2
import pytest
from peers import Nsd
from roost_instance import BUILD, free_ports, wait_until


def findings(roost, *options, status=None):
    code, result, _ = roost.ctl("doctor", *options, check=False)
    assert status is None or code == status, result
    assert bool(result["errors"]) == (code == 1)
    return result["findings"]


def find(rows, check, text, level=None):
    found = [r for r in rows if r["check"] == check and text in r["finding"]]
    assert found, "\n".join(f"{r['level']} {r['check']} {r['finding']}" for r in rows)
    if level:
        assert found[0]["level"] == level
        assert level == "ok" or level == "note" or found[0]["remedy"]
    return found[0]


GOOD_ZONE = """
mail.good IN A 203.0.113.5
good IN MX 10 mail.good
good IN TXT "v=spf1 mx -all"
_dmarc.good IN TXT "v=DMARC1; p=none"
sel._domainkey.good IN TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS" "/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
poor IN MX 10 elsewhere.good
poor IN TXT "v=spf1 -all"
poor IN TXT "v=spf1 mx -all"
sel._domainkey.poor IN TXT "v=DKIM1; p="
nomail IN MX 0 .
srs IN MX 10 mail.good
"""


@pytest.fixture(scope="module")
def nsd():
    server = Nsd(free_ports(1)[0], GOOD_ZONE)
    yield server
    server.close()


@pytest.fixture
def roost(make_instance, nsd):
    return make_instance(domain=None, users=(), settings={
        "hostname": "mail.good.test", "dns_resolvers": [f"127.0.0.1@{nsd.port}"]})


def test_the_domain_of_forwarded_mail(make_instance, nsd, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.write_text("one\n")
    for path in (tmp_path, *tmp_path.parents[:2]):  # the daemons read it as another user
        path.chmod(0o755)
    roost = make_instance(domain=None, users=(), settings={
        "hostname": "mail.good.test", "dns_resolvers": [f"127.0.0.1@{nsd.port}"], "srs_domain": "srs.test",
        "srs_secrets": secrets})
    rows = findings(roost)
    find(rows, "dns", "srs.test has MX mail.good.test", "ok")
    find(rows, "dns", "srs.test has no SPF record", "warning")


def test_dns(roost):
    for domain in ("good.test", "poor.test", "nomail.test", "nothing.test"):
        roost.ctl("domain", "add", domain)
    rows = findings(roost, "--dkim-selector", "sel", status=1)
    find(rows, "dns", "good.test has MX mail.good.test", "ok")
    find(rows, "dns", "good.test has SPF: v=spf1 mx -all", "ok")
    find(rows, "dns", "_dmarc.good.test: v=DMARC1; p=none", "ok")
    find(rows, "dns", "sel._domainkey.good.test has a key", "ok")
    find(rows, "dns", "poor.test has MX elsewhere.good.test, and none is mail.good.test", "warning")
    find(rows, "dns", "poor.test has 2 SPF records", "error")
    find(rows, "dns", "_dmarc.poor.test: there is no DMARC record", "warning")
    find(rows, "dns", "sel._domainkey.poor.test has no DKIM key", "error")
    find(rows, "dns", "nomail.test says that it takes no mail", "error")
    find(rows, "dns", "nothing.test has no MX record", "error")
    find(rows, "dns", "nothing.test has no SPF record", "warning")


def test_no_resolver(make_instance):
    roost = make_instance(settings={"dns_resolvers": [f"127.0.0.1@{free_ports(1)[0]}"]})
    rows = findings(roost, status=1)
    assert len([r for r in rows if r["check"] == "dns" and r["level"] == "error"]) == 1
    find(rows, "dns", "no answer about mail.example.test", "error")


def test_healthy_instance(make_instance):
    roost = make_instance()
    rows = findings(roost, "--no-dns")
    find(rows, "services", "13 services answer", "ok")
    find(rows, "database", "the sqlite database answers", "ok")
    find(rows, "database", "1 domains", "ok")
    find(rows, "ports", "9 listeners take connections", "ok")
    find(rows, "certificate", "it is self-signed", "warning")
    find(rows, "certificate", "it is for mail.example.test", "ok")
    find(rows, "permissions", f"mail_dir {roost.state}/mail", "ok")
    find(rows, "disk", "MB free", "ok")
    find(rows, "dns", "not looked at", "note")
    for check in ("inotify", "kernel", "clock"):
        assert any(r["check"] == check for r in rows)
    text = subprocess.run([BUILD / "roostctl", "-c", roost.conf, "doctor", "--no-dns"], capture_output=True, text=True)
    assert "ok       services     13 services answer\n" in text.stdout
    assert "warning  certificate  it is self-signed" in text.stdout and "-> get one of an authority" in text.stdout
    assert text.stdout.endswith(" warnings\n")


def test_changes_in_the_database(make_instance):
    roost = make_instance("postgresql")

    def auth():
        return next(s for s in roost.ctl("status") if "lookups_remembered" in s)

    wait_until(lambda: auth()["lookups_remembered"], what="roost-auth listens")
    find(findings(roost), "database", "changes in the database itself are heard of", "ok")
    with contextlib.closing(psycopg2.connect(roost.settings["postgresql"])) as connection:
        connection.autocommit = True
        connection.cursor().execute("DROP TRIGGER roost_directory_changed ON alias")
        wait_until(lambda: not auth()["lookups_remembered"], what="the loss is seen")
        find(findings(roost), "database", "the database is asked for each recipient", "note")


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def certificate(directory, name, days, key="key.pem", sign_with=None):
    openssl("req", "-x509" if not sign_with else "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", directory / key, "-out", directory / ("cert.pem" if not sign_with else "req.pem"),
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", *(["-days", days] if not sign_with else []))
    if sign_with:
        ca_cert, ca_key = sign_with
        openssl("x509", "-req", "-in", directory / "req.pem", "-CA", ca_cert, "-CAkey", ca_key, "-CAcreateserial",
                "-days", days, "-out", directory / "cert.pem")


def test_certificates(make_instance, tmp_path):
    roost = make_instance()
    roost.settings["tls_cert"], roost.settings["tls_key"] = tmp_path / "cert.pem", tmp_path / "key.pem"
    roost.write_conf()

    def rows():
        return findings(roost, "--no-dns", status=1)

    find(rows(), "certificate", "No such file", "error")
    certificate(tmp_path, "mail.example.test", 5)
    found = findings(roost, "--no-dns")
    find(found, "certificate", "expires on", "warning")
    certificate(tmp_path, "other.example", 90)
    find(rows(), "certificate", "is not for mail.example.test", "error")
    shutil.copy(tmp_path / "key.pem", tmp_path / "old.pem")
    certificate(tmp_path, "mail.example.test", 90)
    shutil.move(tmp_path / "old.pem", tmp_path / "key.pem")
    find(rows(), "certificate", "is not the key of the certificate", "error")
    certificate(tmp_path, "mail.example.test", 90)
    (tmp_path / "key.pem").chmod(0o644)
    find(rows(), "certificate", "can be read by every user", "error")
    # Signed by somebody whom this machine does not know, without the certificates between.
    authority = tmp_path / "ca"
    authority.mkdir()
    certificate(authority, "Some authority", 90)
    certificate(tmp_path, "mail.example.test", 90, sign_with=(authority / "cert.pem", authority / "key.pem"))
    find(rows(), "certificate", "the chain has a gap", "error")
    (tmp_path / "cert.pem").write_text("rubbish\n")
    find(rows(), "certificate", "holds no certificate", "error")


def test_what_is_down_and_what_is_open(make_instance):
    roost = make_instance()
    (roost.state / "mail").chmod(0o777)
    roost.conf.chmod(0o644)
    rows = findings(roost, "--no-dns", status=1)
    find(rows, "permissions", "everybody can write in mail_dir", "error")
    (roost.state / "mail").chmod(0o700)
    roost.stop()
    rows = findings(roost, "--no-dns", status=1)
    find(rows, "services", "Roost is not running", "error")
    assert not any(r["check"] == "ports" for r in rows)
    shutil.rmtree(roost.state / "queue")
    find(findings(roost, "--no-dns", status=1), "permissions", "queue_dir", "error")
