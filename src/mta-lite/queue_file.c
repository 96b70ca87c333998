/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/queue_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/ipc.h"
#include "lib/log.h"
#include "lib/mem.h"

static const char magic[8] = {'R', 'O', 'O', 'S', 'T', 'Q', '1', '\n'};
enum { QUEUE_TEXT_MAX = 900 };
enum { QUEUE_PRIORITY_MAX = 9 }; /* RFC 6710 section 4.1 */

/* Keys of the attributes behind the recipients: never another meaning for an old one. */
enum attribute {
	ATTRIBUTE_PRIORITY = 1,
	ATTRIBUTE_HOLD_UNTIL = 2,
	ATTRIBUTE_FILTER = 3,
	ATTRIBUTE_TARGET = 4, /* "INDEX TARGET", of the recipient with this index */
	ATTRIBUTE_XFORWARD = 5,
	ATTRIBUTE_RELEASE_ASKED = 6,
	ATTRIBUTE_FORWARDED = 7 /* "INDEX INDEX...", of recipients */
};

static uint32_t
crc_of(const char *p, size_t len)
{
	return (uint32_t)crc32_z(0, (const unsigned char *)p, len);
}

int
queue_status_final(enum queue_status s)
{
	return s != QUEUE_PENDING;
}

const char *
queue_status_word(enum queue_status s)
{
	static const char *const words[QUEUE_STATUS_COUNT] = {
		"pending", "delivered", "relayed", "expanded", "failed"};

	return s < QUEUE_STATUS_COUNT ? words[s] : "unknown";
}

struct queue_rcpt *
queue_entry_add_rcpt(
	struct queue_entry *q, const char *address, const char *orcpt, unsigned notify, int local)
{
	struct queue_rcpt *r;

	/* Grown in powers of two: a list may expand to thousands. */
	if ((q->rcpt_count & (q->rcpt_count - 1)) == 0) {
		size_t want = q->rcpt_count ? q->rcpt_count * 2 : 1;

		q->rcpts = mem_realloc(q->rcpts, want, sizeof(*q->rcpts));
	}
	r = &q->rcpts[q->rcpt_count++];
	*r = (struct queue_rcpt){.notify = notify, .local = local};
	r->address = mem_strdup(address);
	r->orcpt = mem_strdup(orcpt ? orcpt : "");
	r->dsn = mem_strdup("");
	r->text = mem_strdup("");
	r->mta = mem_strdup("");
	return r;
}

static void
free_rcpt(struct queue_rcpt *r)
{
	free(r->address);
	free(r->orcpt);
	free(r->dsn);
	free(r->text);
	free(r->mta);
	free(r->target);
}

void
queue_entry_drop_rcpt(struct queue_entry *q, size_t i)
{
	free_rcpt(&q->rcpts[i]);
	q->rcpt_count--;
	memmove(&q->rcpts[i], &q->rcpts[i + 1], (q->rcpt_count - i) * sizeof(*q->rcpts));
}

void
queue_entry_drop_rcpts(struct queue_entry *q)
{
	size_t i;

	for (i = 0; i < q->rcpt_count; i++)
		free_rcpt(&q->rcpts[i]);
	MEM_FREE(q->rcpts);
	q->rcpt_count = 0;
}

void
queue_entry_free(struct queue_entry *q)
{
	queue_entry_drop_rcpts(q);
	free(q->sender);
	free(q->envid);
	free(q->client);
	free(q->filter);
	free(q->release_asked);
	free(q->xforward);
	memset(q, 0, sizeof(*q));
}

void
queue_entry_copy_envelope(const struct queue_entry *q, struct queue_entry *out)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->id, q->id, sizeof(out->id));
	out->sender = mem_strdup(q->sender ? q->sender : "");
	out->envid = mem_strdup(q->envid ? q->envid : "");
	out->client = mem_strdup(q->client ? q->client : "");
	out->filter = mem_strdup(q->filter ? q->filter : "");
	out->release_asked = mem_strdup(q->release_asked ? q->release_asked : "");
	out->xforward = mem_strdup(q->xforward ? q->xforward : "");
	out->ret = q->ret;
	out->flags = q->flags;
	out->arrival = q->arrival;
	out->priority = q->priority;
	out->hold_until = q->hold_until;
}

