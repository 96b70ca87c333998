# SPDX-License-Identifier: MIT
"""A directory without any domain, as an unmounted disk leaves it: nobody's mail comes back for that."""

import shutil
import smtplib


def say(port, rcpt, source="127.0.0.1", client=smtplib.SMTP):
    with client("127.0.0.1", port, source_address=(source, 0), timeout=60) as session:
        if client is smtplib.SMTP:
            session.ehlo("client.example")
        session.docmd("MAIL FROM:<a@example.org>")
        code, text = session.docmd(f"RCPT TO:<{rcpt}>")
        return code, text.decode()


class Lmtp(smtplib.LMTP):
    def __enter__(self):
        self.ehlo("client.example")
        return self


def test_no_domain_is_no_reason_for_a_bounce(make_instance):
    roost = make_instance(settings={"mynetworks": ["127.0.0.2/32"]})
    smtp, lmtp = roost.ports["smtp"], roost.ports["lmtp"]
    user = "alice@example.test"
    assert say(smtp, user)[0] == 250
    assert say(smtp, "x@elsewhere.example")[0] == 554
    # With the log of what was written last beside it.
    database = roost.state / "db"
    away = roost.dir / "away"
    roost.stop()
    database.rename(away)
    roost.start()
    for rcpt in (user, "x@elsewhere.example"):
        code, text = say(smtp, rcpt)
        assert code == 451 and "No domain is set up here" in text, text
        assert say(lmtp, rcpt, client=Lmtp)[0] == 451
    # A machine that only sends mail of its own needs no domain.
    assert say(smtp, "x@elsewhere.example", source="127.0.0.2")[0] == 250
    roost.stop()
    shutil.rmtree(database)
    away.rename(database)
    roost.start()
    assert say(smtp, user)[0] == 250
    assert say(lmtp, user, client=Lmtp)[0] == 250
    assert say(lmtp, "nobody@example.test", client=Lmtp)[0] == 550


def test_a_domain_of_this_machine_is_a_domain(make_instance):
    roost = make_instance(settings={"mynetworks": ["127.0.0.2/32"], "local_domains": ["local.test"]})
    smtp = roost.ports["smtp"]
    assert say(smtp, "alice@example.test")[0] == 250
    roost.stop()
    shutil.rmtree(roost.state / "db")
    roost.start()
    assert say(smtp, "x@elsewhere.example")[0] == 554
    assert say(smtp, "nobody@local.test")[0] == 550
