/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mail/cache.h"
#include "mail/header.h"
#include "mail/section.h"
#include "mail/surrogate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A claim of a header was broken. */
static void
check(int holds)
{
	if (!holds)
		abort();
}

static enum err
count(void *ctx, const char *p, size_t len)
{
	(void)p;
	*(uint64_t *)ctx += len;
	return OK;
}

/* The record of the message fed in pieces of these sizes. */
static void
build(struct str in, size_t step, const struct mime_limits *limits, struct buf *out)
{
	struct mime_parser *p = mime_parser_create(limits);
	struct mime_message *m;

	for (size_t at = 0; at < in.len;) {
		size_t n = in.len - at < step ? in.len - at : step;

		mime_parser_feed(p, in.p + at, n);
		at += n;
		step = step * 7 % 61 + 1;
	}
	mime_parser_finish(p, &m);
	mime_parser_free(&p);
	check(m->size == in.len);
	check(m->size == m->root->header_len + m->root->body_len);
	check(m->size_crlf == mime_header_size(m->root) + mime_body_size(m->root));
	check(str_is_utf8(m->preview));
	check(mail_cache_build(m, out) == OK);
	mime_message_free(&m);
}

static void
open_section(struct str in, const struct part_table *t, struct section *s)
{
	struct section_data d;
	enum err e = section_open(s, t, in, &d);

	check(e == OK || e == E_NOTFOUND);
	if (!e) {
		uint64_t n = 0;

		check(section_write(&d, 0, UINT64_MAX, 0, count, &n) == OK && n == d.size);
	}
	section_data_fini(&d);
}

static void
sections(struct str in, const struct part_table *t)
{
	for (size_t i = 0; i < t->n && i < 20; i++) {
		struct section s = {0};
		uint32_t path[SECTION_PATH_MAX];

		for (size_t at = i; at && s.path_len < SECTION_PATH_MAX; at = t->v[at].parent)
			path[s.path_len++] = t->v[at].number;
		for (size_t k = 0; k < s.path_len; k++)
			s.path[k] = path[s.path_len - 1 - k];
		section_add_name(&s, STR("Subject"));
		for (int kind = SECTION_ALL; kind <= SECTION_MIME; kind++) {
			s.kind = (enum section_kind)kind;
			open_section(in, t, &s);
		}
		section_fini(&s);
	}
}

/* No field of the surrogate's own header is one that would have called for it. */
static void
surrogate(struct str in)
{
	struct buf out = {0};
	struct header_iter it;
	struct header_field f;
	int made;

	check(surrogate_build(in, &out, &made) == OK);
	check(made || out.len == 0);
	it = HEADER_ITER(buf_str(&out));
	while (header_next(&it, &f)) {
		struct str field = str_make(out.p + f.off, f.len);

		check(str_is_ascii(field) || !str_is_utf8(field));
	}
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mime_limits tight = {.depth = 3,
		.parts = 4,
		.fields = 3,
		.params = 2,
		.header_bytes = 100,
		.header_total = 200};
	const struct mime_limits *limits = size && data[0] & 1 ? &tight : NULL;
	struct str in = str_make((const char *)data, size);
	struct buf whole = {0}, pieces = {0};
	struct part_table t;
	struct str s;

	build(in, size + 1, limits, &whole);
	build(in, size ? data[size - 1] % 60 + 1 : 1, limits, &pieces);
	check(str_equal(buf_str(&whole), buf_str(&pieces)));
	check(mail_cache_check(buf_str(&whole)) == OK);
	check(mail_cache_get(buf_str(&whole), MAIL_CACHE_PREVIEW, &s) == OK && str_is_utf8(s));
	check(mail_cache_parts(buf_str(&whole), &t) == OK);
	sections(in, &t);
	surrogate(in);
	part_table_free(&t);
	buf_free(&whole);
	buf_free(&pieces);
	return 0;
}
