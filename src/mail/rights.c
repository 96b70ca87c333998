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

static int
is_in_group(const struct rights_who *who, struct str name)
{
	struct str rest = str_of(who->groups);

	while (name.len > 0 && rest.p)
		if (str_equal_i(str_split(&rest, ','), name))
			return 1;
	return 0;
}

int
rights_identifier_means(struct str identifier, const struct rights_who *who)
{
	if (identifier.len > 0 && identifier.p[0] == '$')
		return is_in_group(who, str_make(identifier.p + 1, identifier.len - 1));
	return str_is_i(identifier, RIGHTS_ANYONE) || str_is_i(identifier, RIGHTS_AUTHENTICATED) ||
	       str_is_i(identifier, who->user);
}

/* Takes the "-" off an identifier that has one. */
static int
take_sign(struct str *identifier)
{
	int negative = identifier->len > 0 && identifier->p[0] == '-';

	if (negative)
		*identifier = str_make(identifier->p + 1, identifier->len - 1);
	return negative;
}

/* What cannot be read gives nothing and takes all, as above. */
static void
bits_add(struct rights_guest *g, int negative, struct str rights)
{
	unsigned bits;

	if (rights_parse(rights, &bits))
		bits = negative ? RIGHTS_ALL : 0;
	*(negative ? &g->taken : &g->given) |= bits;
}

void
rights_guest_add(struct rights_guest *g, const struct rights_who *who, struct str identifier,
	struct str rights)
{
	int negative = take_sign(&identifier);
	int may_be_meant = negative && !who->groups && identifier.len > 0 && identifier.p[0] == '$';

	if (may_be_meant || rights_identifier_means(identifier, who))
		bits_add(g, negative, rights);
}

void
rights_stranger_add(struct rights_guest *g, struct str identifier, struct str rights)
{
	int negative = take_sign(&identifier);

	if (str_is_i(identifier, RIGHTS_ANYONE))
		bits_add(g, negative, rights);
}

int
rights_stranger_posts(const struct rights_guest *g, int to_be_given)
{
	return !(g->taken & RIGHT_POST) && (!to_be_given || (g->given & RIGHT_POST));
}

unsigned
rights_guest_have(const struct rights_guest *g)
{
	return g->given & ~g->taken;
}

int
rights_entry_gives(struct str identifier, struct str rights)
{
	return rights.len > 0 && identifier.len > 0 && identifier.p[0] != '-' &&
	       !str_is_i(identifier, RIGHTS_OWNER);
}

void
rights_identifier_prepare(struct str identifier, const char *owner, struct buf *out)
{
	static const char group[] = "group=";
	const char *domain = strrchr(owner, '@');
	size_t sign = identifier.len > 0 && identifier.p[0] == '-';
	struct str name = str_make(identifier.p + sign, identifier.len - sign);

	if (str_is_i(name, owner) || str_is_i(name, RIGHTS_OWNER)) {
		(void)buf_add_cstr(out, sign ? RIGHTS_NOT_OWNER : RIGHTS_OWNER);
		return;
	}
	if (sign)
		(void)buf_add_char(out, '-');
	/* Dovecot's word for it, in its files and its doveadm. */
	if (str_starts_i(name, group)) {
		(void)buf_add_char(out, '$');
		name = str_make(name.p + sizeof(group) - 1, name.len - (sizeof(group) - 1));
		domain = NULL;
	}
	for (size_t i = 0; i < name.len; i++)
		(void)buf_add_char(out, str_lower(name.p[i]));
	if (domain && name.len > 0 && name.p[0] != '$' && str_find(name, 0, '@') == name.len &&
		!str_is_i(name, RIGHTS_ANYONE) && !str_is_i(name, RIGHTS_AUTHENTICATED))
		(void)buf_add_cstr(out, domain);
}
