/* SPDX-License-Identifier: MIT */
#include "mta-lite/milter_wire.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

enum { PROGRESS_MAX = 10000, MACRO_LIST_MAX = 2048 };

void
milter_put_u32(struct buf *out, uint32_t n)
{
	n = htonl(n);
	buf_add(out, &n, sizeof(n));
}

void
milter_put_text(struct buf *out, struct str text)
{
	text.len = str_find(text, 0, '\0');
	buf_add_str(out, text);
	buf_add_char(out, '\0');
}

enum err
milter_get_u32(struct str *data, uint32_t *out)
{
	uint32_t n;

	if (data->len < sizeof(n))
		return E_PROTO;
	memcpy(&n, data->p, sizeof(n));
	*out = ntohl(n);
	data->p += sizeof(n);
	data->len -= sizeof(n);
	return OK;
}

enum err
milter_get_text(struct str *data, struct str *out)
{
	size_t end = str_find(*data, 0, '\0');

	if (end == data->len)
		return E_PROTO;
	*out = str_make(data->p, end);
	data->p += end + 1;
	data->len -= end + 1;
	return OK;
}

enum err
milter_write(struct smtp_io *io, int command, struct str data)
{
	struct buf head = {0};
	enum err e;

	milter_put_u32(&head, (uint32_t)data.len + 1);
	buf_add_char(&head, (char)command);
	e = smtp_io_write(io, buf_str(&head));
	buf_free(&head);
	return e ? e : smtp_io_write(io, data);
}

static enum err
read_exact(struct smtp_io *io, char *p, size_t len)
{
	while (len > 0) {
		size_t got = 0;
		enum err e = smtp_io_read(io, p, len, &got);

		if (e)
			return e;
		p += got;
		len -= got;
	}
	return OK;
}

enum err
milter_read(struct smtp_io *io, struct buf *buf, int *response, struct str *data)
{
	unsigned progress;

	for (progress = 0; progress < PROGRESS_MAX; progress++) {
		uint32_t len;
		enum err e = read_exact(io, (char *)&len, sizeof(len));

		if (e)
			return e;
		len = ntohl(len);
		if (len == 0 || len > MILTER_PACKET_MAX)
			return E_PROTO;
		buf_reset(buf);
		(void)buf_reserve(buf, len);
		e = read_exact(io, buf->p, len);
		if (e)
			return e;
		buf->len = len;
		*response = (unsigned char)buf->p[0];
		*data = str_make(buf->p + 1, len - 1);
		if (*response != MILTER_R_PROGRESS)
			return OK;
	}
	return E_PROTO;
}

enum err
milter_terms_parse(struct str data, struct milter_terms *t)
{
	uint32_t stage;
	struct str list;

	milter_terms_free(t);
	if (milter_get_u32(&data, &t->version) || milter_get_u32(&data, &t->actions) ||
		milter_get_u32(&data, &t->protocol))
		return E_PROTO;
	if (t->version < 2 || t->version > MILTER_VERSION)
		return E_PROTO;
	if ((t->actions & ~(uint32_t)MILTER_ACTIONS) || (t->protocol & ~(uint32_t)MILTER_PROTOCOL))
		return E_PROTO;
	while (data.len > 0) {
		if (milter_get_u32(&data, &stage) || milter_get_text(&data, &list))
			return E_PROTO;
		if (stage >= MILTER_STAGES || list.len > MACRO_LIST_MAX)
			return E_PROTO;
		free(t->macros[stage]);
		t->macros[stage] = str_dup(list);
	}
	return OK;
}

void
milter_terms_free(struct milter_terms *t)
{
	size_t i;

	for (i = 0; i < MILTER_STAGES; i++)
		free(t->macros[i]);
	memset(t, 0, sizeof(*t));
}
