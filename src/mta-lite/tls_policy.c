/* SPDX-License-Identifier: MIT */
#include "mta-lite/tls_policy.h"

#include <string.h>

#include "lib/buf.h"

enum err
tls_level_parse(struct str word, enum tls_level *out)
{
	static const struct {
		const char *word;
		enum tls_level level;
	} levels[] = {
		{"none", TLS_LEVEL_NONE},
		{"may", TLS_LEVEL_MAY},
		{"encrypt", TLS_LEVEL_ENCRYPT},
		{"dane", TLS_LEVEL_DANE},
		{"dane-only", TLS_LEVEL_DANE_ONLY},
		{"verify", TLS_LEVEL_VERIFY},
		{"secure", TLS_LEVEL_SECURE},
	};
	size_t i;

	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (str_is_i(word, levels[i].word)) {
			*out = levels[i].level;
			return OK;
		}
	}
	return E_PARSE;
}

/* Takes a buffer's text over into a fixed array. */
static enum err
settle(struct buf *text, char out[TLS_MATCH_SIZE])
{
	enum err e = text->err;

	if (e == OK) {
		if (text->len > 0)
			memcpy(out, text->p, text->len);
		out[text->len] = '\0';
	}
	buf_free(text);
	return e;
}

enum err
tls_policy_parse(struct str text, struct tls_policy *out)
{
	struct buf names = BUF_INIT(TLS_MATCH_SIZE - 1);
	struct str word;
	enum err e;

	memset(out, 0, sizeof(*out));
	text = str_trim(text);
	word = str_split(&text, ' ');
	e = tls_level_parse(word, &out->level);
	while (e == OK && text.p) {
		word = str_trim(str_split(&text, ' '));
		if (word.len == 0)
			continue;
		if (!str_starts_i(word, "match=")) {
			e = str_find(word, 0, '=') < word.len ? E_UNSUPPORTED : E_PARSE;
			break;
		}
		word = str_make(word.p + 6, word.len - 6);
		while (word.p) {
			struct str name = str_split(&word, ':');

			if (name.len == 0)
				continue;
			if (names.len > 0)
				buf_add_char(&names, ' ');
			buf_add_str(&names, name);
		}
		if (names.len == 0 && !names.err)
			e = E_PARSE;
	}
	if (e) {
		buf_free(&names);
		return e;
	}
	return settle(&names, out->match);
}

enum err
tls_policy_names(
	const struct tls_policy *p, const char *nexthop, const char *host, char out[TLS_MATCH_SIZE])
{
	struct str names = str_of(p->match[0]			 ? p->match
				  : p->level == TLS_LEVEL_SECURE ? "nexthop dot-nexthop"
								 : "hostname");
	struct buf text = BUF_INIT(TLS_MATCH_SIZE - 1);

	while (names.p) {
		struct str name = str_split(&names, ' ');

		if (text.len > 0)
			buf_add_char(&text, ' ');
		if (str_is_i(name, "hostname"))
			buf_add_cstr(&text, host);
		else if (str_is_i(name, "nexthop"))
			buf_add_cstr(&text, nexthop);
		else if (str_is_i(name, "dot-nexthop"))
			buf_printf(&text, ".%s", nexthop);
		else
			buf_add_str(&text, name);
	}
	return settle(&text, out);
}
