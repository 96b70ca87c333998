/* SPDX-License-Identifier: MIT */
#include "imap/limit.h"

#include <inttypes.h>
#include <stdio.h>

enum { CODE_MAX = 64 };

static uint32_t
of_setting(int64_t n)
{
	return n > 0 && n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

uint32_t
imap_limit_of_messages(const struct config *conf)
{
	return of_setting(conf->imap_message_limit);
}

uint32_t
imap_limit_of_saving(const struct config *conf)
{
	return of_setting(
		conf->imap_message_limit ? conf->imap_message_limit : conf->imap_save_limit);
}

/* Section 3: the one in the place of the other. */
void
imap_limit_capability(const struct config *conf, struct buf *out)
{
	if (conf->imap_message_limit)
		(void)buf_printf(out, " MESSAGELIMIT=%" PRIu32, imap_limit_of_messages(conf));
	else if (conf->imap_save_limit)
		(void)buf_printf(out, " SAVELIMIT=%" PRIu32, imap_limit_of_saving(conf));
}

void
imap_limit_cut(
	const struct index_view *view, struct numset *seqs, uint32_t max, struct imap_limit *out)
{
	*out = (struct imap_limit){0};
	if (numset_size(seqs) <= max)
		return;
	numset_keep_last(seqs, max);
	out->messages = max;
	out->last_uid = index_view_uid(view, seqs->ranges[0].first);
}

static void
code_write(const struct imap_limit *limit, char code[CODE_MAX])
{
	int n = snprintf(code, CODE_MAX, "MESSAGELIMIT %" PRIu32, limit->messages);

	if (limit->last_uid)
		(void)snprintf(code + n, CODE_MAX - (size_t)n, " %" PRIu32, limit->last_uid);
}

enum err
imap_limit_reply_ok(
	struct imap_session *s, const struct imap_limit *limit, const char *code, const char *text)
{
	char own[CODE_MAX];

	if (!limit->messages)
		return imap_reply_ok(s, code, text);
	code_write(limit, own);
	if (!code)
		return imap_reply_ok(s, own, "Completed for the last messages only");
	imap_untagged(s, "NO [%s] Completed for the last messages only", own);
	return imap_reply_ok(s, code, text);
}

enum err
imap_limit_reply_no(struct imap_session *s, const struct imap_limit *limit)
{
	char code[CODE_MAX];

	code_write(limit, code);
	return imap_reply_no(s, code, "Too many messages, try a smaller subset");
}
