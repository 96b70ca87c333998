/* SPDX-License-Identifier: MIT */
#include "lib/idn.h"

#include <idn2.h>
#include <stdlib.h>
#include <string.h>

static enum err
copy(struct str s, char *out, size_t size)
{
	if (s.len >= size)
		return E_TOOBIG;
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return OK;
}

enum err
idn_to_ascii(struct str domain, char *out, size_t size)
{
	char *name, *ascii = NULL;
	enum err e = E_PARSE;

	if (str_is_ascii(domain))
		return copy(domain, out, size);
	if (domain.len >= size)
		return E_TOOBIG;
	name = str_dup(domain);
	if (idn2_to_ascii_8z(name, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK &&
		str_is_ascii(str_of(ascii)))
		e = copy(str_of(ascii), out, size);
	idn2_free(ascii);
	free(name);
	return e;
}
