/* SPDX-License-Identifier: MIT */
#include "import/postfix_conf.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* ---- logical lines ---- */

struct lines {
	struct str rest;
	unsigned next; /* number of the line at rest */
};

/*
 * A line with those that continue it, which begin with blanks; comments and empty lines in between
 * are passed over (postconf(5)). 0: the end.
 */
static int
next_logical(struct lines *l, struct buf *out, unsigned *number)
{
	buf_reset(out);
	while (l->rest.p != NULL) {
		struct str before = l->rest, line = str_split(&l->rest, '\n'),
			   text = str_trim(line);

		if (text.len == 0 || text.p[0] == '#') {
			l->next++;
			continue;
		}
		if (out->len > 0 && line.p[0] != ' ' && line.p[0] != '\t') {
			l->rest = before;
			return 1;
		}
		if (out->len == 0)
			*number = l->next;
		else
			buf_add_char(out, ' ');
		buf_add_str(out, text);
		l->next++;
	}
	return out->len > 0;
}

int
postfix_next_word(struct str *rest, struct str *word)
{
	size_t i = 0;
	unsigned depth = 0;

	while (rest->len > 0 && (str_is_space(rest->p[0]) || rest->p[0] == ','))
		*rest = str_make(rest->p + 1, rest->len - 1);
	while (i < rest->len && (depth > 0 || (!str_is_space(rest->p[i]) && rest->p[i] != ','))) {
		if (rest->p[i] == '{')
			depth++;
		else if (rest->p[i] == '}' && depth > 0)
			depth--;
		i++;
	}
	*word = str_make(rest->p, i);
	*rest = str_make(rest->p + i, rest->len - i);
	return i > 0;
}

/* ---- main.cf ---- */

static int
is_name(struct str name)
{
	size_t i;

	for (i = 0; i < name.len; i++) {
		if (!str_is_alnum(name.p[i]) && name.p[i] != '_')
			return 0;
	}
	return name.len > 0;
}

static struct postfix_setting *
find(const struct postfix_main *m, struct str name)
{
	size_t i;

	for (i = 0; i < m->count; i++) {
		if (str_is(name, m->v[i].name))
			return &m->v[i];
	}
	return NULL;
}

void
postfix_main_parse(struct str text, struct postfix_main *out, struct buf *problems)
{
	struct lines l = {text, 1};
	struct buf line = BUF_INIT(POSTFIX_VALUE_MAX);
	unsigned number = 0;

	memset(out, 0, sizeof(*out));
	while (next_logical(&l, &line, &number)) {
		struct str value = buf_str(&line), name = str_trim(str_split(&value, '='));
		struct postfix_setting *s;

		if (value.p == NULL || !is_name(name)) {
			buf_printf(problems, "main.cf:%u: this is no setting: %.*s\n", number,
				(int)(name.len > 60 ? 60 : name.len), name.p);
			continue;
		}
		s = find(out, name);
		if (s == NULL) {
			out->v = mem_realloc(out->v, out->count + 1, sizeof(*out->v));
			s = &out->v[out->count++];
			*s = (struct postfix_setting){.name = str_dup(name)};
		}
		free(s->value);
		s->value = str_dup(str_trim(value));
		s->line = number;
	}
	buf_free(&line);
}

void
postfix_main_free(struct postfix_main *m)
{
	size_t i;

	for (i = 0; i < m->count; i++) {
		free(m->v[i].name);
		free(m->v[i].value);
	}
	MEM_FREE(m->v);
	m->count = 0;
}

const char *
postfix_main_get(const struct postfix_main *m, const char *name)
{
	const struct postfix_setting *s = find(m, str_of(name));

	return s ? s->value : NULL;
}