static void
set_text(char **field, struct str text)
{
	size_t i;

	if (text.len > QUEUE_TEXT_MAX)
		text.len = QUEUE_TEXT_MAX;
	free(*field);
	*field = str_dup(text);
	for (i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)(*field)[i];

		if (c < ' ' || c >= 0x7f)
			(*field)[i] = '?';
	}
}

void
queue_rcpt_set(struct queue_rcpt *r, enum queue_status status, struct str dsn, struct str text,
	struct str mta)
{
	r->status = status;
	set_text(&r->dsn, dsn);
	set_text(&r->text, text);
	set_text(&r->mta, mta);
}

static void
put_u32(char *p, uint32_t n)
{
	memcpy(p, &n, sizeof(n));
}

static uint32_t
get_u32(const char *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	return n;
}

static void
put_status_fields(const struct queue_rcpt *r, struct buf *out)
{
	ipc_put_u8(out, (uint8_t)r->status);
	ipc_put_u8(out, (uint8_t)r->reported);
	ipc_put_u32(out, r->attempts);
	ipc_put_u64(out, (uint64_t)r->next_try);
	ipc_put_cstr(out, r->dsn);
	ipc_put_cstr(out, r->text);
	ipc_put_cstr(out, r->mta);
}

static void
put_attribute(struct buf *out, enum attribute key, const char *value)
{
	ipc_put_u8(out, (uint8_t)key);
	ipc_put_cstr(out, value);
}

static void
put_attribute_number(struct buf *out, enum attribute key, int64_t n)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%lld", (long long)n);
	put_attribute(out, key, text);
}

int
queue_place_is_target(int place)
{
	return place == QUEUE_TARGET || place == QUEUE_FORWARD;
}

static void
put_target(struct buf *out, size_t index, const char *target)
{
	struct buf value = {0};

	buf_printf(&value, "%zu %s", index, target);
	put_attribute(out, ATTRIBUTE_TARGET, buf_cstr(&value));
	buf_free(&value);
}

static void
put_forwarded(const struct queue_entry *q, struct buf *out)
{
	struct buf value = {0};
	size_t i;

	for (i = 0; i < q->rcpt_count; i++) {
		if (q->rcpts[i].forwarded)
			buf_printf(&value, "%s%zu", value.len ? " " : "", i);
	}
	if (value.len > 0)
		put_attribute(out, ATTRIBUTE_FORWARDED, buf_cstr(&value));
	buf_free(&value);
}

static void
put_attributes(const struct queue_entry *q, struct buf *out)
{
	size_t i;

	if (q->priority)
		put_attribute_number(out, ATTRIBUTE_PRIORITY, q->priority);
	if (q->hold_until)
		put_attribute_number(out, ATTRIBUTE_HOLD_UNTIL, q->hold_until);
	if (q->filter && q->filter[0])
		put_attribute(out, ATTRIBUTE_FILTER, q->filter);
	if (q->release_asked && q->release_asked[0])
		put_attribute(out, ATTRIBUTE_RELEASE_ASKED, q->release_asked);
	if (q->xforward && q->xforward[0])
		put_attribute(out, ATTRIBUTE_XFORWARD, q->xforward);
	for (i = 0; i < q->rcpt_count; i++) {
		if (q->rcpts[i].target)
			put_target(out, i, q->rcpts[i].target);
	}
	put_forwarded(q, out);
}

