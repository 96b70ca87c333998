/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "mail/address.h"
#include "mail/cache.h"
#include "mail/cache_format.h"
#include "mail/casemap.h"
#include "mail/date.h"
#include "mail/envelope.h"
#include "mail/rfc2047.h"
#include "mail/subject.h"
#include "mail/text.h"
#include "mail/varint.h"

enum { REFERENCES_MAX = 8 * 1024, SORT_KEY_MAX = 1024 };

/* The fields go into data one behind the other; the directory is written when all lengths are
 * known. */
struct builder {
	const struct mime_message *m;
	struct buf data;
	struct buf text, folded; /* scratch */
	struct {
		enum mail_cache_field field;
		size_t len;
	} entries[CACHE_FIELDS_MAX];
	size_t count, from;
};

/* What was added to data since the last field is this one. */
static void
field_end(struct builder *b, enum mail_cache_field field)
{
	b->entries[b->count].field = field;
	b->entries[b->count].len = b->data.len - b->from;
	b->count++;
	b->from = b->data.len;
}

static struct str
value_of(const struct builder *b, const char *name)
{
	const struct mime_field *f = mime_field_find(b->m->root, name);

	return f ? f->value : (struct str){0};
}

static void
build_sent_date(struct builder *b)
{
	time_t when;
	int zone;
	int64_t t;

	if (date_parse_rfc5322(value_of(b, "Date"), &when, &zone))
		return;
	t = (int64_t)when;
	varint_add(&b->data, (uint64_t)t << 1 ^ (t < 0 ? UINT64_MAX : 0));
	varint_add(&b->data, (uint64_t)((int64_t)zone + 24 * 60L));
	field_end(b, MAIL_CACHE_SENT_DATE);
}

/* A sort key; an endless one is cut, which only moves it among others of its first thousand bytes.
 */
static void
add_folded(struct builder *b, struct str text)
{
	buf_reset(&b->folded);
	casemap_fold(text, &b->folded);
	if (b->folded.len > SORT_KEY_MAX) {
		b->folded.len = SORT_KEY_MAX;
		while (b->folded.len && (b->folded.p[b->folded.len] & 0xc0) == 0x80)
			b->folded.len--;
	}
	buf_add_buf(&b->data, &b->folded);
}

static void
build_subject(struct builder *b)
{
	int is_reply;

	buf_reset(&b->text);
	subject_base(value_of(b, "Subject"), &b->text, &is_reply);
	add_folded(b, buf_str(&b->text));
	field_end(b, MAIL_CACHE_BASE_SUBJECT);
	buf_add_char(&b->data, (char)(is_reply ? MAIL_CACHE_SUBJECT_IS_REPLY : 0));
	field_end(b, MAIL_CACHE_SUBJECT_FLAGS);
}

static void
build_message_id(struct builder *b)
{
	struct str s = value_of(b, "Message-ID");

	if (!message_id_next(&s, &b->text))
		return;
	buf_add_buf(&b->data, &b->text);
	field_end(b, MAIL_CACHE_MESSAGE_ID);
}

static void
add_ids(struct builder *b, struct str s, unsigned max)
{
	for (unsigned n = 0; n < max && message_id_next(&s, &b->text); n++) {
		if (b->data.len > b->from)
			buf_add_char(&b->data, '\0');
		buf_add_buf(&b->data, &b->text);
	}
}

/* Of an endless list the first (the thread's root) and the last ones (the parents) matter. */
static void
shorten_ids(struct builder *b)
{
	size_t len = b->data.len - b->from, first, keep;
	char *list = b->data.p + b->from;

	if (len <= REFERENCES_MAX)
		return;
	first = str_find(str_make(list, len), 0, '\0') + 1;
	if (first > REFERENCES_MAX / 2)
		first = 0;
	keep = str_find(str_make(list, len), len - REFERENCES_MAX / 2, '\0') + 1;
	if (keep >= len) {
		b->data.len = b->from; /* nothing of it is an id */
		return;
	}
	memmove(list + first, list + keep, len - keep);
	b->data.len = b->from + first + len - keep;
}

static void
build_references(struct builder *b)
{
	add_ids(b, value_of(b, "References"), UINT32_MAX);
	if (b->data.len == b->from)
		add_ids(b, value_of(b, "In-Reply-To"), 1);
	shorten_ids(b);
	field_end(b, MAIL_CACHE_REFERENCES);
}

/* RFC 5957 section 3. */
static void
display_of(const struct address *a, struct buf *out)
{
	buf_reset(out);
	if (a->name.len)
		rfc2047_decode(a->name, out);
	if (out->len)
		return;
	buf_add_str(out, a->mailbox);
	if (a->mailbox.p && a->host.len) {
		buf_add_char(out, '@');
		buf_add_str(out, a->host);
	}
}

