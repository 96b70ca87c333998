/* SPDX-License-Identifier: MIT */
#include "mail/mime.h"

void
mime_parse(struct str bytes, const struct mime_limits *limits, struct mime_message **out)
{
	struct mime_parser *p = mime_parser_create(limits);

	mime_parser_feed(p, bytes.p, bytes.len);
	mime_parser_finish(p, out);
	mime_parser_free(&p);
}

struct mime_part *
mime_part_next(const struct mime_part *part)
{
	if (part->child)
		return part->child;
	while (part && !part->next)
		part = part->parent;
	return part ? part->next : NULL;
}

const struct mime_param *
mime_param_find(const struct mime_params *params, const char *name)
{
	for (size_t i = 0; i < params->n; i++)
		if (str_is_i(params->v[i].name, name))
			return &params->v[i];
	return NULL;
}

const struct mime_field *
mime_field_find(const struct mime_part *part, const char *name)
{
	struct str want = str_of(name);

	for (size_t i = 0; i < part->field_count; i++)
		if (str_equal_i(part->fields[i].name, want))
			return &part->fields[i];
	return NULL;
}
