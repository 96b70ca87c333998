/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "mta-lite/spf_private.h"

/* The macro language (RFC 7208 section 7). */

int
spf_name_is_valid(const char *name)
{
	size_t label = 0, labels = 0, len = strlen(name);
	const char *p;

	if (len == 0 || len > 253)
		return 0;
	for (p = name; *p; p++) {
		if (*p == '.') {
			if (label == 0)
				return 0;
			label = 0;
			continue;
		}
		if (*p <= ' ' || *p > '~')
			return 0;
		if (label++ == 0)
			labels++;
		if (label > 63)
			return 0;
	}
	return labels >= 2 && name[0] != '[';
}

int
spf_name_within(const char *name, const char *domain)
{
	size_t n = strlen(name), d = strlen(domain);

	if (n < d || strcasecmp(name + n - d, domain) != 0)
		return 0;
	return n == d || name[n - d - 1] == '.';
}

/* %{i}: IPv6 as nibbles with dots (section 7.3). */
static void
put_ip(const struct spf *s, struct buf *out)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&s->q->peer->sa;
	size_t i;

	if (strchr(s->peer_ip, ':') == NULL) {
		buf_add_cstr(out, s->peer_ip);
		return;
	}
	for (i = 0; i < 16; i++) {
		unsigned byte = in6->sin6_addr.s6_addr[i];

		buf_printf(out, "%s%x.%x", i ? "." : "", byte >> 4, byte & 15);
	}
}

/* %{p}: the client's validated name, one in the domain first; "unknown" (section 7.3). */
static void
put_validated(struct spf *s, const char *domain, struct buf *out)
{
	struct buf names = BUF_INIT(16 * 1024);
	const char *best = NULL;
	size_t n = 0, off = 0;
	unsigned seen = 0;

	if (!s->dry && s->dns->ptr(s->dns->arg, s->q->peer, &names, &n) == DNS_FOUND) {
		for (; off < names.len && seen++ < SPF_NAMES_MAX;
			off += strlen(names.p + off) + 1) {
			const char *name = names.p + off;
			struct net_addr v[16];
			size_t count = 0, i;

			if (s->dns->addresses(s->dns->arg, name, strchr(s->peer_ip, ':') != NULL, v,
				    16, &count) != DNS_FOUND)
				continue;
			for (i = 0; i < count && !net_addr_same_host(&v[i], s->q->peer); i++)
				;
			if (i == count)
				continue;
			if (best == NULL ||
				(spf_name_within(name, domain) && !spf_name_within(best, domain)))
				best = name;
		}
	}
	buf_add_cstr(out, best ? best : "unknown");
	buf_free(&names);
}

static enum err
put_letter(struct spf *s, char letter, const char *domain, int explanation, struct buf *out)
{
	const char *at = strrchr(s->sender, '@');

	switch (str_lower(letter)) {
	case 's':
		return buf_add_cstr(out, s->sender);
	case 'l':
		return buf_add(out, s->sender, (size_t)(at - s->sender));
	case 'o':
		return buf_add_cstr(out, at + 1);
	case 'd':
		return buf_add_cstr(out, domain);
	case 'i':
		put_ip(s, out);
		return out->err;
	case 'p':
		put_validated(s, domain, out);
		return out->err;
	case 'v':
		return buf_add_cstr(out, strchr(s->peer_ip, ':') ? "ip6" : "in-addr");
	case 'h':
		return buf_add_cstr(out, s->q->helo);
	case 'c':
		return explanation ? buf_add_cstr(out, s->peer_ip) : E_PARSE;
	case 'r':
		return explanation ? buf_add_cstr(out, s->q->receiver) : E_PARSE;
	case 't':
		return explanation ? buf_add_u64(out, (uint64_t)time(NULL)) : E_PARSE;
	default:
		return E_PARSE;
	}
}

/* Splits at the delimiters, reverses, keeps the last keep parts, joins with dots. */
static enum err
transform(struct str text, const char *delimiters, int reverse, uint32_t keep, struct buf *out)
{
	struct str parts[128];
	size_t n = 0, start = 0, i, first;

	for (i = 0; i <= text.len; i++) {
		if (i < text.len && !strchr(delimiters, text.p[i]))
			continue;
		if (n == sizeof(parts) / sizeof(parts[0]))
			return E_TOOBIG;
		parts[n++] = str_make(text.p + start, i - start);
		start = i + 1;
	}
	first = keep && keep < n ? n - keep : 0;
	for (i = first; i < n; i++) {
		/* The kept ones are the right-most after reversal. */
		struct str part = reverse ? parts[n - 1 - i] : parts[i];

		if (i > first)
			buf_add_char(out, '.');
		buf_add_str(out, part);
	}
	return out->err;
}

