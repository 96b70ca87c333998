/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/smtpd_limit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/queue_store.h"
#include "mta-lite/smtpd_notice.h"
#include "mta-lite/submission_limit.h"

/* What a session knows of it. */
struct smtpd_limit {
	struct submission_limit *store;
	int failed;
	uint64_t taken; /* of the message that is under way */
};

enum err
smtpd_limit_open(const struct config *conf)
{
	/* Always: a limit may be set while the daemon runs. */
	char *dir = submission_limit_dir(conf);
	enum err e = queue_store_make_dir(conf, dir);

	if (e)
		log_event(LOGL_ERROR, "submission_limit.setup failed", "path", dir, "error",
			err_text(e), NULL);
	free(dir);
	return e;
}

void
smtpd_limit_sandbox(const struct config *conf, struct sandbox *sb)
{
	char *dir = submission_limit_dir(conf);

	sandbox_allow_path(sb, dir, SANDBOX_READ | SANDBOX_WRITE);
	free(dir);
}

void
smtpd_limit_stop(struct smtpd *d)
{
	if (d->limit == NULL)
		return;
	submission_limit_close(&d->limit->store);
	MEM_FREE(d->limit);
}

/* NULL: there is nothing to count. */
static struct submission_limit *
store_of(struct smtpd *d, struct submission_limits *limits)
{
	*limits = submission_limits_of(d->conf);
	if (d->user == NULL || !submission_limits_any(limits))
		return NULL;
	if (d->limit == NULL)
		d->limit = MEM_NEW(struct smtpd_limit);
	if (d->limit->store == NULL && !d->limit->failed)
		d->limit->failed = submission_limit_open(d->conf, &d->limit->store) != OK;
	return d->limit->store;
}

static int
holds(const struct smtpd *d)
{
	return strcmp(d->conf->submission_limit_action, "hold") == 0;
}

static const char *
period_text(enum submission_period p)
{
	return p == SUBMISSION_HOUR ? "hour" : "day";
}

/* ---- the notice ---- */

/* An address as a shell takes it: what means something to it is left for the reader to write. */
static const char *
shell_word(const char *address)
{
	size_t i;

	if (address[0] == '\0')
		return "'<>'";
	for (i = 0; address[i]; i++) {
		if (!str_is_alnum(address[i]) && !strchr("@._+-=", address[i]))
			return "ADDRESS";
	}
	return address;
}

static void
write_notice(struct smtpd *d, const struct submission_over *over, struct buf *out)
{
	const char *period = period_text(over->period);
	const char *sender = shell_word(d->t.mail.from.address), *user = shell_word(d->user);

	buf_printf(out,
		"%s has reached the limit of %llu recipients in one %s on\r\n"
		"%s. Either somebody has much to say, or somebody else has\r\n"
		"the password.\r\n\r\n",
		d->user, (unsigned long long)over->most, period, smtp_hostname(d->conf));
	buf_printf(out,
		"Sent to in the last hour:       %llu\r\n"
		"Sent to in the last day:        %llu\r\n"
		"Wanted now:                     %u\r\n"
		"Last client:                    %s[%s]\r\n"
		"Last sender address:            <%s>\r\n\r\n",
		(unsigned long long)over->use.count[SUBMISSION_HOUR],
		(unsigned long long)over->use.count[SUBMISSION_DAY], d->t.rcpt_count, d->helo,
		d->peer_ip, d->t.mail.from.address);
	if (holds(d))
		buf_printf(out,
			"What is over the limit is kept in the queue. This shows it, and lets it\r\n"
			"go on or removes it:\r\n\r\n"
			"    roostctl queue list --queue hold --sender %s\r\n"
			"    roostctl queue release --sender %s\r\n"
			"    roostctl queue delete --queue hold --sender %s\r\n\r\n",
			sender, sender, sender);
	else
		buf_add_cstr(out, "What is over the limit is refused until later.\r\n\r\n");
	buf_printf(out,
		"This lets %s send again at once:\r\n\r\n"
		"    roostctl limit reset %s\r\n\r\n"
		"There is one such notice for a user in each %s.\r\n",
		d->user, user, period);
}

