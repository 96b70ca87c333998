/* SPDX-License-Identifier: MIT */
#include "lib/siphash.h"

#include <string.h>
#include <sys/random.h>

struct state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotate(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void
round_of(struct state *s)
{
	s->v0 += s->v1;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v2 = rotate(s->v2, 32);
}

static inline uint64_t
word_at(const char *p, size_t len)
{
	uint64_t w = 0;

	for (size_t i = 0; i < len; i++)
		w |= (uint64_t)(unsigned char)p[i] << 8 * i;
	return w;
}

static inline void
add_word(struct state *s, uint64_t w)
{
	s->v3 ^= w;
	round_of(s);
	round_of(s);
	s->v0 ^= w;
}

static uint64_t
finish(struct state *s)
{
	for (int i = 0; i < 4; i++)
		round_of(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

struct siphash
siphash_128(const struct siphash_key *key, struct str text)
{
	struct state s = {
		key->k0 ^ 0x736f6d6570736575,
		key->k1 ^ 0x646f72616e646f6d ^ 0xee,
		key->k0 ^ 0x6c7967656e657261,
		key->k1 ^ 0x7465646279746573,
	};
	struct siphash h;
	size_t i = 0;

	for (; i + 8 <= text.len; i += 8)
		add_word(&s, word_at(text.p + i, 8));
	add_word(&s, word_at(text.p + i, text.len - i) | (uint64_t)text.len << 56);
	s.v2 ^= 0xee;
	h.a = finish(&s);
	s.v1 ^= 0xdd;
	h.b = finish(&s);
	return h;
}

struct siphash_key
siphash_key_random(void)
{
	struct siphash_key key = {0, 0};

	/* So few bytes come at once or, on a kernel without random numbers, not at all. */
	if (getrandom(&key, sizeof(key), 0) != (ssize_t)sizeof(key))
		memset(&key, 0, sizeof(key));
	return key;
}