/* A capital letter: as in a URI (section 7.3). */
static void
put_escaped(struct str text, struct buf *out)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		char c = text.p[i];

		if (str_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
			buf_add_char(out, c);
		else
			buf_printf(out, "%%%02X", (unsigned)(unsigned char)c);
	}
}

/* What stands between "%{" and "}". */
static enum err
expand_one(struct spf *s, struct str macro, const char *domain, int explanation, struct buf *out)
{
	char delimiters[16] = ".";
	struct buf value = BUF_INIT(SPF_EXPANDED_MAX), changed = BUF_INIT(SPF_EXPANDED_MAX);
	uint32_t keep = 0;
	size_t i = 1, digits, n = 0;
	int reverse = 0;
	enum err e;

	if (macro.len == 0)
		return E_PARSE;
	for (digits = i; i < macro.len && str_is_digit(macro.p[i]); i++)
		;
	if (i > digits && (str_to_u32(str_make(macro.p + digits, i - digits), &keep) || keep == 0))
		return E_PARSE;
	if (i < macro.len && str_lower(macro.p[i]) == 'r') {
		reverse = 1;
		i++;
	}
	for (; i < macro.len; i++) {
		if (!strchr(".-+,/_=", macro.p[i]) || n + 1 >= sizeof(delimiters))
			return E_PARSE;
		delimiters[n++] = macro.p[i];
		delimiters[n] = '\0';
	}
	e = put_letter(s, macro.p[0], domain, explanation, &value);
	if (e == OK)
		e = transform(buf_str(&value), delimiters, reverse, keep, &changed);
	if (e == OK) {
		if (macro.p[0] >= 'A' && macro.p[0] <= 'Z')
			put_escaped(buf_str(&changed), out);
		else
			buf_add_buf(out, &changed);
		e = out->err;
	}
	buf_free(&value);
	buf_free(&changed);
	return e;
}

enum err
spf_expand(struct spf *s, struct str text, const char *domain, int explanation, struct buf *out)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		size_t end;
		enum err e;

		if (text.p[i] != '%') {
			buf_add_char(out, text.p[i]);
			continue;
		}
		if (++i == text.len)
			return E_PARSE;
		switch (text.p[i]) {
		case '%':
			buf_add_char(out, '%');
			continue;
		case '_':
			buf_add_char(out, ' ');
			continue;
		case '-':
			buf_add_cstr(out, "%20");
			continue;
		case '{':
			break;
		default:
			return E_PARSE;
		}
		end = str_find(text, i, '}');
		if (end == text.len)
			return E_PARSE;
		e = expand_one(s, str_make(text.p + i + 1, end - i - 1), domain, explanation, out);
		if (e)
			return e;
		i = end;
	}
	return out->err;
}

enum err
spf_expand_name(struct spf *s, struct str spec, const char *domain, char out[SPF_NAME_SIZE])
{
	struct buf name = BUF_INIT(SPF_EXPANDED_MAX);
	const char *p;
	enum err e = spf_expand(s, spec, domain, 0, &name);

	if (e == OK && name.len > 0 && name.p[name.len - 1] == '.')
		buf_truncate(&name, name.len - 1);
	if (e == OK) {
		p = buf_cstr(&name);
		while (strlen(p) > 253 && strchr(p, '.'))
			p = strchr(p, '.') + 1;
		if (*p == '\0' || strlen(p) > 253)
			e = E_PARSE;
		else
			(void)snprintf(out, SPF_NAME_SIZE, "%s", p);
	}
	buf_free(&name);
	return e;
}

/* A label of letters, digits and hyphens, not digits alone, no hyphen at its ends. */
static int
is_top_label(struct str label)
{
	size_t i;
	int digits = 1;

	if (label.len == 0 || label.p[0] == '-' || label.p[label.len - 1] == '-')
		return 0;
	for (i = 0; i < label.len; i++) {
		if (!str_is_alnum(label.p[i]) && label.p[i] != '-')
			return 0;
		if (!str_is_digit(label.p[i]))
			digits = 0;
	}
	return !digits;
}

int
spf_domain_spec_is_valid(struct spf *s, struct str spec)
{
	struct buf out = BUF_INIT(SPF_EXPANDED_MAX);
	size_t dot;
	enum err e;

	s->dry = 1;
	e = spf_expand(s, spec, "example.test", 0, &out);
	s->dry = 0;
	buf_free(&out);
	if (spec.len == 0 || e == E_PARSE)
		return 0;
	if (spec.p[spec.len - 1] == '}' || (spec.len >= 2 && spec.p[spec.len - 2] == '%' &&
						   strchr("%_-", spec.p[spec.len - 1])))
		return 1;
	if (spec.p[spec.len - 1] == '.')
		spec.len--;
	for (dot = spec.len; dot > 0 && spec.p[dot - 1] != '.'; dot--)
		;
	return dot > 0 && is_top_label(str_make(spec.p + dot, spec.len - dot));
}
