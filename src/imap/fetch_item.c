/* SPDX-License-Identifier: MIT */
#include "imap/fetch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hex.h"
#include "lib/mem.h"
#include "mail/cache.h"
#include "mail/date.h"

/*
 * A client that opens a mailbox of 100,000 messages asks for UID and FLAGS of all of them, so what
 * comes from the record alone is written with a pointer into room that was reserved before.
 */
enum {
	HEAD_ROOM = 64, /* "* 4294967295 FETCH (" and ")\r\n" */
	RECORD_ITEM_ROOM = 128, /* the longest item of the record, keywords aside */
	/* Of one response, literals of files aside: a client can ask for the same thing many times.
	 */
	RESPONSE_MAX = 64 << 20,
	KEYWORDS_ROOM = INDEX_KEYWORDS_MAX * (INDEX_KEYWORD_LEN_MAX + 1),
};

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324"
				  "25262728293031323334353637383940414243444546474849"
				  "50515253545556575859606162636465666768697071727374"
				  "75767778798081828384858687888990919293949596979899";

static char *
put_number(char *p, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	while (n >= 100) {
		at -= 2;
		memcpy(digits + at, digit_pairs + 2 * (n % 100), 2);
		n /= 100;
	}
	if (n >= 10) {
		at -= 2;
		memcpy(digits + at, digit_pairs + 2 * n, 2);
	} else {
		digits[--at] = (char)('0' + n);
	}
	memcpy(p, digits + at, sizeof(digits) - at);
	return p + (sizeof(digits) - at);
}

static char *
put_text(char *p, const char *text, size_t len)
{
	memcpy(p, text, len);
	return p + len;
}

#define PUT(p, literal) put_text((p), "" literal, sizeof(literal) - 1)

void
fetch_flags_text_init(struct fetch_flags_text *t)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {
		{INDEX_ANSWERED, "\\Answered"},
		{INDEX_FLAGGED, "\\Flagged"},
		{INDEX_DELETED, "\\Deleted"},
		{INDEX_SEEN, "\\Seen"},
		{INDEX_DRAFT, "\\Draft"},
		{INDEX_FLAGS_ALL + 1, "\\Recent"},
	};

	for (unsigned i = 0; i < 64; i++) {
		char *p = t->text[i];

		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
			if (!(i & names[k].bit))
				continue;
			if (p > t->text[i])
				*p++ = ' ';
			p = put_text(p, names[k].name, strlen(names[k].name));
		}
		t->len[i] = (unsigned char)(p - t->text[i]);
	}
}

static char *
put_flags(char *p, const struct fetch_context *c, const struct fetch_message *msg)
{
	unsigned set = (msg->m->flags & INDEX_FLAGS_ALL) | (msg->recent ? 32u : 0);
	const uint64_t *bits = msg->m->keywords.bits;
	int any = c->flags.len[set] > 0;

	p = PUT(p, "FLAGS (");
	p = put_text(p, c->flags.text[set], c->flags.len[set]);
	if (bits[0] | bits[1]) {
		for (size_t i = 0; i < c->keyword_count && i < INDEX_KEYWORDS_MAX; i++) {
			if (!(bits[i / 64] >> (i % 64) & 1))
				continue;
			if (any++)
				*p++ = ' ';
			p = put_text(
				p, c->keywords[i], strnlen(c->keywords[i], INDEX_KEYWORD_LEN_MAX));
		}
	}
	*p++ = ')';
	return p;
}

/* name: with the space behind it. */
static enum err
write_date(const char *name, int64_t seconds, struct buf *out)
{
	time_t when = (time_t)seconds;

	buf_add_cstr(out, name);
	buf_add_char(out, '"');
	/* A file can carry any date; one that cannot be written is no date. */
	if (date_format_imap(when, date_local_zone(when), out))
		buf_add_cstr(out, "01-Jan-1970 00:00:00 +0000");
	return buf_add_char(out, '"');
}

/* "(M0123...)": RFC 8474 section 4.2 allows letters, digits, "_" and "-". */
static char *
put_id(char *p, char kind, const unsigned char id[16])
{
	*p++ = '(';
	*p++ = kind;
	hex_write(id, 16, p);
	p += 2 * 16;
	*p++ = ')';
	return p;
}

/* Room for it is there, but for dates, which are behind a function that adds by itself. */
static enum err
write_record_item(const struct fetch_context *c, const struct fetch_message *msg,
	enum fetch_kind kind, struct buf *out)
{
	char *p = out->p + out->len;