enum err
queue_header_write(const struct queue_entry *q, uint64_t content_len, struct buf *out)
{
	struct buf h = BUF_INIT(QUEUE_HEADER_MAX);
	char prefix[QUEUE_PREFIX_SIZE] = {0};
	size_t i;
	enum err e;

	ipc_put_cstr(&h, q->id);
	ipc_put_u64(&h, (uint64_t)q->arrival);
	ipc_put_cstr(&h, q->sender);
	ipc_put_cstr(&h, q->envid);
	ipc_put_cstr(&h, q->client);
	ipc_put_u8(&h, (uint8_t)q->ret);
	ipc_put_u32(&h, q->flags);
	ipc_put_u32(&h, (uint32_t)q->rcpt_count);
	for (i = 0; i < q->rcpt_count; i++) {
		const struct queue_rcpt *r = &q->rcpts[i];

		ipc_put_cstr(&h, r->address);
		ipc_put_cstr(&h, r->orcpt);
		ipc_put_u8(&h, (uint8_t)r->notify);
		ipc_put_u8(&h, (uint8_t)r->local);
		put_status_fields(r, &h);
	}
	put_attributes(q, &h);
	e = h.err;
	if (e == OK) {
		memcpy(prefix, magic, sizeof(magic));
		put_u32(prefix + 8, (uint32_t)h.len);
		put_u32(prefix + 12, crc_of(h.p, h.len));
		memcpy(prefix + 16, &content_len, sizeof(content_len));
		put_u32(prefix + 28, crc_of(prefix, 28));
		buf_add(out, prefix, sizeof(prefix));
		e = buf_add_buf(out, &h);
	}
	buf_free(&h);
	return e;
}

void
queue_status_write(const struct queue_entry *q, size_t index, struct buf *out)
{
	struct buf body = {0};
	char head[8];

	ipc_put_u32(&body, (uint32_t)index);
	put_status_fields(&q->rcpts[index], &body);
	put_u32(head, (uint32_t)body.len);
	put_u32(head + 4, crc_of(body.p, body.len));
	buf_add(out, head, sizeof(head));
	buf_add_buf(out, &body);
	buf_free(&body);
}

enum err
queue_prefix_parse(
	struct str bytes, uint32_t *header_len, uint32_t *header_crc, uint64_t *content_len)
{
	if (bytes.len < QUEUE_PREFIX_SIZE || memcmp(bytes.p, magic, sizeof(magic)) != 0)
		return E_CORRUPT;
	if (get_u32(bytes.p + 28) != crc_of(bytes.p, 28))
		return E_CORRUPT;
	*header_len = get_u32(bytes.p + 8);
	*header_crc = get_u32(bytes.p + 12);
	memcpy(content_len, bytes.p + 16, sizeof(*content_len));
	if (*header_len > QUEUE_HEADER_MAX || *content_len > UINT32_MAX * (uint64_t)16)
		return E_CORRUPT;
	return OK;
}

/* E_CORRUPT in r->err too when a value is out of range. */
static void
get_status_fields(struct ipc_reader *r, struct queue_rcpt *rcpt)
{
	unsigned status = ipc_get_u8(r);
	unsigned reported = ipc_get_u8(r);
	uint32_t attempts = ipc_get_u32(r);
	uint64_t next_try = ipc_get_u64(r);
	struct str dsn = ipc_get_str(r), text = ipc_get_str(r), mta = ipc_get_str(r);

	if (status >= QUEUE_STATUS_COUNT || next_try > INT64_MAX)
		r->err = E_CORRUPT;
	if (r->err)
		return;
	queue_rcpt_set(rcpt, (enum queue_status)status, dsn, text, mta);
	rcpt->reported = reported & (QUEUE_REPORTED | QUEUE_WARNED);
	rcpt->attempts = attempts;
	rcpt->next_try = (int64_t)next_try;
}

/* A field of the envelope on the heap; a control byte in it is a sign of damage. */
static char *
get_clean(struct ipc_reader *r)
{
	struct str s = ipc_get_str(r);

	if (str_has_control(s))
		r->err = E_CORRUPT;
	return str_dup(r->err ? str_make("", 0) : s);
}

static void
get_rcpt(struct ipc_reader *r, struct queue_entry *q)
{
	char *address = get_clean(r), *orcpt = get_clean(r);
	unsigned notify = ipc_get_u8(r);
	int local = ipc_get_u8(r);

	if (local >= QUEUE_PLACE_COUNT)
		r->err = E_CORRUPT;
	get_status_fields(r, queue_entry_add_rcpt(q, address, orcpt, notify, local));
	free(address);
	free(orcpt);
}

