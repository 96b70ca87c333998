/* SPDX-License-Identifier: MIT */
#include "imap/fetch.h"

#include <string.h>

#include "lib/stream.h"
#include "mail/cache.h"
#include "mail/envelope.h"
#include "mail/mime.h"
#include "mail/part.h"

/* Below this a copy into the stream's buffer costs less than the two system calls. */
enum { SENDFILE_MIN = 64 << 10 };

/* ---- HEADER.FIELDS from the cache record ---- */

static int
named_before(const struct section *s, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (str_equal_i(s->names[k], s->names[i]))
			return 1;
	return 0;
}

/* E_NOTFOUND: some field is not cached, the message must be read. */
static enum err
fields_from_cache(struct str record, const struct section *s, struct section_data *data)
{
	struct buf block = BUF_INIT(0);
	enum err e = OK;

	for (size_t i = 0; i < s->name_count && !e; i++) {
		struct str fields;

		if (named_before(s, i))
			continue;
		switch (mail_cache_header(record, s->names[i], &fields)) {
		case MAIL_CACHE_HEADER_FOUND:
			e = buf_add_str(&block, fields);
			if (!e && block.len && block.p[block.len - 1] != '\n')
				e = buf_add_char(&block, '\n');
			break;
		case MAIL_CACHE_HEADER_ABSENT:
			break;
		case MAIL_CACHE_HEADER_NOT_CACHED:
			e = E_NOTFOUND;
			break;
		}
	}
	if (!e)
		e = section_header_fields(
			buf_str(&block), s->names, s->name_count, 0, &data->built);
	if (!e) {
		data->stored = buf_str(&data->built);
		data->size = data->built.len;
	}
	buf_free(&block);
	return e;
}

/* ---- out of the file ---- */

static void
parse_parts(struct fetch_message *msg)
{
	struct mime_message *m;

	if (msg->has_parts)
		part_table_free(&msg->parts);
	mime_parse(str_make(msg->content.p, msg->content.len), NULL, &m);
	part_table_from_message(m, &msg->parts);
	msg->has_parts = 1;
	msg->has_nul = m->has_nul;
	mime_message_free(&m);
}

/* The part table of the cache record, unless the record is of other bytes than the file has now. */
static void
load_parts(struct fetch_message *msg)
{
	struct mail_cache_sizes sizes;

	if (!mail_cache_sizes(msg->record, &sizes) && sizes.size == msg->content.len &&
		!mail_cache_parts(msg->record, &msg->parts)) {
		msg->has_parts = 1;
		msg->has_nul = sizes.has_nul;
		return;
	}
	parse_parts(msg);
}

static enum err
open_content(struct fetch_context *c, struct fetch_message *msg)
{
	enum err e;

	if (msg->has_content)
		return OK;
	e = index_content_open(c->index, c->mailbox, msg->m->uid, &msg->content);
	if (e)
		return e;
	msg->has_content = 1;
	load_parts(msg);
	return OK;
}

enum err
fetch_body_find(struct fetch_context *c, struct fetch_message *msg, const struct fetch_item *item,
	struct section_data *data, int *nil)
{
	const struct section *s = &item->section;
	struct str bytes;
	enum err e;

	memset(data, 0, sizeof(*data));
	*nil = 0;
	if (s->kind == SECTION_HEADER_FIELDS && s->path_len == 0) {
		e = fields_from_cache(msg->record, s, data);
		if (e != E_NOTFOUND)
			return e;
	}
	e = open_content(c, msg);
	if (e)
		return e;
	bytes = str_make(msg->content.p, msg->content.len);
	e = section_open(s, &msg->parts, bytes, data);
	if (e == E_CORRUPT) {
		section_data_fini(data);
		memset(data, 0, sizeof(*data));
		parse_parts(msg);
		e = section_open(s, &msg->parts, bytes, data);
	}
	if (e == E_NOTFOUND) {
		*nil = 1;
		return OK;
	}
	return e;
}

