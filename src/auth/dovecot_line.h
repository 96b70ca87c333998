/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_DOVECOT_LINE_H
#define ROOST_AUTH_DOVECOT_LINE_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Lines of the Dovecot authentication protocol, version 1.2: a command and its parameters with TABs
 * between. In a value \001 stands before "0" for NUL, "1" for itself, "t" for TAB, "r" for CR and
 * "n" for LF. Parameters that are not known are ignored. All slices point into the line.
 */
enum { DOVECOT_MAJOR = 1, DOVECOT_MINOR = 2 };

/* "VERSION" TAB major TAB minor. E_PARSE; E_UNSUPPORTED: another major version. */
enum err dovecot_version_parse(struct str params);

struct dovecot_auth {
	uint32_t id;
	struct str mechanism, service, session;
	struct str rip; /* the client's address */
	int secured; /* what the client sends is encrypted, or never leaves the machine */
	int has_resp;
	struct str resp; /* in base64 */
};
/*
 * "AUTH" TAB id TAB mechanism [TAB parameter ...]. E_PARSE: without an id nothing can be answered.
 * An absent or empty service is for the caller to refuse. An empty "resp=" is no response, "="
 * an empty one.
 */
enum err dovecot_auth_parse(struct str params, struct dovecot_auth *out);

/* "CONT" TAB id TAB data and "CANCEL" TAB id, "USER" TAB id TAB name. The rest is what comes behind
 * the id. */
enum err dovecot_id_parse(struct str params, uint32_t *id, struct str *rest);

/* A word that may stand in the log and in SASL: 1 to 32 of a-z, 0-9, - and _. */
int dovecot_is_service(struct str word);

/* "\tNAME=VALUE", the value escaped. */
void dovecot_put(struct buf *b, const char *name, struct str value);
void dovecot_put_escaped(struct buf *b, struct str value);

#endif