/* E_CORRUPT in r->err when it is no number within these bounds. */
static int64_t
number_of(struct ipc_reader *r, struct str text, int64_t min, int64_t max)
{
	int negative = text.len > 0 && text.p[0] == '-';
	uint64_t n;
	int64_t value;

	if (str_to_u64(str_make(text.p + negative, text.len - (size_t)negative), &n) ||
		n > INT64_MAX) {
		r->err = E_CORRUPT;
		return 0;
	}
	value = negative ? -(int64_t)n : (int64_t)n;
	if (value < min || value > max)
		r->err = E_CORRUPT;
	return r->err ? 0 : value;
}

static void
get_target(struct ipc_reader *r, struct str value, struct queue_entry *q)
{
	struct str rest = value;
	uint32_t index;

	if (str_to_u32(str_split(&rest, ' '), &index) || rest.len == 0 || index >= q->rcpt_count ||
		!queue_place_is_target(q->rcpts[index].local) || q->rcpts[index].target)
		r->err = E_CORRUPT;
	else
		q->rcpts[index].target = str_dup(rest);
}

static void
get_forwarded(struct ipc_reader *r, struct str value, struct queue_entry *q)
{
	while (value.p) {
		int64_t index = number_of(r, str_split(&value, ' '), 0, INT64_MAX);

		if (r->err || (uint64_t)index >= q->rcpt_count) {
			r->err = E_CORRUPT;
			return;
		}
		q->rcpts[index].forwarded = 1;
	}
}

static void
get_attributes(struct ipc_reader *r, struct queue_entry *q)
{
	while (!r->err && r->len > 0) {
		unsigned key = ipc_get_u8(r);
		struct str value = ipc_get_str(r);

		if (r->err || str_has_control(value)) {
			r->err = E_CORRUPT;
		} else if (key == ATTRIBUTE_PRIORITY) {
			q->priority =
				(int)number_of(r, value, -QUEUE_PRIORITY_MAX, QUEUE_PRIORITY_MAX);
		} else if (key == ATTRIBUTE_HOLD_UNTIL) {
			q->hold_until = number_of(r, value, 0, INT64_MAX);
		} else if (key == ATTRIBUTE_FILTER) {
			free(q->filter);
			q->filter = str_dup(value);
		} else if (key == ATTRIBUTE_RELEASE_ASKED) {
			free(q->release_asked);
			q->release_asked = str_dup(value);
		} else if (key == ATTRIBUTE_XFORWARD) {
			free(q->xforward);
			q->xforward = str_dup(value);
		} else if (key == ATTRIBUTE_TARGET) {
			get_target(r, value, q);
		} else if (key == ATTRIBUTE_FORWARDED) {
			get_forwarded(r, value, q);
		}
	}
}

enum err
queue_header_parse(struct str header, uint32_t crc, struct queue_entry *q)
{
	struct ipc_reader r = ipc_reader_of(header);
	struct str id;
	uint32_t n, i;
	unsigned ret;

	memset(q, 0, sizeof(*q));
	if (crc_of(header.p, header.len) != crc)
		return E_CORRUPT;
	id = ipc_get_str(&r);
	if (id.len >= sizeof(q->id) || str_has_control(id))
		r.err = E_CORRUPT;
	else if (id.len > 0)
		memcpy(q->id, id.p, id.len);
	q->arrival = (int64_t)ipc_get_u64(&r);
	q->sender = get_clean(&r);
	q->envid = get_clean(&r);
	q->client = get_clean(&r);
	ret = ipc_get_u8(&r);
	q->ret = ret <= DSN_RET_HDRS ? (enum dsn_ret)ret : DSN_RET_NONE;
	q->flags = ipc_get_u32(&r);
	n = ipc_get_u32(&r);
	if (n > QUEUE_RCPTS_MAX || q->arrival < 0)
		r.err = E_CORRUPT;
	for (i = 0; i < n && !r.err; i++)
		get_rcpt(&r, q);
	get_attributes(&r, q);
	if (r.err || ipc_reader_end(&r)) {
		queue_entry_free(q);
		return E_CORRUPT;
	}
	return OK;
}

