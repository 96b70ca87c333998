/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/fts/fts_zip.h"

#include <string.h>
#include <zlib.h>

#include "mail/html_entity.h"
#include "mail/utf8.h"

enum {
	END_SIZE = 22, /* of the record at the end, without its comment */
	COMMENT_MAX = 65535,
	ENTRY_SIZE = 46, /* of a file in the directory, without its strings */
	LOCAL_SIZE = 30, /* in front of a file's bytes */
	ENTRIES_MAX = 10000,
	STORED = 0,
	DEFLATED = 8,
	ENCRYPTED = 1,
	CHUNK = 32 << 10,
};

/* Little-endian numbers; the caller has looked at the bounds. */
static unsigned
get16(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return (unsigned)b[0] | (unsigned)b[1] << 8;
}

static size_t
get32(const char *p)
{
	return (size_t)get16(p) | (size_t)get16(p + 2) << 16;
}

/* The directory at the end. 0: there is none. */
static int
find_directory(struct str a, struct str *directory, unsigned *entries)
{
	size_t at = a.len < END_SIZE ? 0 : a.len - END_SIZE + 1, looked = 0;

	while (at-- > 0 && looked++ <= COMMENT_MAX) {
		const char *p = a.p + at;
		size_t size, off;

		if (memcmp(p, "PK\5\6", 4) != 0)
			continue;
		*entries = get16(p + 10);
		size = get32(p + 12);
		off = get32(p + 16);
		if (off > a.len || size > a.len - off)
			return 0;
		*directory = str_make(a.p + off, size);
		return 1;
	}
	return 0;
}

static enum err
inflate_to(struct str packed, struct buf *out)
{
	z_stream z = {
		.next_in = (unsigned char *)(uintptr_t)packed.p, .avail_in = (unsigned)packed.len};
	unsigned char chunk[CHUNK];
	enum err e = OK;
	int r = Z_OK;

	if (packed.len > UINT32_MAX)
		return E_TOOBIG;
	if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
		return E_NOSPACE;
	while (!e && r == Z_OK) {
		z.next_out = chunk;
		z.avail_out = sizeof(chunk);
		r = inflate(&z, Z_NO_FLUSH);
		if (r == Z_OK || r == Z_STREAM_END)
			e = utf8_add_fitting(out, (char *)chunk, sizeof(chunk) - z.avail_out);
		else
			e = E_CORRUPT;
	}
	inflateEnd(&z);
	return e;
}

/* entry: ENTRY_SIZE bytes of the directory. */
static enum err
read_entry(struct str a, const char *entry, struct buf *out)
{
	unsigned flags = get16(entry + 8), method = get16(entry + 10);
	size_t packed = get32(entry + 20), off = get32(entry + 42), skip;

	if (flags & ENCRYPTED || packed == UINT32_MAX || off == UINT32_MAX)
		return E_UNSUPPORTED;
	if (off > a.len || LOCAL_SIZE > a.len - off || memcmp(a.p + off, "PK\3\4", 4) != 0)
		return E_CORRUPT;
	/* Its strings may have other lengths here than in the directory. */
	skip = LOCAL_SIZE + get16(a.p + off + 26) + get16(a.p + off + 28);
	if (skip > a.len - off || packed > a.len - off - skip)
		return E_CORRUPT;
	if (method == STORED)
		return utf8_add_fitting(out, a.p + off + skip, packed);
	return method == DEFLATED ? inflate_to(str_make(a.p + off + skip, packed), out)
				  : E_UNSUPPORTED;
}

enum err
fts_zip_read(struct str archive, struct str name, struct buf *out)
{
	struct str dir;
	unsigned entries = 0;

	if (!find_directory(archive, &dir, &entries))
		return E_NOTFOUND;
	if (entries > ENTRIES_MAX)
		entries = ENTRIES_MAX;
	while (entries-- > 0 && dir.len >= ENTRY_SIZE && memcmp(dir.p, "PK\1\2", 4) == 0) {
		size_t len = get16(dir.p + 28);
		size_t size = ENTRY_SIZE + len + get16(dir.p + 30) + get16(dir.p + 32);

		if (size > dir.len)
			return E_CORRUPT;
		if (str_equal(str_make(dir.p + ENTRY_SIZE, len), name))
			return read_entry(archive, dir.p, out);
		dir = str_make(dir.p + size, dir.len - size);
	}
	return E_NOTFOUND;
}

/* ---- XML ---- */

/* Of OpenDocument and of Office Open XML. */
static const char *const blanks[] = {"text:p", "text:h", "text:s", "text:tab", "text:line-break",
	"table:table-cell", "text:list-item", "w:p", "w:tab", "w:br", "w:cr", "w:tc"};

static int
is_blank_element(struct str name)
{
	for (size_t i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++)
		if (str_is(name, blanks[i]))
			return 1;
	return 0;
}

/* Behind "<". Returns the bytes through ">". */
static size_t
element(struct str s, struct buf *out)
{
	size_t end = str_find(s, 0, '>'), from = s.len && s.p[0] == '/', to = from;

	while (to < end && !str_is_space(s.p[to]) && s.p[to] != '/')
		to++;
	if (is_blank_element(str_make(s.p + from, to - from)))
		(void)buf_add_char(out, ' ');
	return end < s.len ? end + 1 : s.len;
}

/* Behind "&". Returns the bytes through ";", or 0: it is no reference. */
static size_t
reference(struct str s, struct buf *out)
{
	size_t end = str_find(str_make(s.p, s.len < 16 ? s.len : 16), 0, ';');
	uint32_t point;

	if (end >= s.len || end >= 16)
		return 0;
	point = html_entity_point(str_make(s.p, end));
	if (!point)
		return 0;
	(void)utf8_add(out, point);
	return end + 1;
}

void
fts_xml_text(struct str xml, struct buf *out)
{
	size_t at = 0;

	while (at < xml.len && !out->err) {
		struct str rest = str_make(xml.p + at + 1, xml.len - at - 1);
		size_t run = at;

		if (xml.p[at] == '<') {
			at += 1 + element(rest, out);
			continue;
		}
		if (xml.p[at] == '&') {
			size_t used = reference(rest, out);

			if (!used)
				(void)buf_add_char(out, '&');
			at += 1 + used;
			continue;
		}
		while (at < xml.len && xml.p[at] != '<' && xml.p[at] != '&')
			at++;
		(void)buf_add(out, xml.p + run, at - run);
	}
}
