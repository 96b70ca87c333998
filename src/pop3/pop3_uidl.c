/* SPDX-License-Identifier: MIT */
#include "pop3/pop3_uidl.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

enum { ID_MAX = 70, WIDTH_MAX = 20 };

static int
is_id(struct str s)
{
	if (s.len == 0 || s.len > ID_MAX) {
		return 0;
	}
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < 0x21 || s.p[i] > 0x7e) {
			return 0;
		}
	}
	return 1;
}

/* What follows a percent sign; *at goes behind it. *with_id: it tells messages apart. */
static enum err
add_variable(const char **at, const struct pop3_uidl_parts *parts, int *with_id, struct buf *out)
{
	const char *p = *at;
	int zero = *p == '0', hex = 0, width = 0;
	uint32_t value;

	if (*p == 'f') {
		*at = p + 1;
		*with_id = 1;
		return parts->file ? buf_add_cstr(out, parts->file) : E_RANGE;
	}
	while (str_is_digit(*p) && width <= WIDTH_MAX) {
		width = width * 10 + (*p++ - '0');
	}
	if (*p == 'X') {
		hex = 1;
		p++;
	}
	if (width > WIDTH_MAX || (*p != 'u' && *p != 'v')) {
		return E_RANGE;
	}
	*with_id |= *p == 'u';
	value = *p == 'u' ? parts->uid : parts->uidvalidity;
	*at = p + 1;
	if (zero) {
		return buf_printf(out, hex ? "%0*x" : "%0*u", width, value);
	}
	return buf_printf(out, hex ? "%x" : "%u", value);
}

enum err
pop3_uidl_build(const char *format, const struct pop3_uidl_parts *parts, struct buf *out)
{
	size_t start = out->len;
	int with_id = 0;
	enum err e = OK;

	for (const char *p = format; *p != '\0' && e == OK;) {
		if (*p != '%') {
			e = buf_add_char(out, *p++);
		} else if (p[1] == '%') {
			e = buf_add_char(out, '%');
			p += 2;
		} else {
			p++;
			e = add_variable(&p, parts, &with_id, out);
		}
	}
	if (e == OK && (!with_id || !is_id(str_make(out->p + start, out->len - start)))) {
		e = E_RANGE;
	}
	if (e) {
		buf_truncate(out, start);
	}
	return e;
}

int
pop3_uidl_needs_file(const char *format)
{
	for (const char *p = format; *p != '\0'; p++) {
		if (p[0] == '%' && p[1] == 'f') {
			return 1;
		}
		/* Behind "%%" an f is a letter. */
		p += p[0] == '%' && p[1] == '%';
	}
	return 0;
}

static int
compare_uids(const void *a, const void *b)
{
	const struct pop3_uidl *x = a, *y = b;

	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

void
pop3_uidls_parse(struct str text, struct pop3_uidls *out)
{
	*out = (struct pop3_uidls){0};
	while (text.p != NULL) {
		struct str id = str_split(&text, '\n'), number = str_split(&id, ' ');
		uint32_t uid;

		if (str_to_u32(number, &uid) || !is_id(id)) {
			continue;
		}
		if (out->count == out->cap) {
			out->cap = out->cap ? out->cap * 2 : 64;
			out->v = mem_realloc(out->v, out->cap, sizeof(*out->v));
		}
		out->v[out->count++] = (struct pop3_uidl){.uid = uid, .id = str_dup(id)};
	}
	if (out->count) {
		qsort(out->v, out->count, sizeof(*out->v), compare_uids);
	}
}

const char *
pop3_uidls_find(const struct pop3_uidls *u, uint32_t uid)
{
	struct pop3_uidl key = {.uid = uid}, *found = NULL;

	if (u->count) {
		found = bsearch(&key, u->v, u->count, sizeof(*u->v), compare_uids);
	}
	return found ? found->id : NULL;
}

void
pop3_uidls_free(struct pop3_uidls *u)
{
	for (size_t i = 0; i < u->count; i++) {
		free(u->v[i].id);
	}
	free(u->v);
	*u = (struct pop3_uidls){0};
}
