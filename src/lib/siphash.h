/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_SIPHASH_H
#define ROOST_LIB_SIPHASH_H

#include <stdint.h>

#include "lib/str.h"

/*
 * SipHash-2-4 with 128 bits (Aumasson, Bernstein 2012): a hash under a secret key, for tables of
 * what others choose. With a random key nobody can look for collisions; 128 bits may stand for the
 * text itself.
 */
struct siphash_key {
	uint64_t k0, k1;
};
struct siphash {
	uint64_t a, b;
};

/* From the system's random numbers. */
struct siphash_key siphash_key_random(void);
struct siphash siphash_128(const struct siphash_key *key, struct str text);

static inline int
siphash_equal(struct siphash x, struct siphash y)
{
	return x.a == y.a && x.b == y.b;
}

#endif
