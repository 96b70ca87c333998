/* SPDX-License-Identifier: MIT */
#include "mail/rights.h"

#include <string.h>

static const char letters[] = "lrswipkxtea"; /* as the bits are */

enum {
	CREATE_RIGHTS = RIGHT_CREATE | RIGHT_REMOVE,
	DELETE_RIGHTS = RIGHT_DELETE | RIGHT_EXPUNGE,
};

enum err
rights_parse(struct str text, unsigned *out)
{
	*out = 0;
	for (size_t i = 0; i < text.len; i++) {
		const char *at = text.p[i] ? strchr(letters, text.p[i]) : NULL;

		if (at)
			*out |= 1U << (at - letters);
		else if (text.p[i] == 'c')
			*out |= CREATE_RIGHTS;
		else if (text.p[i] == 'd')
			*out |= DELETE_RIGHTS;
		else
			return E_RANGE;
	}
	return OK;
}

void
rights_format(unsigned rights, char out[RIGHTS_TEXT])
{
	size_t n = 0;

	for (size_t i = 0; letters[i]; i++)
		if (rights & 1U << i)
			out[n++] = letters[i];
	if (rights & CREATE_RIGHTS)
		out[n++] = 'c';
	if (rights & DELETE_RIGHTS)
		out[n++] = 'd';
	out[n] = '\0';
}

void
rights_owner_init(struct rights_owner *o)
{
	*o = (struct rights_owner){.given = RIGHTS_ALL};
}

void
rights_owner_add(struct rights_owner *o, struct str identifier, struct str rights)
{
	unsigned bits;

	/* What somebody else wrote into the file gives nothing, and takes all, when unreadable. */
	if (str_is(identifier, RIGHTS_OWNER))
		o->given = RIGHTS_FIXED | (rights_parse(rights, &bits) ? 0 : bits);
	else if (str_is(identifier, RIGHTS_NOT_OWNER))
		o->taken = rights_parse(rights, &bits) ? RIGHTS_ALL : bits;
}

unsigned
rights_owner_have(const struct rights_owner *o)
{
	return (o->given & ~o->taken) | RIGHTS_FIXED;
}
