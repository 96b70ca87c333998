/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SENDMAIL_H
#define ROOST_MTA_SENDMAIL_H

#include "lib/conf.h"
#include "mta-lite/dsn.h"
#include "mta-lite/spool.h"

/* The command `sendmail`, as programs have expected it for forty years. */

enum sendmail_mode { SENDMAIL_DELIVER, SENDMAIL_SMTP, SENDMAIL_QUEUE, SENDMAIL_ALIASES };

struct sendmail {
	enum sendmail_mode mode;
	const char *config; /* -C; borrowed from argv, like all text here */
	const char *sender; /* -f; NULL: who runs it */
	int from_header; /* -t */
	int dot_is_text; /* -i, -oi */
	int flush; /* -q */
	unsigned notify; /* -N */
	enum dsn_ret ret; /* -R */
	const char *envid; /* -V */
	char **rcpts;
	size_t rcpt_count;
	struct conf_list header_rcpts; /* -t: on the heap */
};

/* E_PARSE: *wrong is the option. */
enum err sendmail_args(int argc, char **argv, struct sendmail *out, const char **wrong);

/*
 * Takes the recipients out of a header's To, Cc and Bcc; *without_bcc is the header without Bcc
 * fields (and without Return-Path, which is not the sender's to write).
 */
void sendmail_header(struct str header, struct conf_list *rcpts, struct buf *without_bcc);

/* The queue for people. Exit status. */
int sendmail_print_queue(const struct config *conf);
/* newaliases: says what is wrong in the files of alias_maps. Exit status. */
int sendmail_check_aliases(const struct config *conf);

#endif
