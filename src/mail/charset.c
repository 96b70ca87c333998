/* SPDX-License-Identifier: MIT */
#include "mail/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "mail/utf8.h"

enum charset_kind { KIND_UTF8, KIND_LATIN1, KIND_WINDOWS1252, KIND_UNKNOWN, KIND_ICONV };

enum { HELD_MAX = 32, STEP = 2048 };

struct charset_conv {
	enum charset_kind kind;
	iconv_t cd;
	size_t unit; /* bytes to skip when iconv is stuck */
	unsigned char held[HELD_MAX];
	size_t held_len;
};

struct charset_name {
	const char *name;
	enum charset_kind kind;
	const char *iconv_name; /* NULL: the same name */
};

/*
 * Only what mail is really written in. iconv knows hundreds more, of which some had holes: their
 * code is not reached from a stranger's bytes.
 */
static const struct charset_name charset_names[] = {
	{"utf-8", KIND_UTF8, NULL},
	{"utf8", KIND_UTF8, NULL},
	{"unicode-1-1-utf-8", KIND_UTF8, NULL},
	{"us-ascii", KIND_UTF8, NULL},
	{"ascii", KIND_UTF8, NULL},
	{"ansi_x3.4-1968", KIND_UTF8, NULL},
	{"iso-8859-1", KIND_LATIN1, NULL},
	{"iso8859-1", KIND_LATIN1, NULL},
	{"iso_8859-1", KIND_LATIN1, NULL},
	{"latin1", KIND_LATIN1, NULL},
	{"windows-1252", KIND_WINDOWS1252, NULL},
	{"cp1252", KIND_WINDOWS1252, NULL},
	{"iso-8859-2", KIND_ICONV, NULL},
	{"iso-8859-3", KIND_ICONV, NULL},
	{"iso-8859-4", KIND_ICONV, NULL},
	{"iso-8859-5", KIND_ICONV, NULL},
	{"iso-8859-6", KIND_ICONV, NULL},
	{"iso-8859-7", KIND_ICONV, NULL},
	{"iso-8859-8", KIND_ICONV, NULL},
	{"iso-8859-8-i", KIND_ICONV, "iso-8859-8"},
	{"iso-8859-9", KIND_ICONV, NULL},
	{"iso-8859-10", KIND_ICONV, NULL},
	{"iso-8859-11", KIND_ICONV, NULL},
	{"iso-8859-13", KIND_ICONV, NULL},
	{"iso-8859-14", KIND_ICONV, NULL},
	{"iso-8859-15", KIND_ICONV, NULL},
	{"iso-8859-16", KIND_ICONV, NULL},
	{"windows-1250", KIND_ICONV, NULL},
	{"windows-1251", KIND_ICONV, NULL},
	{"windows-1253", KIND_ICONV, NULL},
	{"windows-1254", KIND_ICONV, NULL},
	{"windows-1255", KIND_ICONV, NULL},
	{"windows-1256", KIND_ICONV, NULL},
	{"windows-1257", KIND_ICONV, NULL},
	{"windows-1258", KIND_ICONV, NULL},
	{"windows-874", KIND_ICONV, "cp874"},
	{"windows-936", KIND_ICONV, "gbk"},
	{"windows-949", KIND_ICONV, "cp949"},
	{"windows-31j", KIND_ICONV, "cp932"},
	{"cp1250", KIND_ICONV, NULL},
	{"cp1251", KIND_ICONV, NULL},
	{"cp437", KIND_ICONV, NULL},
	{"cp850", KIND_ICONV, NULL},
	{"cp852", KIND_ICONV, NULL},
	{"cp866", KIND_ICONV, NULL},
	{"cp932", KIND_ICONV, NULL},
	{"cp949", KIND_ICONV, NULL},
	{"ibm437", KIND_ICONV, NULL},
	{"ibm850", KIND_ICONV, NULL},
	{"ibm852", KIND_ICONV, NULL},
	{"ibm866", KIND_ICONV, NULL},
	{"koi8-r", KIND_ICONV, NULL},
	{"koi8-u", KIND_ICONV, NULL},
	{"gb2312", KIND_ICONV, "gbk"},
	{"gbk", KIND_ICONV, NULL},
	{"gb18030", KIND_ICONV, NULL},
	{"big5", KIND_ICONV, NULL},
	{"big5-hkscs", KIND_ICONV, NULL},
	{"euc-jp", KIND_ICONV, NULL},
	{"euc-kr", KIND_ICONV, "cp949"},
	{"ks_c_5601-1987", KIND_ICONV, "cp949"},
	{"ks_c_5601", KIND_ICONV, "cp949"},
	{"euc-tw", KIND_ICONV, NULL},
	{"shift_jis", KIND_ICONV, "cp932"},
	{"shift-jis", KIND_ICONV, "cp932"},
	{"x-sjis", KIND_ICONV, "cp932"},
	{"sjis", KIND_ICONV, "cp932"},
	{"iso-2022-jp", KIND_ICONV, NULL},
	{"iso-2022-jp-1", KIND_ICONV, NULL},
	{"iso-2022-jp-2", KIND_ICONV, NULL},
	{"iso-2022-kr", KIND_ICONV, NULL},
	{"tis-620", KIND_ICONV, NULL},
	{"viscii", KIND_ICONV, NULL},
	{"macintosh", KIND_ICONV, NULL},
	{"utf-7", KIND_ICONV, NULL},
	{"utf-16", KIND_ICONV, NULL},
	{"utf-16be", KIND_ICONV, NULL},
	{"utf-16le", KIND_ICONV, NULL},
	{"utf-32", KIND_ICONV, NULL},
	{"utf-32be", KIND_ICONV, NULL},
	{"utf-32le", KIND_ICONV, NULL},
};

