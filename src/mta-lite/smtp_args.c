/* SPDX-License-Identifier: MIT */
#include "mta-lite/smtp_args.h"

#include <string.h>
#include <time.h>

static const char syntax_mail[] = "501 5.5.4 Syntax: MAIL FROM:<address>";
static const char syntax_rcpt[] = "501 5.5.4 Syntax: RCPT TO:<address>";
static const char bad_parameter[] = "501 5.5.4 Bad parameter";
static const char unknown_parameter[] = "555 5.5.4 Unsupported parameter";

/* Skips "FROM:" or "TO:"; blanks behind the colon are a common fault of clients, and harmless. */
static int
cut_keyword(struct str *s, const char *keyword)
{
	size_t len = strlen(keyword);

	*s = str_trim(*s);
	if (!str_starts_i(*s, keyword))
		return 0;
	*s = str_trim(str_make(s->p + len, s->len - len));
	return 1;
}

/* The next parameter: name and, when there is "=", a value. 0 at the end. */
static int
next_parameter(struct str *s, struct str *name, struct str *value)
{
	size_t end, equal;

	while (s->len > 0 && s->p[0] == ' ')
		*s = str_make(s->p + 1, s->len - 1);
	if (s->len == 0)
		return 0;
	end = str_find(*s, 0, ' ');
	*name = str_make(s->p, end);
	*s = str_make(s->p + end, s->len - end);
	equal = str_find(*name, 0, '=');
	*value = (struct str){NULL, 0};
	if (equal < name->len) {
		*value = str_make(name->p + equal + 1, name->len - equal - 1);
		name->len = equal;
	}
	return 1;
}

/* The replies of one command about its path; for those beyond ASCII see RFC 6531 section 3.5. */
struct path_replies {
	const char *syntax, *utf8;
};
#define NEEDS_UTF8 " 5.6.7 Address beyond ASCII without SMTPUTF8, or not UTF-8"
static const struct path_replies mail_replies = {syntax_mail, "550" NEEDS_UTF8};
static const struct path_replies rcpt_replies = {syntax_rcpt, "553" NEEDS_UTF8};

static const char *
path_reject(enum err e, const struct path_replies *replies)
{
	if (e == E_TOOBIG)
		return "501 5.1.7 Address too long";
	return e == E_UNSUPPORTED ? replies->utf8 : replies->syntax;
}

static enum err
copy_out(struct buf *text, char *out, size_t size)
{
	enum err e = text->err;

	if (e == OK && text->len >= size)
		e = E_TOOBIG;
	if (e == OK) {
		memcpy(out, text->p, text->len);
		out[text->len] = '\0';
	}
	buf_free(text);
	return e;
}

/* RFC 6710 section 4: "-9" to "9". */
static enum err
priority_parse(struct str value, struct smtp_mail *out)
{
	int minus = value.len == 2 && value.p[0] == '-';

	if (out->has_priority || value.len != (minus ? 2u : 1u) ||
		!str_is_digit(value.p[value.len - 1]))
		return E_PARSE;
	out->has_priority = 1;
	out->priority = value.p[value.len - 1] - '0';
	if (minus)
		out->priority = -out->priority;
	return OK;
}

/* RFC 4865 section 4.2: at most nine digits. */
static enum err
hold_for_parse(struct str value, struct smtp_mail *out)
{
	uint32_t seconds;

	if (out->hold_for || out->hold_until || value.len == 0 || value.len > 9 ||
		str_to_u32(value, &seconds) != OK || seconds == 0)
		return E_PARSE;
	out->hold_for = seconds;
	return OK;
}

/* "2026-12-24T18:00:00Z", in UTC (RFC 4865 section 4.2, RFC 3339). */
static enum err
hold_until_parse(struct str value, struct smtp_mail *out)
{
	char text[24], *end;
	struct tm tm = {0};
	time_t when;

	if (out->hold_for || out->hold_until || value.len != 20)
		return E_PARSE;
	memcpy(text, value.p, value.len);
	text[value.len] = '\0';
	end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (end == NULL || *end != '\0')
		return E_PARSE;
	when = timegm(&tm);
	if (when <= 0)
		return E_PARSE;
	out->hold_until = (int64_t)when;
	return OK;
}

/* What one extension each brought. -1: the parameter is none of these. */
static int
other_parameter(struct str name, struct str value, struct smtp_mail *out)
{
	if (str_is_i(name, "MT-PRIORITY"))
		return priority_parse(value, out) == OK;
	if (str_is_i(name, "HOLDFOR"))
		return hold_for_parse(value, out) == OK;
	if (str_is_i(name, "HOLDUNTIL"))
		return hold_until_parse(value, out) == OK;
	if (str_is_i(name, "SMTPUTF8"))
		return !out->smtputf8++ && value.p == NULL;
	if (str_is_i(name, "REQUIRETLS")) {
		out->require_tls = 1;
		return value.p == NULL;
	}
	return -1;
}

