/* SPDX-License-Identifier: MIT */
#include "auth/moved.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

enum { LABEL_MAX = 63, NAME_MAX_BYTES = 253 };

/* RFC 1123 section 2.1; addresses of IPv4 look the same. */
static int
is_name(struct str name)
{
	if (name.len == 0 || name.len > NAME_MAX_BYTES)
		return 0;
	while (name.p) {
		struct str label = str_split(&name, '.');

		if (label.len == 0 || label.len > LABEL_MAX || label.p[0] == '-' ||
			label.p[label.len - 1] == '-')
			return 0;
		for (size_t i = 0; i < label.len; i++)
			if (!str_is_alnum(label.p[i]) && label.p[i] != '-')
				return 0;
	}
	return 1;
}

static int
is_ipv6(struct str text)
{
	char copy[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (text.len >= sizeof(copy) || memchr(text.p, '\0', text.len))
		return 0;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	return inet_pton(AF_INET6, copy, &addr) == 1;
}

/* "" or ":port". */
static int
is_port(struct str text)
{
	uint64_t n;

	return text.len == 0 ||
	       (text.p[0] == ':' && text.len <= 6 &&
		       !str_to_u64(str_make(text.p + 1, text.len - 1), &n) && n >= 1 && n <= 65535);
}

enum err
moved_host_parse(struct str text, char out[MOVED_HOST_MAX + 1])
{
	size_t end;
	int is_good;

	out[0] = '\0';
	text = str_trim(text);
	if (text.len == 0)
		return OK;
	end = str_find(text, 0, text.p[0] == '[' ? ']' : ':');
	if (text.p[0] != '[')
		is_good = is_name(str_make(text.p, end));
	else
		is_good = end < text.len && is_ipv6(str_make(text.p + 1, end++ - 1));
	if (!is_good || !is_port(str_make(text.p + end, text.len - end)))
		return E_PARSE;
	for (size_t i = 0; i < text.len; i++)
		out[i] = str_lower(text.p[i]);
	out[text.len] = '\0';
	return OK;
}

/* In the name of a URL "unreserved" of RFC 3986 section 2.3 stands for itself. */
void
moved_imap_put(struct str user, const char *mechanism, struct str host, struct buf *out)
{
	(void)buf_add_cstr(out, "[REFERRAL imap://");
	for (size_t i = 0; i < user.len; i++) {
		char c = user.p[i];

		if (str_is_alnum(c) || (c != '\0' && strchr("-._~", c)))
			(void)buf_add_char(out, c);
		else
			(void)buf_printf(out, "%%%02X", (unsigned char)c);
	}
	(void)buf_printf(out, ";AUTH=%s@%.*s/] This account is on the server %.*s",
		mechanism ? mechanism : "*", STR_ARG(host), STR_ARG(host));
}
