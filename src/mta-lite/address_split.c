/* SPDX-License-Identifier: MIT */
#include "mta-lite/address_split.h"

size_t
address_domain_start(struct str address)
{
	size_t at = address.len;

	while (at > 0 && address.p[at - 1] != '@')
		at--;
	return at ? at : address.len;
}

size_t
address_extension_start(struct str user, char delimiter)
{
	if (delimiter == '\0' || user.len < 2 || str_is_i(user, "mailer-daemon") ||
		str_is_i(user, "double-bounce"))
		return user.len;
	if (delimiter == '-' && (str_starts_i(user, "owner-") || str_ends_i(user, "-request")))
		return user.len;
	return str_find(user, 1, delimiter);
}
