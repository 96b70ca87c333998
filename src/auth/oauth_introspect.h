/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_OAUTH_INTROSPECT_H
#define ROOST_AUTH_OAUTH_INTROSPECT_H

#include <jansson.h>

#include "lib/err.h"
#include "lib/str.h"

/* Token introspection (RFC 7662) over HTTPS, by libcurl. */
struct oauth_provider {
	char *url; /* https, or http to a loopback address; "": none */
	char *credentials; /* "client:secret" for Basic, or "" */
	char *ca; /* a file with who vouches for its certificate; "": the system's */
	long timeout_ms;
};
enum { OAUTH_ANSWER_MAX = 64 * 1024 };

/* Once, before there are threads. */
enum err oauth_introspect_init(void);
/* Blocks for at most timeout_ms. OK: *answer is an object, the caller frees it. E_TEMPFAIL. */
enum err oauth_introspect(const struct oauth_provider *p, struct str token, json_t **answer);

#endif