static void
give_notice(struct smtpd *d, const struct submission_over *over)
{
	struct smtpd_notice notice = {
		.to = d->conf->submission_limit_notice_recipient, .origin = "submission limit"};
	struct buf subject = {0}, text = {0};
	char id[QUEUE_ID_SIZE];
	enum err e;

	if (notice.to[0] == '\0')
		return;
	buf_printf(&subject, "Sending limit reached: %s", d->user);
	write_notice(d, over, &text);
	notice.subject = buf_cstr(&subject);
	notice.text = buf_str(&text);
	e = smtpd_notice_send(d, &notice, id);
	if (e == OK) {
		log_event(LOGL_INFO, "submission_limit.notice queued", "queue_id", id, "to",
			notice.to, "user", d->user, NULL);
	} else {
		log_event(LOGL_WARN, "submission_limit.notice failed", "to", notice.to, "user",
			d->user, "error", err_text(e), NULL);
		if (e != E_NOTFOUND)
			submission_limit_renotice(
				d->limit->store, d->user, over->period, (int64_t)time(NULL));
	}
	buf_free(&subject);
	buf_free(&text);
}

/* ---- over the limit ---- */

static void
tell(struct smtpd *d, const struct submission_over *over, uint64_t n)
{
	const char *action = holds(d) ? "held" : "rejected";

	metrics_add_labels(METRIC_SUBMISSION_LIMITED, n, action, NULL);
	log_event(LOGL_WARN, "submission_limit.over", "user", d->user, "ip", d->peer_ip, "period",
		period_text(over->period), "limit", log_u64(over->most), "rcpts", log_u64(n),
		"action", action, NULL);
	if (over->notice)
		give_notice(d, over);
}

static const char *
refusal(struct smtpd *d, const struct submission_over *over)
{
	unsigned long long most = (unsigned long long)over->most;
	const char *period = period_text(over->period);
	int64_t minutes = (over->wait_s + 59) / 60;

	buf_reset(&d->verdict);
	if (over->never)
		buf_printf(&d->verdict,
			"550 5.7.1 More recipients than the %llu that you may send to in one %s",
			most, period);
	else
		buf_printf(&d->verdict,
			"450 4.7.1 You may send to %llu recipients in one %s; try again in %lld "
			"minute%s",
			most, period, (long long)minutes, minutes == 1 ? "" : "s");
	return buf_cstr(&d->verdict);
}

const char *
smtpd_limit_rcpt(struct smtpd *d)
{
	struct submission_limits limits;
	struct submission_limit *l = store_of(d, &limits);
	struct submission_over over;

	if (l == NULL || holds(d) ||
		submission_limit_ask(l, d->user, d->t.rcpt_count, 1, &limits, (int64_t)time(NULL),
			&over) != E_QUOTA)
		return NULL;
	tell(d, &over, 1);
	return refusal(d, &over);
}

const char *
smtpd_limit_take(struct smtpd *d)
{
	struct submission_limits limits;
	struct submission_limit *l = store_of(d, &limits);
	uint64_t n = d->t.rcpt_count;
	struct submission_over over;
	enum err e;

	if (l == NULL)
		return NULL;
	d->limit->taken = 0;
	e = submission_limit_take(l, d->user, n, &limits, (int64_t)time(NULL), &over);
	if (e == OK)
		d->limit->taken = n;
	if (e != E_QUOTA)
		return NULL;
	tell(d, &over, n);
	if (!holds(d))
		return refusal(d, &over);
	if (d->t.effects.hold == NULL)
		d->t.effects.hold = mem_strdup("submission limit");
	return NULL;
}

void
smtpd_limit_return(struct smtpd *d)
{
	if (d->limit == NULL || d->limit->taken == 0)
		return;
	submission_limit_return(d->limit->store, d->user, d->limit->taken, (int64_t)time(NULL));
	d->limit->taken = 0;
}