/* 0x80..0x9f of Windows-1252; 0 where nothing is assigned. */
static const uint16_t windows1252[32] = {0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
	0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d,
	0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178};

static const struct charset_name *
charset_lookup(struct str charset)
{
	for (size_t i = 0; i < sizeof(charset_names) / sizeof(charset_names[0]); i++)
		if (str_is_i(charset, charset_names[i].name))
			return &charset_names[i];
	return NULL;
}

static iconv_t
charset_open(const struct charset_name *n)
{
	return iconv_open("UTF-8", n->iconv_name ? n->iconv_name : n->name);
}

struct charset_conv *
charset_conv_create(struct str charset)
{
	struct charset_conv *c = MEM_NEW(struct charset_conv);
	const struct charset_name *n;

	charset = str_trim(charset);
	c->unit = 1;
	if (!charset.len)
		return c; /* KIND_UTF8 */
	n = charset_lookup(charset);
	c->kind = n ? n->kind : KIND_UNKNOWN;
	if (c->kind == KIND_ICONV) {
		c->cd = charset_open(n);
		if (c->cd == (iconv_t)-1)
			c->kind = KIND_UNKNOWN;
		else if (str_starts_i(charset, "utf-16"))
			c->unit = 2;
		else if (str_starts_i(charset, "utf-32"))
			c->unit = 4;
	}
	return c;
}

void
charset_conv_free(struct charset_conv **c)
{
	if (!*c)
		return;
	if ((*c)->kind == KIND_ICONV)
		iconv_close((*c)->cd);
	MEM_FREE(*c);
}

int
charset_is_known(struct str charset)
{
	const struct charset_name *n = charset_lookup(charset);
	iconv_t cd;

	if (!n)
		return 0;
	if (n->kind != KIND_ICONV)
		return 1;
	cd = charset_open(n);
	if (cd == (iconv_t)-1)
		return 0;
	iconv_close(cd);
	return 1;
}

/* Cleans bytes; returns how many at the end are the beginning of a character. */
static enum err
utf8_clean(const unsigned char *p, size_t len, struct buf *out, size_t *left)
{
	size_t from = 0, i = 0;
	enum err e;

	*left = 0;
	if (!len)
		return OK; /* p may be NULL */
	while (i < len) {
		uint32_t point;
		size_t used;
		enum utf8_result r;

		i += utf8_ascii_len((const char *)p + i, len - i);
		if (i == len)
			break;
		r = utf8_next(p + i, len - i, &point, &used);
		if (r == UTF8_GOOD) {
			i += used;
			continue;
		}
		e = utf8_add_fitting(out, (const char *)p + from, i - from);
		if (e)
			return e;
		if (r == UTF8_SHORT) {
			*left = len - i;
			return OK;
		}
		e = utf8_add(out, UTF8_REPLACEMENT);
		if (e)
			return e;
		i += used;
		from = i;
	}
	return utf8_add_fitting(out, (const char *)p + from, len - from);
}