static const char *
mail_parameter(struct str name, struct str value, int auth, struct smtp_mail *out)
{
	struct buf text = BUF_INIT(SMTP_ENVID_SIZE);
	int known = other_parameter(name, value, out);
	enum err e;

	if (known >= 0)
		return known ? NULL : bad_parameter;
	if (str_is_i(name, "SIZE"))
		return value.len <= 20 && str_to_u64(value, &out->size) == OK ? NULL
									      : bad_parameter;
	if (str_is_i(name, "BODY")) {
		/* The content itself tells whether it has 8-bit bytes. */
		out->binary = str_is_i(value, "BINARYMIME");
		return out->binary || str_is_i(value, "7BIT") || str_is_i(value, "8BITMIME")
			       ? NULL
			       : bad_parameter;
	}
	if (str_is_i(name, "RET"))
		return out->ret == DSN_RET_NONE && dsn_ret_parse(value, &out->ret) == OK
			       ? NULL
			       : bad_parameter;
	if (str_is_i(name, "ENVID")) {
		if (value.len == 0 || out->envid[0] != '\0')
			return bad_parameter;
		e = dsn_xtext_decode(value, &text);
		if (e) {
			buf_free(&text);
			return bad_parameter;
		}
		return copy_out(&text, out->envid, sizeof(out->envid)) ? bad_parameter : NULL;
	}
	/* RFC 4954 section 5: read, and not trusted. */
	if (auth && str_is_i(name, "AUTH"))
		return value.len > 0 ? NULL : bad_parameter;
	return unknown_parameter;
}

static const char *
rcpt_parameter(struct str name, struct str value, struct smtp_rcpt *out)
{
	struct buf text = BUF_INIT(SMTP_ORCPT_SIZE);

	if (str_is_i(name, "NOTIFY"))
		return out->notify == 0 && dsn_notify_parse(value, &out->notify) == OK
			       ? NULL
			       : bad_parameter;
	if (str_is_i(name, "ORCPT")) {
		if (out->orcpt[0] != '\0' || dsn_orcpt_parse(value, &text)) {
			buf_free(&text);
			return bad_parameter;
		}
		return copy_out(&text, out->orcpt, sizeof(out->orcpt)) ? bad_parameter : NULL;
	}
	return unknown_parameter;
}

const char *
smtp_mail_parse(struct str args, int esmtp, int auth, struct smtp_mail *out)
{
	struct str name, value;
	enum err e;

	memset(out, 0, sizeof(*out));
	if (!cut_keyword(&args, "FROM:"))
		return syntax_mail;
	e = smtp_path_cut(&args, &out->from);
	if (e)
		return path_reject(e, &mail_replies);
	if (out->from.address[0] != '\0' && out->from.domain == 0)
		return "501 5.1.7 Sender address without a domain";
	if (args.len > 0 && args.p[0] != ' ')
		return syntax_mail;
	while (next_parameter(&args, &name, &value)) {
		const char *reject =
			esmtp ? mail_parameter(name, value, auth, out) : unknown_parameter;

		if (reject)
			return reject;
	}
	return out->from.utf8 && !out->smtputf8 ? mail_replies.utf8 : NULL;
}

const char *
smtp_rcpt_parse(struct str args, int esmtp, int utf8, struct smtp_rcpt *out)
{
	struct str name, value;
	enum err e;

	memset(out, 0, sizeof(*out));
	if (!cut_keyword(&args, "TO:"))
		return syntax_rcpt;
	e = smtp_path_cut(&args, &out->to);
	if (e)
		return path_reject(e, &rcpt_replies);
	if (out->to.utf8 && !utf8)
		return rcpt_replies.utf8;
	/* RFC 5321 section 4.1.1.3: "<postmaster>" alone has no domain. */
	if (out->to.domain == 0 && !str_is_i(str_of(out->to.address), "postmaster"))
		return "501 5.1.3 Recipient address without a domain";
	if (args.len > 0 && args.p[0] != ' ')
		return syntax_rcpt;
	while (next_parameter(&args, &name, &value)) {
		const char *reject = esmtp ? rcpt_parameter(name, value, out) : unknown_parameter;

		if (reject)
			return reject;
	}
	return NULL;
}

struct str
smtp_args_add_brackets(struct str args, struct buf *space)
{
	size_t colon = str_find(args, 0, ':'), end;
	struct str address;

	if (colon == args.len)
		return args;
	address = str_trim(str_make(args.p + colon + 1, args.len - colon - 1));
	end = str_find(address, 0, ' ');
	/* With brackets it is for the strict parser to say what is wrong. */
	if (end == 0 || memchr(address.p, '<', end) || memchr(address.p, '>', end))
		return args;
	buf_reset(space);
	buf_add(space, args.p, colon + 1);
	buf_printf(space, "<%.*s>", (int)end, address.p);
	buf_add(space, address.p + end, address.len - end);
	return buf_str(space);
}
