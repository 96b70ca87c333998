/* SPDX-License-Identifier: MIT */
#include "mail/subject.h"

#include <string.h>

#include "mail/rfc2047.h"

/* RFC 5256 section 5: BLOBCHAR is anything but "[" and "]". The length of a subj-blob at s, or 0.
 */
static size_t
blob_len(struct str s)
{
	size_t i = 1;

	if (!s.len || s.p[0] != '[')
		return 0;
	while (i < s.len && s.p[i] != '[' && s.p[i] != ']')
		i++;
	if (i == s.len || s.p[i] != ']')
		return 0;
	i++;
	while (i < s.len && s.p[i] == ' ')
		i++;
	return i;
}

/* subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" ; its length, or 0. */
static size_t
refwd_len(struct str s)
{
	size_t i;

	if (str_starts_i(s, "fwd"))
		i = 3;
	else if (str_starts_i(s, "re") || str_starts_i(s, "fw"))
		i = 2;
	else
		return 0;
	while (i < s.len && s.p[i] == ' ')
		i++;
	i += blob_len(str_make(s.p + i, s.len - i));
	return i < s.len && s.p[i] == ':' ? i + 1 : 0;
}

static void
cut(struct str *s, size_t n)
{
	s->p += n;
	s->len -= n;
}

/* Step 2: "(fwd)" and blanks at the end. */
static int
cut_trailers(struct str *s)
{
	int reply = 0;

	for (;;) {
		if (s->len && s->p[s->len - 1] == ' ') {
			s->len--;
		} else if (str_ends_i(*s, "(fwd)")) {
			s->len -= 5;
			reply = 1;
		} else {
			return reply;
		}
	}
}

/*
 * Step 3: subj-leader = (*subj-blob subj-refwd) / WSP. 1 when something was cut. Blobs without a
 * refwd behind them are taken by step 4 one at a time; *blobs_end remembers where that was found
 * out, so that a thousand of them do not cost a million steps.
 */
static int
cut_leader(struct str *s, const char **blobs_end, int *reply)
{
	size_t i = 0, n;

	if (s->len && s->p[0] == ' ') {
		cut(s, 1);
		return 1;
	}
	if (*blobs_end && s->p <= *blobs_end)
		return 0;
	while ((n = blob_len(str_make(s->p + i, s->len - i))) != 0)
		i += n;
	*blobs_end = s->p + i;
	n = refwd_len(str_make(s->p + i, s->len - i));
	if (!n)
		return 0;
	cut(s, i + n);
	*reply = 1;
	return 1;
}

/* Steps 3 to 5. */
static void
cut_front(struct str *s, int *reply)
{
	const char *blobs_end = NULL;

	for (;;) {
		size_t n;

		if (cut_leader(s, &blobs_end, reply))
			continue;
		n = blob_len(*s);
		if (!n || n == s->len)
			return;
		cut(s, n);
	}
}

enum err
subject_base(struct str value, struct buf *out, int *is_reply)
{
	struct buf text = BUF_INIT(0);
	struct str s;
	size_t n = 0;
	int reply = 0;
	enum err e;

	rfc2047_decode(value, &text);
	/* Step 1: tabs are spaces, several are one. */
	for (size_t i = 0; i < text.len; i++) {
		char c = str_is_space(text.p[i]) ? ' ' : text.p[i];

		if (c != ' ' || (n && text.p[n - 1] != ' '))
			text.p[n++] = c;
	}
	s = str_make(text.p, n);
	while (s.len) {
		reply |= cut_trailers(&s);
		cut_front(&s, &reply);
		if (!(str_starts_i(s, "[fwd:") && s.p[s.len - 1] == ']'))
			break;
		s = str_make(s.p + 5, s.len - 6);
		reply = 1;
	}
	if (is_reply)
		*is_reply = reply;
	e = buf_add_str(out, s);
	buf_free(&text);
	return e;
}

/* At "(": behind its end. */
static size_t
comment_end(struct str s, size_t i)
{
	unsigned depth = 0;

	for (; i < s.len; i++) {
		if (s.p[i] == '\\' && i + 1 < s.len)
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return i;
}

/* Behind "<": copies up to ">" without quotes and blanks. Returns the place behind ">", or 0. */
static size_t
copy_id(struct str s, size_t i, struct buf *out)
{
	int quoted = 0;

	for (; i < s.len; i++) {
		char c = s.p[i];

		if (c == '"') {
			quoted = !quoted;
			continue;
		}
		if (c == '>' && !quoted)
			return i + 1;
		if (c == '<' && !quoted)
			return 0;
		if (c == '\\' && quoted && i + 1 < s.len)
			c = s.p[++i];
		else if (str_is_space(c))
			continue;
		if (c)
			buf_add_char(out, c);
	}
	return 0;
}

int
message_id_next(struct str *text, struct buf *out)
{
	size_t i = 0;

	while (i < text->len) {
		size_t end;

		if (text->p[i] == '(') {
			i = comment_end(*text, i);
			continue;
		}
		if (text->p[i] != '<') {
			i++;
			continue;
		}
		buf_reset(out);
		end = copy_id(*text, i + 1, out);
		if (end && out->len && !out->err) {
			cut(text, end);
			return 1;
		}
		i = end ? end : i + 1;
	}
	*text = (struct str){NULL, 0};
	return 0;
}