/* What is referred to and seldom written. */
static const char *
default_of(struct str name)
{
	static const char *const defaults[][2] = {
		{"config_directory", "/etc/postfix"},
		{"data_directory", "/var/lib/postfix"},
		{"queue_directory", "/var/spool/postfix"},
		{"myorigin", "$myhostname"},
		{"mydestination", "$myhostname, localhost.$mydomain, localhost"},
		{"relay_domains", ""},
		{"alias_maps", "hash:/etc/aliases"},
		{"default_database_type", "hash"},
		{"virtual_alias_domains", "$virtual_alias_maps"},
		{"virtual_alias_maps", ""},
		{"mynetworks", "127.0.0.0/8 [::1]/128"},
		{"recipient_delimiter", ""},
	};
	size_t i;

	for (i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		if (str_is(name, defaults[i][0]))
			return defaults[i][1];
	}
	return NULL;
}

static enum err expand(
	const struct postfix_main *m, struct str value, unsigned depth, struct buf *out);

/* mydomain is what stands behind the first dot of myhostname. */
static enum err
expand_name(const struct postfix_main *m, struct str name, unsigned depth, struct buf *out)
{
	const struct postfix_setting *s = find(m, name);
	const char *text = s ? s->value : default_of(name);
	const struct postfix_setting *host;
	const char *dot;

	if (text)
		return expand(m, str_of(text), depth + 1, out);
	host = str_is(name, "mydomain") ? find(m, STR("myhostname")) : NULL;
	dot = host && host->value ? strchr(host->value, '.') : NULL;
	return dot ? expand(m, str_of(dot + 1), depth + 1, out) : OK;
}

static int
is_set(const struct postfix_main *m, struct str name)
{
	const struct postfix_setting *s = find(m, name);
	const char *text = s ? s->value : default_of(name);

	return text != NULL && text[0] != '\0';
}

/* Behind the brace that closes the one before i. */
static size_t
skip_braces(struct str v, size_t i)
{
	unsigned depth = 1;

	for (; i < v.len; i++) {
		if (v.p[i] == '{')
			depth++;
		else if (v.p[i] == '}' && --depth == 0)
			return i + 1;
	}
	return v.len;
}

/* "name", "name?text", "name:text", "name?{text}:{text}". */
static enum err
expand_braces(const struct postfix_main *m, struct str inner, unsigned depth, struct buf *out)
{
	size_t end = 0, close;
	struct str name, yes, no = {NULL, 0};
	int set;

	while (end < inner.len && (str_is_alnum(inner.p[end]) || inner.p[end] == '_'))
		end++;
	name = str_make(inner.p, end);
	if (end == inner.len)
		return expand_name(m, name, depth, out);
	set = is_set(m, name);
	yes = str_make(inner.p + end + 1, inner.len - end - 1);
	if (inner.p[end] == ':')
		return set ? expand_name(m, name, depth, out) : expand(m, yes, depth + 1, out);
	if (yes.len > 0 && yes.p[0] == '{') {
		close = skip_braces(yes, 1);
		no = str_trim(str_make(yes.p + close, yes.len - close));
		yes = str_make(yes.p + 1, close >= 2 ? close - 2 : 0);
		if (no.len > 2 && no.p[0] == ':' && no.p[1] == '{')
			no = str_make(no.p + 2, no.len - 3);
	}
	return expand(m, set ? yes : no, depth + 1, out);
}

static enum err
expand(const struct postfix_main *m, struct str value, unsigned depth, struct buf *out)
{
	size_t i = 0;
	enum err e = OK;

	if (depth > POSTFIX_DEPTH_MAX)
		return E_TOOBIG;
	while (e == OK && i < value.len) {
		size_t start = i + 1, end = start;

		if (value.p[i] != '$' || start == value.len) {
			buf_add_char(out, value.p[i++]);
			continue;
		}
		if (value.p[start] == '$') {
			buf_add_char(out, '$');
			i += 2;
			continue;
		}
		if (value.p[start] == '{' || value.p[start] == '(') {
			end = value.p[start] == '{' ? skip_braces(value, start + 1)
						    : str_find(value, start, ')') + 1;
			if (end > value.len)
				end = value.len;
			e = expand_braces(m,
				str_make(value.p + start + 1,
					end >= start + 2 ? end - start - 2 : 0),
				depth, out);
			i = end;
			continue;
		}
		while (end < value.len && (str_is_alnum(value.p[end]) || value.p[end] == '_'))
			end++;
		e = expand_name(m, str_make(value.p + start, end - start), depth, out);
		i = end;
	}
	return e ? e : out->err;
}

