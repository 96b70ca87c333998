/* SPDX-License-Identifier: MIT */
#include "index/message_id.h"

#include <string.h>

#include <openssl/evp.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mail/cache.h"

/*
 * The email id is the same for the same message however its lines end on disk: every CR right
 * before an LF is left out of the hash.
 */
struct message_hash {
	EVP_MD_CTX *ctx;
	size_t crs; /* CRs at the end of what was fed, not yet known to be part of a line end */
};

static void
digest(EVP_MD_CTX *ctx, const char *p, size_t len)
{
	if (len > 0 && EVP_DigestUpdate(ctx, p, len) != 1) {
		log_bug(__FILE__, __LINE__, "SHA-256");
	}
}

struct message_hash *
message_hash_create(void)
{
	struct message_hash *h = MEM_NEW(struct message_hash);

	h->ctx = EVP_MD_CTX_new();
	if (h->ctx == NULL || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
		log_bug(__FILE__, __LINE__, "SHA-256");
	}
	return h;
}

/* CRs that turned out to be no line end. */
static void
release_crs(struct message_hash *h)
{
	for (; h->crs > 0; h->crs--) {
		digest(h->ctx, "\r", 1);
	}
}

void
message_hash_feed(struct message_hash *h, const char *p, size_t len)
{
	const char *end = p + len;

	while (p < end) {
		const char *cr;

		if (h->crs > 0 && *p == '\n') {
			h->crs = 0;
		} else if (h->crs > 0 && *p != '\r') {
			release_crs(h);
		}
		cr = memchr(p, '\r', (size_t)(end - p));
		if (cr == NULL) {
			cr = end;
		}
		digest(h->ctx, p, (size_t)(cr - p));
		for (p = cr; p < end && *p == '\r'; p++) {
			h->crs++;
		}
	}
}

void
message_hash_finish(struct message_hash **h, unsigned char out[16])
{
	unsigned char full[EVP_MAX_MD_SIZE];

	if (*h == NULL) {
		return;
	}
	release_crs(*h);
	if (EVP_DigestFinal_ex((*h)->ctx, full, NULL) != 1) {
		log_bug(__FILE__, __LINE__, "SHA-256");
	}
	if (out != NULL) {
		memcpy(out, full, 16);
	}
	EVP_MD_CTX_free((*h)->ctx);
	MEM_FREE(*h);
}

void
message_thread_id(struct str cache_record, const unsigned char email_id[16], unsigned char out[16])
{
	struct str list, id = {0};
	unsigned char full[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx;

	memcpy(out, email_id, 16);
	if (mail_cache_get(cache_record, MAIL_CACHE_REFERENCES, &list) != OK ||
		!mail_cache_reference_next(&list, &id)) {
		if (mail_cache_get(cache_record, MAIL_CACHE_MESSAGE_ID, &id) != OK) {
			return;
		}
	}
	if (id.len == 0) {
		return;
	}
	ctx = EVP_MD_CTX_new();
	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
		log_bug(__FILE__, __LINE__, "SHA-256");
	}
	digest(ctx, id.p, id.len);
	if (EVP_DigestFinal_ex(ctx, full, NULL) == 1) {
		memcpy(out, full, 16);
	}
	EVP_MD_CTX_free(ctx);
}

uint64_t
message_crlf_size(const char *p, size_t len)
{
	uint64_t size = len;
	const char *end = p + len;

	for (const char *s = p; s < end; s++) {
		s = memchr(s, '\n', (size_t)(end - s));
		if (s == NULL) {
			break;
		}
		size += s == p || s[-1] != '\r';
	}
	return size;
}
