/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_CLIENT_H
#define ROOST_MTA_SMTP_CLIENT_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/str.h"
#include "mta-lite/queue_file.h"

/*
 * The client of SMTP (RFC 5321) and LMTP (RFC 2033): a connection that carries any number of
 * messages. Waits are those of RFC 5321 section 4.5.3.2 unless a deadline cuts them short.
 */
struct smtp_client;

enum smtp_extension {
	SMTP_EXT_PIPELINING = 1,
	SMTP_EXT_SIZE = 2,
	SMTP_EXT_8BITMIME = 4,
	SMTP_EXT_DSN = 8,
	SMTP_EXT_STARTTLS = 16,
};

/* What became of one recipient, or of the connection. */
struct smtp_answer {
	enum queue_status status; /* PENDING stands for a temporary failure */
	int code; /* of the reply; 0: there was none */
	char dsn[DSN_CODE_SIZE];
	char *text; /* the reply in one line, or what went wrong; on the heap; NULL before */
};
void smtp_answer_set(struct smtp_answer *a, enum queue_status status, const char *dsn,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Copies it. */
void smtp_answer_copy(struct smtp_answer *a, const struct smtp_answer *from);
void smtp_answer_free(struct smtp_answer *a);

/* Owns fd. helo: our name, borrowed. lmtp: LHLO, and a reply for each recipient. */
struct smtp_client *smtp_client_create(int fd, const char *helo, int lmtp);
/* Says QUIT without waiting for the answer. */
void smtp_client_free(struct smtp_client **c);
void smtp_client_set_deadline(struct smtp_client *c, int64_t deadline_ms);
unsigned smtp_client_extensions(const struct smtp_client *c);
const char *smtp_client_tls_text(const struct smtp_client *c);

/*
 * Greeting and EHLO (HELO if it is refused) or LHLO. Not OK: *why is set; the connection is of no
 * more use.
 */
enum err smtp_client_hello(struct smtp_client *c, struct smtp_answer *why);
/* STARTTLS, handshake and EHLO again. Not OK: *why is set; the connection is of no more use. */
enum err smtp_client_starttls(
	struct smtp_client *c, SSL_CTX *ctx, const char *name, struct smtp_answer *why);

struct smtp_send_rcpt {
	const char *address, *orcpt;
	unsigned notify;
};
struct smtp_send {
	const char *sender, *envid;
	enum dsn_ret ret;
	int has_8bit;
	uint64_t size;
	const struct smtp_send_rcpt *rcpts;
	size_t rcpt_count;
	/* The content: bytes at offset into p or elsewhere, empty at the end. */
	enum err (*read)(void *arg, uint64_t offset, void *p, size_t size, struct str *out);
	void *arg;
};
/*
 * One transaction. answers: one for each recipient, zeroed by the caller, all set afterwards. *sent
 * is 1 when the end of data was sent: what has no reply then may still have been delivered. OK: the
 * connection can be used again; else it cannot.
 */
enum err smtp_client_send(
	struct smtp_client *c, const struct smtp_send *m, struct smtp_answer *answers, int *sent);
/* Whether a connection that has been waiting is still good. */
int smtp_client_is_usable(struct smtp_client *c);

#endif