static void
build_address(struct builder *b, const char *name, enum mail_cache_field key, int display_key)
{
	struct address_list list;

	address_parse_rfc822(value_of(b, name), 1, &list);
	if (list.n) {
		add_folded(b, list.v[0].mailbox);
		field_end(b, key);
	}
	if (list.n && display_key) {
		display_of(&list.v[0], &b->text);
		add_folded(b, buf_str(&b->text));
		field_end(b, (enum mail_cache_field)display_key);
	}
	address_list_free(&list);
}

static void
build_headers(struct builder *b)
{
	const struct mime_part *root = b->m->root;
	size_t lens[64] = {0}, total = 0;
	uint64_t skipped = root->fields_cut ? (uint64_t)1 << CACHE_CUT_BIT : 0;
	signed char small[64], *index = small;
	struct buf wide = BUF_INIT(0);

	/* Each field's name is looked up once. */
	if (root->field_count > sizeof(small)) {
		buf_reserve(&wide, root->field_count);
		index = (signed char *)wide.p;
	}
	for (size_t i = 0; i < root->field_count; i++) {
		index[i] = (signed char)cache_header_index(root->fields[i].name);
		if (index[i] >= 0)
			lens[index[i]] += root->fields[i].whole.len;
	}
	for (unsigned n = 0; n < cache_header_count; n++) {
		if (lens[n] > CACHE_HEADERS_MAX - total) {
			skipped |= (uint64_t)1 << n;
			lens[n] = 0;
		}
		total += lens[n];
	}
	varint_add(&b->data, skipped);
	for (unsigned n = 0; n < cache_header_count; n++) {
		if (!lens[n])
			continue;
		varint_add(&b->data, n);
		varint_add(&b->data, lens[n]);
		for (size_t i = 0; i < root->field_count; i++)
			if (index[i] == (int)n)
				buf_add_str(&b->data, root->fields[i].whole);
	}
	buf_free(&wide);
	field_end(b, MAIL_CACHE_HEADERS);
}

static void
build_sizes(struct builder *b)
{
	const struct mime_message *m = b->m;
	uint64_t header = mime_header_size(m->root);

	varint_add(&b->data, m->size);
	varint_add(&b->data, m->root->header_len);
	varint_add(&b->data, header);
	varint_add(&b->data, m->size_crlf - header);
	varint_add(&b->data, (m->has_nul ? 1U : 0U) | (m->has_8bit ? 2U : 0U));
	field_end(b, MAIL_CACHE_SIZES);
}

static void
build_parts(struct builder *b)
{
	struct part_table t;

	part_table_from_message(b->m, &t);
	part_table_write(&t, &b->data);
	part_table_free(&t);
	field_end(b, MAIL_CACHE_PARTS);
}

static void
build_fields(struct builder *b)
{
	envelope_write(b->m->root, &b->data);
	field_end(b, MAIL_CACHE_ENVELOPE);
	envelope_write_body(b->m, &b->data);
	field_end(b, MAIL_CACHE_BODY);
	envelope_write_bodystructure(b->m, &b->data);
	field_end(b, MAIL_CACHE_BODYSTRUCTURE);
	build_sent_date(b);
	build_subject(b);
	build_message_id(b);
	build_references(b);
	build_address(b, "From", MAIL_CACHE_FROM, MAIL_CACHE_FROM_DISPLAY);
	build_address(b, "To", MAIL_CACHE_TO, MAIL_CACHE_TO_DISPLAY);
	build_address(b, "Cc", MAIL_CACHE_CC, 0);
	text_preview(b->m->preview, MAIL_CACHE_PREVIEW_CHARS, &b->data);
	field_end(b, MAIL_CACHE_PREVIEW);
	build_headers(b);
	build_sizes(b);
	build_parts(b);
}

static enum err
write_record(const struct builder *b, struct buf *out)
{
	char head[CACHE_HEAD_LEN] = {'R', 'C', MAIL_CACHE_VERSION, (char)b->count};

	if (buf_reserve(out, sizeof(head) + b->count * CACHE_ENTRY_LEN + b->data.len))
		return E_TOOBIG;
	buf_add(out, head, sizeof(head));
	for (size_t i = 0; i < b->count; i++) {
		size_t len = b->entries[i].len;
		char entry[CACHE_ENTRY_LEN] = {(char)b->entries[i].field, (char)len,
			(char)(len >> 8), (char)(len >> 16), (char)(len >> 24)};

		buf_add(out, entry, sizeof(entry));
	}
	return buf_add_buf(out, &b->data);
}

enum err
mail_cache_build(const struct mime_message *m, struct buf *out)
{
	struct builder b = {.m = m, .data = BUF_INIT(MAIL_CACHE_RECORD_MAX - 256)};
	enum err e;

	buf_reserve(&b.data, 4096);
	build_fields(&b);
	e = b.data.err ? b.data.err : write_record(&b, out);
	buf_free(&b.data);
	buf_free(&b.text);
	buf_free(&b.folded);
	return e;
}