static enum err
single_byte_feed(enum charset_kind kind, const unsigned char *p, size_t len, struct buf *out)
{
	size_t from = 0;
	enum err e;

	if (!len)
		return OK;
	for (size_t i = 0; i < len; i++) {
		uint32_t point = p[i];

		if (point < 0x80)
			continue;
		if (kind == KIND_WINDOWS1252 && point < 0xa0)
			point = windows1252[point - 0x80];
		if (kind == KIND_UNKNOWN || !point)
			point = UTF8_REPLACEMENT;
		e = utf8_add_fitting(out, (const char *)p + from, i - from);
		if (!e)
			e = utf8_add(out, point);
		if (e)
			return e;
		from = i + 1;
	}
	return utf8_add_fitting(out, (const char *)p + from, len - from);
}

/* Converts what it can of one run; *used bytes were eaten, the rest waits for more. */
static enum err
iconv_run(struct charset_conv *c, const unsigned char *p, size_t len, struct buf *out, size_t *used)
{
	char *in = (char *)(uintptr_t)p; /* iconv's prototype lacks the const it keeps to */
	size_t in_left = len;

	while (in_left) {
		char step[STEP], *to = step;
		size_t to_left = sizeof(step), left;
		size_t r = iconv(c->cd, &in, &in_left, &to, &to_left);
		int why = r == (size_t)-1 ? errno : 0;
		enum err e = utf8_clean((unsigned char *)step, (size_t)(to - step), out, &left);

		if (!e && why == EILSEQ) {
			size_t skip = c->unit < in_left ? c->unit : in_left;

			in += skip;
			in_left -= skip;
			e = utf8_add(out, UTF8_REPLACEMENT);
		}
		if (e)
			return e;
		if (why == EINVAL)
			break;
	}
	*used = len - in_left;
	return OK;
}

static enum err
run(struct charset_conv *c, const unsigned char *p, size_t len, struct buf *out, size_t *used)
{
	size_t left;
	enum err e;

	if (c->kind == KIND_ICONV)
		return iconv_run(c, p, len, out, used);
	e = utf8_clean(p, len, out, &left);
	*used = len - left;
	return e;
}

enum err
charset_conv_feed(struct charset_conv *c, const char *bytes, size_t len, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)bytes;
	size_t used = 0;
	enum err e;

	if (!len) /* bytes may be NULL then */
		return OK;
	if (c->kind != KIND_UTF8 && c->kind != KIND_ICONV)
		return single_byte_feed(c->kind, p, len, out);

	/* What was held back goes first, joined with as many new bytes as a character may need. */
	while (c->held_len && len) {
		c->held[c->held_len++] = *p++;
		len--;
		e = run(c, c->held, c->held_len, out, &used);
		if (e)
			return e;
		c->held_len -= used;
		memmove(c->held, c->held + used, c->held_len);
		if (c->held_len == HELD_MAX) { /* no charset has such characters */
			c->held_len = 0;
			e = utf8_add(out, UTF8_REPLACEMENT);
			if (e)
				return e;
		}
	}
	if (!len)
		return OK;
	e = run(c, p, len, out, &used);
	if (e)
		return e;
	if (len - used >= HELD_MAX)
		return utf8_add(out, UTF8_REPLACEMENT);
	c->held_len = len - used;
	memcpy(c->held, p + used, c->held_len);
	return OK;
}

enum err
charset_conv_finish(struct charset_conv *c, struct buf *out)
{
	enum err e = OK;

	if (c->kind == KIND_ICONV) {
		char step[64], *to = step;
		size_t to_left = sizeof(step), left;

		/* UTF-7 and the stateful ones may have a last character in store. */
		if (iconv(c->cd, NULL, NULL, &to, &to_left) != (size_t)-1)
			e = utf8_clean((unsigned char *)step, (size_t)(to - step), out, &left);
	}
	if (!e && c->held_len)
		e = utf8_add(out, UTF8_REPLACEMENT);
	c->held_len = 0;
	return e;
}

enum err
charset_to_utf8(struct str charset, struct str text, struct buf *out)
{
	struct charset_conv *c = charset_conv_create(charset);
	enum err e = charset_conv_feed(c, text.p, text.len, out);

	if (!e)
		e = charset_conv_finish(c, out);
	charset_conv_free(&c);
	return e;
}

enum err
charset_utf8_clean(struct str text, struct buf *out)
{
	size_t left;
	enum err e = utf8_clean((const unsigned char *)text.p, text.len, out, &left);

	return !e && left ? utf8_add(out, UTF8_REPLACEMENT) : e;
}
