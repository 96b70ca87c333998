/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_rules.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/ipc.h"
#include "lib/log.h"
#include "lib/net.h"
#include "mta-lite/job.h"
#include "mta-lite/queue_file.h"

/* ETRN (RFC 1985): a client has the queue tried for a domain. roost-qmgr does it. */

/* qmgr answers after five seconds, whatever it has found by then. */
enum { ETRN_WAIT_MS = 20 * 1000, DOMAIN_MAX = 253, LABEL_MAX = 63 };

/* A complete name (RFC 1985 section 5): letters, digits and hyphens, and not one label alone. */
static int
is_domain(struct str name)
{
	size_t i, label = 0, labels = 0;

	if (name.len == 0 || name.len > DOMAIN_MAX)
		return 0;
	for (i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (c == '.') {
			if (label == 0 || name.p[i - 1] == '-')
				return 0;
			labels++;
			label = 0;
		} else if ((!str_is_alnum(c) && c != '-' && c != '_') || (c == '-' && label == 0) ||
			   ++label > LABEL_MAX) {
			return 0;
		}
	}
	return labels > 0 && label > 0 && name.p[name.len - 1] != '-';
}

/* E_IO and others: qmgr is not there. E_TIMEOUT: it is at it. */
static enum err
ask_qmgr(
	struct smtpd *d, const char *domain, int below, enum qmgr_etrn_answer *out, uint32_t *count)
{
	char *path = conf_run_path(d->conf, "qmgr");
	struct ipc_msg msg = {0};
	struct ipc_reader r;
	struct buf body = {0};
	enum err e;
	int fd;

	*count = 0;
	*out = QMGR_ETRN_STARTED;
	e = net_connect_unix(path, 1000, &fd);
	free(path);
	if (e)
		return e;
	ipc_put_cstr(&body, domain);
	ipc_put_u8(&body, (uint8_t)below);
	e = ipc_send(fd, QMGR_ETRN, 1, buf_str(&body), NULL, 0, 1000);
	buf_free(&body);
	if (e == OK)
		e = ipc_recv(fd, &msg, ETRN_WAIT_MS);
	if (e == OK) {
		r = ipc_reader_of(buf_str(&msg.body));
		*out = (enum qmgr_etrn_answer)ipc_get_u8(&r);
		*count = ipc_get_u32(&r);
		e = msg.type == QMGR_ETRN ? ipc_reader_end(&r) : E_PROTO;
	}
	ipc_msg_free(&msg);
	close(fd);
	return e == E_TIMEOUT ? OK : e;
}

/* What stands behind the code of a refusal. */
static const char *
reason_of(const char *refusal)
{
	struct str text = str_of(refusal);
	char dsn[DSN_CODE_SIZE];

	if (text.len > 4 && str_is_digit(text.p[0]))
		text = str_make(text.p + 4, text.len - 4);
	(void)dsn_code_cut(&text, dsn);
	return text.p;
}

static void
flush(struct smtpd *d, struct str node, const char *domain, int below)
{
	enum qmgr_etrn_answer answer;
	uint32_t count;
	enum err e = ask_qmgr(d, domain, below, &answer, &count);

	log_event(e ? LOGL_WARN : LOGL_INFO, e ? "smtpd.etrn failed" : "smtpd.etrn ok", "ip",
		d->peer_ip, "domain", domain, "messages", log_u64(count), "error",
		e ? err_word(e) : NULL, NULL);
	if (e || answer == QMGR_ETRN_BUSY)
		smtpd_reply(d, "458 4.3.0 Unable to queue messages for node %.*s", STR_ARG(node));
	else if (answer == QMGR_ETRN_STARTED)
		smtpd_reply(d, "250 2.0.0 OK, queuing for node %.*s started", STR_ARG(node));
	else if (answer == QMGR_ETRN_PENDING)
		smtpd_reply(
			d, "252 2.0.0 OK, pending messages for node %.*s started", STR_ARG(node));
	else if (count == 0)
		smtpd_reply(d, "251 2.0.0 OK, no messages waiting for node %.*s", STR_ARG(node));
	else
		smtpd_reply(d, "253 2.0.0 OK, %u pending messages for node %.*s started",
			(unsigned)count, STR_ARG(node));
}

void
smtpd_etrn(struct smtpd *d, struct str args)
{
	struct str name = args;
	const char *refusal;
	char *domain;
	int below;

	/* Each one makes work. */
	if (++d->junk > SMTPD_JUNK_MAX)
		d->errors++;
	if (d->kind != SMTPD_MX) {
		smtpd_reply(d, "502 5.5.1 ETRN is not for this port");
		return;
	}
	if (d->helo[0] == '\0' && d->conf->smtpd_helo_required) {
		smtpd_reply(d, "503 5.5.1 Say HELO or EHLO first");
		return;
	}
	if (d->t.open) {
		smtpd_reply(d, "503 5.5.1 Not within a mail transaction");
		return;
	}
	if (args.len == 0) {
		smtpd_reply(d, "500 5.5.2 Syntax: ETRN domain");
		return;
	}
	below = args.p[0] == '@';
	if (below || args.p[0] == '#')
		name = str_make(args.p + 1, args.len - 1);
	if (!is_domain(name)) {
		smtpd_reply(d, "501 5.5.4 Syntax error in the domain");
		return;
	}
	/* Section 5.3: queues by other names are a local matter; there are none. */
	if (args.p[0] == '#') {
		smtpd_reply(d, "458 4.3.0 Unable to queue messages for node %.*s", STR_ARG(args));
		return;
	}
	domain = str_dup(name);
	refusal = smtpd_rules_etrn(d, domain);
	if (refusal) {
		log_event(LOGL_INFO, "smtpd.reject", "ip", d->peer_ip, "helo", d->helo, "domain",
			domain, "reply", refusal, NULL);
		smtpd_reply(d, "459 4.7.1 Node %.*s not allowed: %s", STR_ARG(args),
			reason_of(refusal));
	} else {
		flush(d, args, domain, below);
	}
	free(domain);
}