enum err
postfix_main_expand(const struct postfix_main *m, struct str value, struct buf *out)
{
	return expand(m, value, 0, out);
}

/* ---- for roost.conf ---- */

void
postfix_quote(struct str text, struct buf *out)
{
	size_t i;

	buf_add_char(out, '"');
	for (i = 0; i < text.len; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\' || text.p[i] == '$')
			buf_add_char(out, '\\');
		buf_add_char(out, text.p[i]);
	}
	buf_add_char(out, '"');
}

/* ---- master.cf ---- */

struct str
postfix_cut_word(struct str *s)
{
	struct str word;
	size_t end;

	*s = str_trim(*s);
	/* "-o { name = value }" */
	end = s->len > 0 && s->p[0] == '{' ? skip_braces(*s, 1) : str_find(*s, 0, ' ');
	if (s->len > 0 && s->p[0] != '{' && str_find(*s, 0, '\t') < end)
		end = str_find(*s, 0, '\t');
	word = str_make(s->p, end);
	*s = str_trim(str_make(s->p + end, s->len - end));
	return word;
}

static void
add_option(struct postfix_service *s, struct str word)
{
	struct postfix_option *o;
	struct str name;

	if (word.len >= 2 && word.p[0] == '{')
		word = str_make(word.p + 1, word.len - 2);
	name = str_trim(str_split(&word, '='));
	s->options = mem_realloc(s->options, s->option_count + 1, sizeof(*s->options));
	o = &s->options[s->option_count++];
	o->name = str_dup(name);
	o->value = str_dup(str_trim(word));
}

void
postfix_master_parse(struct str text, struct postfix_master *out, struct buf *problems)
{
	struct lines l = {text, 1};
	struct buf line = BUF_INIT(POSTFIX_VALUE_MAX);
	unsigned number = 0;

	memset(out, 0, sizeof(*out));
	while (next_logical(&l, &line, &number)) {
		struct str rest = buf_str(&line), name = postfix_cut_word(&rest),
			   type = postfix_cut_word(&rest), command = {NULL, 0};
		struct postfix_service *s;
		int i;

		/* private unpriv chroot wakeup maxproc, then the command */
		for (i = 0; i < 6; i++)
			command = postfix_cut_word(&rest);
		if (command.len == 0) {
			buf_printf(problems, "master.cf:%u: this is no service\n", number);
			continue;
		}
		out->v = mem_realloc(out->v, out->count + 1, sizeof(*out->v));
		s = &out->v[out->count++];
		*s = (struct postfix_service){.name = str_dup(name),
			.type = str_dup(type),
			.command = str_dup(command),
			.arguments = str_dup(rest)};
		while (rest.len > 0) {
			struct str word = postfix_cut_word(&rest);

			if (str_is(word, "-o"))
				add_option(s, postfix_cut_word(&rest));
		}
	}
	buf_free(&line);
}

void
postfix_master_free(struct postfix_master *m)
{
	size_t i, k;

	for (i = 0; i < m->count; i++) {
		struct postfix_service *s = &m->v[i];

		for (k = 0; k < s->option_count; k++) {
			free(s->options[k].name);
			free(s->options[k].value);
		}
		free(s->options);
		free(s->name);
		free(s->type);
		free(s->command);
		free(s->arguments);
	}
	MEM_FREE(m->v);
	m->count = 0;
}

const char *
postfix_service_option(const struct postfix_service *s, const char *name)
{
	size_t i;

	for (i = s->option_count; i-- > 0;) {
		if (strcmp(s->options[i].name, name) == 0)
			return s->options[i].value;
	}
	return NULL;
}
