/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "mail/header.h"
#include "mail/mime_private.h"

enum { LANGUAGES_MAX = 32 };

static void
content_type(struct mime_part *part, struct str v, unsigned max_params, struct mime_arena *a)
{
	struct str type, subtype;

	mime_skip_cfws(&v);
	type = mime_take_token(&v);
	mime_skip_cfws(&v);
	if (!type.len || !v.len || v.p[0] != '/')
		return;
	v.p++;
	v.len--;
	mime_skip_cfws(&v);
	subtype = mime_take_token(&v);
	if (!subtype.len)
		return;
	part->has_type = 1;
	part->type = mime_arena_dup(a, type);
	part->subtype = mime_arena_dup(a, subtype);
	mime_params_parse(v, max_params, a, &part->params);
}

/* RFC 2183 section 2. */
static void
content_disposition(struct mime_part *part, struct str v, unsigned max_params, struct mime_arena *a)
{
	struct str type;

	mime_skip_cfws(&v);
	type = mime_take_token(&v);
	if (!type.len)
		return;
	part->disposition = mime_arena_dup(a, type);
	mime_params_parse(v, max_params, a, &part->disposition_params);
}

/* RFC 3282 section 2: a list of tags. */
static void
content_language(struct mime_part *part, struct str v, struct mime_arena *a)
{
	part->languages = mime_arena_alloc(a, LANGUAGES_MAX * sizeof(*part->languages));
	while (v.len && part->language_count < LANGUAGES_MAX) {
		struct str tag;

		mime_skip_cfws(&v);
		tag = mime_take_token(&v);
		if (tag.len)
			part->languages[part->language_count++] = mime_arena_dup(a, tag);
		mime_skip_cfws(&v);
		if (v.len) {
			v.p++;
			v.len--;
		}
	}
}

static void
content_encoding(struct mime_part *part, struct str v, struct mime_arena *a)
{
	struct str token;

	mime_skip_cfws(&v);
	token = mime_take_token(&v);
	part->encoding = mail_encoding_parse(token);
	if (token.len)
		part->encoding_name = mime_arena_dup(a, token);
}

static void
text_field(struct str *field, struct str v, struct mime_arena *a)
{
	if (!field->p)
		*field = mime_arena_dup(a, v);
}

void
mime_content_field(struct mime_part *part, struct str name, struct str value, unsigned max_params,
	struct mime_arena *a)
{
	struct buf unfolded = BUF_INIT(0);
	struct str v = str_trim(value);

	if (str_find(v, 0, '\n') != v.len || str_find(v, 0, '\0') != v.len) {
		header_unfold(v, &unfolded);
		v = buf_str(&unfolded);
	}
	if (str_is_i(name, "type")) {
		if (!part->has_type)
			content_type(part, v, max_params, a);
	} else if (str_is_i(name, "transfer-encoding")) {
		if (!part->encoding_name.p)
			content_encoding(part, v, a);
	} else if (str_is_i(name, "disposition")) {
		if (!part->disposition.p)
			content_disposition(part, v, max_params, a);
	} else if (str_is_i(name, "id")) {
		text_field(&part->content_id, v, a);
	} else if (str_is_i(name, "description")) {
		text_field(&part->description, v, a);
	} else if (str_is_i(name, "md5")) {
		text_field(&part->md5, v, a);
	} else if (str_is_i(name, "location")) {
		text_field(&part->location, v, a);
	} else if (str_is_i(name, "language")) {
		if (!part->language_count)
			content_language(part, v, a);
	}
	buf_free(&unfolded);
}
