/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_SASL_SECRET_H
#define ROOST_AUTH_SASL_SECRET_H

#include <sasl/sasl.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * The auxiliary property plug-in that gives Cyrus SASL's mechanisms what the directory has stored
 * of a user, in the form in which each wants it: the password itself, SCRAM's keys (RFC 5803) or
 * CRAM-MD5's. A user who is not there, or of whom nothing fitting is stored, gets a secret that
 * nobody knows, the same in each try, so that the exchange fails where a wrong password fails.
 */

/* Once per process, after sasl_server_init. */
enum err sasl_secret_init(void);

/* Of SCRAM, for whom the password itself is stored, and for whom nothing is. */
#define SASL_SECRET_ITERATIONS "15000"

/* What the plug-in asks of an exchange: its own callback of the connection, with this context. */
enum { SASL_SECRET_CALLBACK = 0x9001 };
struct sasl_secret_source {
	/*
	 * Sets *stored to the stored password ("{SCHEME}data") of the user, on the heap, or leaves
	 * it NULL when there is none. E_TEMPFAIL: the database.
	 */
	enum err (*find)(struct sasl_secret_source *source, struct str user, char **stored);
	enum err error; /* of the last find */
	int fits; /* what was stored can serve the mechanism */
};

#endif
