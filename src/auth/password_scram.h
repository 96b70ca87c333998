/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_PASSWORD_SCRAM_H
#define ROOST_AUTH_PASSWORD_SCRAM_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * What a server keeps for SCRAM (RFC 5802 section 3), as Dovecot writes it behind {SCRAM-SHA-256}
 * or {SCRAM-SHA-1}: "iterations,salt,StoredKey,ServerKey", the last three in base64.
 */
enum { SCRAM_KEY_MAX = 32, SCRAM_SALT_MAX = 64, SCRAM_ITERATIONS_MAX = 10000000 };

enum scram_hash { SCRAM_SHA_1, SCRAM_SHA_256 };

struct scram_secret {
	enum scram_hash hash;
	uint32_t iterations;
	unsigned char salt[SCRAM_SALT_MAX];
	size_t salt_len;
	unsigned char stored_key[SCRAM_KEY_MAX], server_key[SCRAM_KEY_MAX];
	size_t key_len; /* of both: 20 or 32 */
};

/* E_UNSUPPORTED: damaged. */
enum err scram_secret_parse(enum scram_hash hash, const char *data, struct scram_secret *out);
/* From a password, for users whose password is known. E_TEMPFAIL: memory. */
enum err scram_secret_derive(enum scram_hash hash, struct str password, uint32_t iterations,
	const unsigned char *salt, size_t salt_len, struct scram_secret *out);
/* Overwrites what it holds. */
void scram_secret_wipe(struct scram_secret *s);

#endif