	switch (kind) {
	case FETCH_UID:
		p = put_number(PUT(p, "UID "), msg->m->uid);
		break;
	case FETCH_FLAGS:
		p = put_flags(p, c, msg);
		break;
	case FETCH_RFC822_SIZE:
		p = put_number(PUT(p, "RFC822.SIZE "), msg->m->size);
		break;
	case FETCH_EMAILID:
		p = put_id(PUT(p, "EMAILID "), IMAP_EMAIL_ID, msg->m->email_id);
		break;
	case FETCH_THREADID:
		p = put_id(PUT(p, "THREADID "), IMAP_THREAD_ID, msg->m->thread_id);
		break;
	case FETCH_SAVEDATE:
		return write_date("SAVEDATE ", msg->m->save_date, out);
	case FETCH_MODSEQ:
		p = put_number(PUT(p, "MODSEQ ("), msg->m->modseq);
		*p++ = ')';
		break;
	default:
		return write_date("INTERNALDATE ", msg->m->internal_date, out);
	}
	out->len = (size_t)(p - out->p);
	return OK;
}

static enum err
write_cached_item(
	struct fetch_context *c, struct fetch_message *msg, enum fetch_kind kind, struct buf *out)
{
	static const struct {
		enum mail_cache_field field;
		const char *name;
	} fields[] = {
		[FETCH_ENVELOPE] = {MAIL_CACHE_ENVELOPE, "ENVELOPE "},
		[FETCH_BODY] = {MAIL_CACHE_BODY, "BODY "},
		[FETCH_BODYSTRUCTURE] = {MAIL_CACHE_BODYSTRUCTURE, "BODYSTRUCTURE "},
	};
	struct str text;

	buf_add_cstr(out, fields[kind].name);
	if (mail_cache_get(msg->record, fields[kind].field, &text))
		return fetch_body_describe(c, msg, kind, out);
	return buf_add_str(out, text);
}

/* RFC 8970 section 3.2: NIL only for LAZY. */
static enum err
write_preview(const struct fetch_item *item, const struct fetch_message *msg, struct buf *out)
{
	struct str text = {0};
	enum err e = mail_cache_get(msg->record, MAIL_CACHE_PREVIEW, &text);

	buf_add_cstr(out, "PREVIEW ");
	if (e && item->lazy)
		return buf_add_cstr(out, "NIL");
	imap_write_string(out, text);
	return out->err;
}

struct text_sink {
	struct buf *out;
	uint64_t left;
};

static enum err
sink_to_text(void *ctx, const char *p, size_t len)
{
	struct text_sink *sink = ctx;

	if (len > sink->left)
		return E_CORRUPT;
	sink->left -= len;
	return buf_add(sink->out, p, len);
}

/* A section that was put together in memory goes into the text, where it costs no hole. */
static enum err
write_built(const struct fetch_item *item, struct section_data *data, uint64_t len, struct buf *out)
{
	struct text_sink sink = {out, len};
	enum err e = section_write(data, item->partial ? item->off : 0,
		item->partial ? item->count : UINT64_MAX, 0, sink_to_text, &sink);

	if (!e && sink.left)
		e = E_CORRUPT;
	section_data_fini(data);
	return e;
}

static struct fetch_hole *
add_hole(struct fetch_message *msg)
{
	if (!msg->holes)
		msg->holes = mem_alloc((FETCH_ITEMS_MAX + 1) * sizeof(*msg->holes));
	return &msg->holes[msg->hole_count++];
}

static enum err
write_section(struct fetch_context *c, struct fetch_message *msg, size_t i, struct buf *out)
{
	const struct fetch_item *item = &c->plan->items[i];
	struct section_data data;
	uint64_t len;
	int nil = 0;
	enum err e = fetch_body_find(c, msg, item, &data, &nil);

	buf_add_buf(out, &item->label);
	if (e || nil) {
		section_data_fini(&data);
		return e ? e : buf_add_cstr(out, " NIL");
	}
	len = item->partial ? section_range_len(&data, item->off, item->count) : data.size;
	/* The empty string as a literal too: clients read bodies from literals. */
	buf_printf(out, " {%" PRIu64 "}\r\n", len);
	/* Only a plan that reads files sends holes; HEADER.FIELDS is always in memory. */
	if (c->plan->need < FETCH_NEED_CONTENT || data.built.len || len == 0)
		return write_built(item, &data, len, out);
	*add_hole(msg) = (struct fetch_hole){.at = out->len, .item = i, .len = len, .data = data};
	return OK;
}

