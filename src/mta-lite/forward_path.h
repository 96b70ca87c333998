/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_FORWARD_PATH_H
#define ROOST_MTA_FORWARD_PATH_H

#include "lib/buf.h"
#include "lib/str.h"

/* The names of files in forward_path, which parameters stand in (local(8) of Postfix). */

/* Empty: has no value. What comes from the mail has no "/" in it (forward_names_set). */
struct forward_names {
	struct str user, home, shell; /* of passwd(5) */
	struct str recipient, local, extension, domain; /* of the address */
	struct str delimiter; /* before the extension; empty without one */
};

/*
 * Splits an address: recipient, local, extension, domain, delimiter and user, the local part
 * without its extension. delimiter: of recipient_delimiter, 0 for none. All borrowed from address
 * and delimiter. An extension with a "/" in it is none.
 */
void forward_names_set(struct forward_names *n, struct str address, const char *delimiter);

/*
 * Appends the pattern with "$name", "${name}" and "$(name)" replaced, "${name?text}" by the text
 * if it has a value, "${name:text}" if it has none, "$$" by "$". E_NOTFOUND: a parameter has no
 * value here; E_PARSE: there is no such parameter, or a brace is missing.
 */
enum err forward_path_expand(struct str pattern, const struct forward_names *n, struct buf *out);

#endif
