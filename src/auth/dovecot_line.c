/* SPDX-License-Identifier: MIT */
#include "auth/dovecot_line.h"

#include <string.h>

enum { SERVICE_MAX = 32 };

enum err
dovecot_version_parse(struct str params)
{
	uint32_t major, minor;

	if (str_to_u32(str_split(&params, '\t'), &major) ||
		str_to_u32(str_split(&params, '\t'), &minor))
		return E_PARSE;
	return major == DOVECOT_MAJOR ? OK : E_UNSUPPORTED;
}

/* Whether parameter is NAME=..., with *value what follows. */
static int
has_name(struct str parameter, const char *name, struct str *value)
{
	size_t len = strlen(name);

	if (parameter.len <= len || memcmp(parameter.p, name, len) != 0 || parameter.p[len] != '=')
		return 0;
	*value = str_make(parameter.p + len + 1, parameter.len - len - 1);
	return 1;
}

static void
take_parameter(struct dovecot_auth *out, struct str parameter)
{
	if (has_name(parameter, "service", &out->service) ||
		has_name(parameter, "session", &out->session) ||
		has_name(parameter, "rip", &out->rip))
		return;
	if (has_name(parameter, "resp", &out->resp))
		out->has_resp = out->resp.len > 0;
	else if (str_is(parameter, "secured") || has_name(parameter, "secured", &(struct str){0}))
		out->secured = 1; /* "secured=tls" since 1.3 */
}

enum err
dovecot_auth_parse(struct str params, struct dovecot_auth *out)
{
	memset(out, 0, sizeof(*out));
	if (dovecot_id_parse(params, &out->id, &params))
		return E_PARSE;
	out->mechanism = str_split(&params, '\t');
	while (params.p)
		take_parameter(out, str_split(&params, '\t'));
	if (str_is(out->resp, "="))
		out->resp = STR("");
	return OK;
}

enum err
dovecot_id_parse(struct str params, uint32_t *id, struct str *rest)
{
	struct str word = str_split(&params, '\t');

	if (str_to_u32(word, id))
		return E_PARSE;
	*rest = params;
	return OK;
}

int
dovecot_is_service(struct str word)
{
	for (size_t i = 0; i < word.len; i++)
		if (!str_is_alnum(word.p[i]) && word.p[i] != '-' && word.p[i] != '_')
			return 0;
	return word.len > 0 && word.len <= SERVICE_MAX;
}

void
dovecot_put_escaped(struct buf *b, struct str value)
{
	static const char plain[] = {'\0', '\001', '\t', '\r', '\n'}, coded[] = "01trn";

	for (size_t i = 0; i < value.len; i++) {
		const char *at = memchr(plain, value.p[i], sizeof(plain));

		if (at)
			buf_add_char(b, '\001');
		buf_add_char(b, at ? coded[at - plain] : value.p[i]);
	}
}

void
dovecot_put(struct buf *b, const char *name, struct str value)
{
	buf_add_char(b, '\t');
	buf_add_cstr(b, name);
	buf_add_char(b, '=');
	dovecot_put_escaped(b, value);
}