/* BINARY and BINARY.SIZE. A part that is not there has no octets. */
static enum err
write_binary(struct fetch_context *c, struct fetch_message *msg, size_t i, struct buf *out)
{
	const struct fetch_item *item = &c->plan->items[i];
	struct section_data data;
	uint64_t len = 0;
	int nil = 0, has_nul = 0;
	enum err e = fetch_body_find(c, msg, item, &data, &nil);

	if (!e && !nil)
		e = fetch_binary_measure(&data, item->partial ? item->off : 0,
			item->partial ? item->count : UINT64_MAX, &len, &has_nul);
	buf_add_buf(out, &item->label);
	if (!e && item->kind == FETCH_BINARY && !nil) {
		/* literal8 only where it must be (RFC 3516 section 4.3). */
		buf_printf(out, " %s{%" PRIu64 "}\r\n", has_nul ? "~" : "", len);
		if (len == 0) {
			section_data_fini(&data);
			return out->err;
		}
		*add_hole(msg) = (struct fetch_hole){
			.at = out->len, .item = i, .len = len, .decode = 1, .data = data};
		return OK;
	}
	section_data_fini(&data);
	if (e)
		return e;
	return item->kind == FETCH_BINARY ? buf_add_cstr(out, " NIL")
					  : buf_printf(out, " %" PRIu64, len);
}

static enum err
write_item(struct fetch_context *c, struct fetch_message *msg, size_t i, struct buf *out)
{
	enum fetch_kind kind = c->plan->items[i].kind;

	switch (kind) {
	case FETCH_ENVELOPE:
	case FETCH_BODY:
	case FETCH_BODYSTRUCTURE:
		return write_cached_item(c, msg, kind, out);
	case FETCH_SECTION:
		return write_section(c, msg, i, out);
	case FETCH_BINARY:
	case FETCH_BINARY_SIZE:
		return write_binary(c, msg, i, out);
	case FETCH_PREVIEW:
		return write_preview(&c->plan->items[i], msg, out);
	default:
		return write_record_item(c, msg, kind, out);
	}
}

static enum err
reserve_item(const struct fetch_message *msg, struct buf *out)
{
	size_t room = HEAD_ROOM + RECORD_ITEM_ROOM;

	if (msg->m->keywords.bits[0] | msg->m->keywords.bits[1])
		room += KEYWORDS_ROOM;
	return buf_reserve(out, room);
}

/* What goes with a \Seen that was just set (RFC 3501 section 6.4.5, RFC 7162 section 3.2.4). */
static enum err
write_told(struct fetch_context *c, struct fetch_message *msg, struct buf *out)
{
	const struct fetch_plan *plan = c->plan;
	const struct {
		int wanted;
		enum fetch_kind kind;
	} told[] = {
		{!plan->has_flags, FETCH_FLAGS},
		{(c->condstore || c->rev2) && !plan->has_uid, FETCH_UID},
		{c->condstore && !plan->has_modseq, FETCH_MODSEQ},
	};
	enum err e = OK;

	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]) && !e; i++) {
		if (!told[i].wanted)
			continue;
		e = reserve_item(msg, out);
		if (e)
			break;
		out->p[out->len++] = ' ';
		e = write_record_item(c, msg, told[i].kind, out);
	}
	return e;
}

enum err
fetch_item_write(struct fetch_context *c, struct fetch_message *msg, struct buf *out)
{
	size_t start = out->len;
	enum err e = reserve_item(msg, out);
	char *p;

	if (e)
		return e;
	p = put_number(PUT(out->p + out->len, "* "), c->uid_only ? msg->m->uid : msg->seq);
	p = c->uid_only ? PUT(p, " UIDFETCH (") : PUT(p, " FETCH (");
	out->len = (size_t)(p - out->p);
	for (size_t i = 0; i < c->plan->count && !e; i++) {
		e = reserve_item(msg, out);
		if (e)
			break;
		if (i)
			out->p[out->len++] = ' ';
		e = write_item(c, msg, i, out);
		if (!e && out->len - start > RESPONSE_MAX)
			e = E_TOOBIG;
	}
	if (!e && msg->tell_flags)
		e = write_told(c, msg, out);
	if (!e)
		e = buf_add(out, ")\r\n", 3);
	if (e) {
		buf_truncate(out, start);
		fetch_message_fini(msg);
	}
	return e;
}

void
fetch_message_fini(struct fetch_message *msg)
{
	for (size_t i = 0; i < msg->hole_count; i++)
		section_data_fini(&msg->holes[i].data);
	msg->hole_count = 0;
	MEM_FREE(msg->holes);
	if (msg->has_parts)
		part_table_free(&msg->parts);
	if (msg->has_content)
		index_content_close(&msg->content);
	msg->has_parts = msg->has_content = msg->has_nul = 0;
}
