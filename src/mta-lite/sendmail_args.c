/* SPDX-License-Identifier: MIT */
#include "mta-lite/sendmail.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/address.h"
#include "mail/header.h"

/* Options with a value that mean something elsewhere; the value is dropped. */
static const char valued_and_ignored[] = "ABFhLoOprX";

static enum err
set_mode(const char *value, struct sendmail *out)
{
	switch (value[0]) {
	case 'm':
		out->mode = SENDMAIL_DELIVER;
		return OK;
	case 's':
		out->mode = SENDMAIL_SMTP;
		return OK;
	case 'p':
		out->mode = SENDMAIL_QUEUE;
		return OK;
	case 'i':
		out->mode = SENDMAIL_ALIASES;
		return OK;
	default:
		return E_PARSE;
	}
}

/* One option with a value. */
static enum err
set_value(char letter, const char *value, struct sendmail *out)
{
	switch (letter) {
	case 'b':
		return set_mode(value, out);
	case 'C':
		out->config = value;
		return OK;
	case 'f':
	case 'r':
		out->sender = value;
		return OK;
	case 'N':
		return dsn_notify_parse(str_of(value), &out->notify);
	case 'R':
		return dsn_ret_parse(str_of(value), &out->ret);
	case 'V':
		out->envid = value;
		return OK;
	case 'o':
		if (strcmp(value, "i") == 0)
			out->dot_is_text = 1;
		return OK;
	default:
		return OK;
	}
}

enum err
sendmail_args(int argc, char **argv, struct sendmail *out, const char **wrong)
{
	const char *name = strrchr(argv[0], '/');
	int i;

	memset(out, 0, sizeof(*out));
	name = name ? name + 1 : argv[0];
	if (strcmp(name, "mailq") == 0)
		out->mode = SENDMAIL_QUEUE;
	else if (strcmp(name, "newaliases") == 0)
		out->mode = SENDMAIL_ALIASES;
	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		char letter = argv[i][1];
		const char *value = argv[i] + 2;

		*wrong = argv[i];
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		if (letter == 't' && !*value) {
			out->from_header = 1;
		} else if ((letter == 'i' || letter == 'U' || letter == 'n' || letter == 'v' ||
				   letter == 'm' || letter == 'G') &&
			   !*value) {
			out->dot_is_text |= letter == 'i';
		} else if (letter == 't' && strcmp(value, "i") == 0) {
			out->from_header = out->dot_is_text = 1;
		} else if (letter == 'q') {
			out->flush = 1;
		} else if (strchr("bCfrNRV", letter) || strchr(valued_and_ignored, letter)) {
			if (!*value) {
				if (++i == argc)
					return E_PARSE;
				value = argv[i];
			}
			if (set_value(letter, value, out))
				return E_PARSE;
		} else {
			return E_PARSE;
		}
	}
	out->rcpts = argv + i;
	out->rcpt_count = (size_t)(argc - i);
	return OK;
}

static void
add_rcpts(struct str value, struct conf_list *rcpts)
{
	struct address_list list;
	struct buf text = {0};
	size_t i;

	address_parse_rfc822(value, 0, &list);
	for (i = 0; i < list.n; i++) {
		const struct address *a = &list.v[i];
		struct address plain = {.mailbox = a->mailbox, .host = a->host};

		if (a->kind != ADDRESS_MAILBOX || a->mailbox.len == 0)
			continue;
		buf_reset(&text);
		/* Quoted where it must be; without a name that gives local@host. */
		(void)address_format(&plain, &text);
		rcpts->items = mem_realloc(rcpts->items, rcpts->count + 1, sizeof(char *));
		rcpts->items[rcpts->count++] = mem_strdup(buf_cstr(&text));
	}
	buf_free(&text);
	address_list_free(&list);
}

void
sendmail_header(struct str header, struct conf_list *rcpts, struct buf *without_bcc)
{
	struct header_iter it = HEADER_ITER(header);
	struct header_field f;

	memset(rcpts, 0, sizeof(*rcpts));
	while (header_next(&it, &f)) {
		int bcc = str_is_i(f.name, "Bcc") || str_is_i(f.name, "Resent-Bcc");

		if (bcc || str_is_i(f.name, "To") || str_is_i(f.name, "Cc"))
			add_rcpts(f.value, rcpts);
		if (!bcc && !str_is_i(f.name, "Return-Path"))
			buf_add(without_bcc, header.p + f.off, f.len);
	}
	/* The empty line, and whatever stands behind it. */
	buf_add(without_bcc, header.p + it.pos, header.len - it.pos);
}