enum err
fetch_body_describe(
	struct fetch_context *c, struct fetch_message *msg, enum fetch_kind kind, struct buf *out)
{
	struct mime_message *m;
	enum err e = open_content(c, msg);

	if (e)
		return e;
	mime_parse(str_make(msg->content.p, msg->content.len), NULL, &m);
	if (kind == FETCH_ENVELOPE)
		e = envelope_write(m->root, out);
	else if (kind == FETCH_BODY)
		e = envelope_write_body(m, out);
	else
		e = envelope_write_bodystructure(m, out);
	mime_message_free(&m);
	return e;
}

/* ---- sending ---- */

struct stream_sink {
	struct stream *client;
	uint64_t left;
};

static enum err
sink_to_stream(void *ctx, const char *p, size_t len)
{
	struct stream_sink *sink = ctx;

	if (len > sink->left)
		return E_CORRUPT;
	sink->left -= len;
	return stream_write(sink->client, p, len);
}

/* What is stored is what is sent: no line end to widen, no NUL to replace. */
static enum err
send_as_stored(const struct fetch_message *msg, const struct section_data *data, uint64_t off,
	uint64_t len, struct stream *client)
{
	if (off > data->stored.len || len > data->stored.len - off)
		return E_CORRUPT;
	if (msg->content.fd >= 0 && len >= SENDFILE_MIN)
		return stream_send_file(client, msg->content.fd,
			(uint64_t)(data->stored.p - msg->content.p) + off, len);
	return stream_write(client, data->stored.p + off, len);
}

/*
 * Clients fetch a large part in pieces, one command each. Where lines end in LF a piece is found by
 * counting lines, so the place where the last one ended is kept: else the whole would take
 * quadratic time. A UID stands for the same bytes for ever.
 */
static int
is_place_of(const struct imap_fetch_place *place, const struct fetch_context *c,
	const struct fetch_message *msg, const struct section *s, uint64_t size)
{
	return place->uid == msg->m->uid && place->mailbox == c->mailbox && place->size == size &&
	       place->kind == s->kind && place->path_len == s->path_len &&
	       memcmp(place->path, s->path, s->path_len * sizeof(s->path[0])) == 0;
}

static void
keep_place(struct imap_fetch_place *place, const struct fetch_context *c,
	const struct fetch_message *msg, const struct section *s, const struct section_data *data)
{
	*place = (struct imap_fetch_place){
		.mailbox = c->mailbox,
		.uid = msg->m->uid,
		.size = data->size,
		.kind = s->kind,
		.path_len = s->path_len,
		.off = data->hint_off,
		.stored = data->hint_stored,
	};
	memcpy(place->path, s->path, s->path_len * sizeof(s->path[0]));
}

enum err
fetch_body_send(struct fetch_context *c, const struct fetch_message *msg, struct fetch_hole *hole,
	struct stream *client)
{
	const struct fetch_item *item = &c->plan->items[hole->item];
	struct section_data *data = &hole->data;
	struct stream_sink sink = {client, hole->len};
	uint64_t off = item->partial ? item->off : 0;
	enum err e;

	if (hole->decode)
		return fetch_binary_send(data, off, hole->len, client);
	if (data->bare_lf == 0 && !msg->has_nul)
		return send_as_stored(msg, data, off, hole->len, client);
	if (off && is_place_of(c->place, c, msg, &item->section, data->size)) {
		data->hint_off = c->place->off;
		data->hint_stored = c->place->stored;
	}
	if (msg->content.fd >= 0 && hole->len >= SENDFILE_MIN) {
		data->file = &msg->content.fd;
		data->file_off = (uint64_t)(data->stored.p - msg->content.p);
	}
	e = section_write(data, off, hole->len, 0, sink_to_stream, &sink);
	if (!e && sink.left)
		e = E_CORRUPT;
	if (!e && item->partial)
		keep_place(c->place, c, msg, &item->section, data);
	return e;
}