size_t
queue_status_apply(struct queue_entry *q, struct str bytes)
{
	size_t off = 0;

	while (bytes.len - off >= 8) {
		uint32_t len = get_u32(bytes.p + off), crc = get_u32(bytes.p + off + 4);
		struct queue_rcpt scratch = {0};
		struct ipc_reader r;
		uint32_t index;

		if (len > QUEUE_STATUS_MAX || len > bytes.len - off - 8 ||
			crc_of(bytes.p + off + 8, len) != crc)
			break;
		r = ipc_reader_of(str_make(bytes.p + off + 8, len));
		index = ipc_get_u32(&r);
		get_status_fields(&r, &scratch);
		if (!r.err && !ipc_reader_end(&r) && index < q->rcpt_count) {
			struct queue_rcpt *rcpt = &q->rcpts[index];

			queue_rcpt_set(rcpt, scratch.status, str_of(scratch.dsn),
				str_of(scratch.text), str_of(scratch.mta));
			rcpt->reported = scratch.reported;
			rcpt->attempts = scratch.attempts;
			rcpt->next_try = scratch.next_try;
		}
		free(scratch.dsn);
		free(scratch.text);
		free(scratch.mta);
		off += 8 + len;
	}
	return off;
}

enum err
queue_file_parse(struct str file, struct queue_entry *q)
{
	uint32_t header_len, header_crc;
	uint64_t content_len, rest;
	enum err e;

	memset(q, 0, sizeof(*q));
	e = queue_prefix_parse(file, &header_len, &header_crc, &content_len);
	if (e)
		return e;
	rest = file.len - QUEUE_PREFIX_SIZE;
	if (header_len > rest || content_len > rest - header_len)
		return E_CORRUPT;
	e = queue_header_parse(str_make(file.p + QUEUE_PREFIX_SIZE, header_len), header_crc, q);
	if (e)
		return e;
	q->content_offset = QUEUE_PREFIX_SIZE + (uint64_t)header_len;
	q->content_len = content_len;
	q->end = q->content_offset + content_len;
	q->end += queue_status_apply(q, str_make(file.p + q->end, file.len - q->end));
	return OK;
}

/* Appends len bytes at offset to *out. E_CORRUPT: the file is shorter. */
static enum err
load_part(int fd, uint64_t offset, uint64_t len, struct buf *out)
{
	enum err e = buf_reserve(out, (size_t)len);

	while (e == OK && len > 0) {
		ssize_t n = pread(fd, out->p + out->len, (size_t)len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_from_errno(errno);
		if (n == 0)
			return E_CORRUPT;
		out->len += (size_t)n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return e;
}

enum err
queue_file_load(int fd, const char *id, struct queue_entry *q)
{
	struct buf bytes = {0};
	uint32_t header_len, header_crc;
	uint64_t content_len, tail;
	struct stat st;
	enum err e;

	memset(q, 0, sizeof(*q));
	if (fstat(fd, &st) != 0)
		return err_from_errno(errno);
	e = load_part(fd, 0, QUEUE_PREFIX_SIZE, &bytes);
	if (e == OK)
		e = queue_prefix_parse(buf_str(&bytes), &header_len, &header_crc, &content_len);
	if (e)
		goto out;
	tail = QUEUE_PREFIX_SIZE + (uint64_t)header_len + content_len;
	if ((uint64_t)st.st_size < tail) {
		e = E_CORRUPT;
		goto out;
	}
	buf_reset(&bytes);
	e = load_part(fd, QUEUE_PREFIX_SIZE, header_len, &bytes);
	if (e == OK)
		e = queue_header_parse(buf_str(&bytes), header_crc, q);
	if (e)
		goto out;
	if (strcmp(q->id, id) != 0) {
		e = E_CORRUPT;
		goto out;
	}
	q->content_offset = QUEUE_PREFIX_SIZE + (uint64_t)header_len;
	q->content_len = content_len;
	buf_reset(&bytes);
	e = load_part(fd, tail, (uint64_t)st.st_size - tail, &bytes);
	if (e == OK)
		q->end = tail + queue_status_apply(q, buf_str(&bytes));
out:
	if (e)
		queue_entry_free(q);
	buf_free(&bytes);
	return e;
}
