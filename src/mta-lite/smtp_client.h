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
struct transcript;

enum smtp_extension {
	SMTP_EXT_PIPELINING = 1,
	SMTP_EXT_SIZE = 2,
	SMTP_EXT_8BITMIME = 4,
	SMTP_EXT_DSN = 8,
	SMTP_EXT_STARTTLS = 16,
	SMTP_EXT_SMTPUTF8 = 32, /* RFC 6531 */
	SMTP_EXT_CHUNKING = 64, /* RFC 3030 */
	SMTP_EXT_BINARYMIME = 128, /* RFC 3030 */
	SMTP_EXT_REQUIRETLS = 256, /* RFC 8689 */
	SMTP_EXT_PRIORITY = 512, /* RFC 6710 */
	SMTP_EXT_AUTH = 1024, /* RFC 4954 */
	SMTP_EXT_XFORWARD = 2048, /* Postfix's */
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
/*
 * Keeps what is said from now on, for as long as the client lives; noted is set when the server did
 * not understand a command, or was not understood. Borrowed; NULL: no more.
 */
void smtp_client_set_transcript(struct smtp_client *c, struct transcript *t);
void smtp_client_set_deadline(struct smtp_client *c, int64_t deadline_ms);
unsigned smtp_client_extensions(const struct smtp_client *c);
const char *smtp_client_tls_text(const struct smtp_client *c);
/* The name that the server gave itself in its answer to EHLO; "". Borrowed. */
const char *smtp_client_peer_name(const struct smtp_client *c);
/* The server's SASL mechanisms, separated by blanks; "". Borrowed. */
const char *smtp_client_mechanisms(const struct smtp_client *c);

/*
 * Greeting and EHLO (HELO if it is refused) or LHLO. Not OK: *why is set; the connection is of no
 * more use.
 */
enum err smtp_client_hello(struct smtp_client *c, struct smtp_answer *why);
/*
 * STARTTLS, handshake and EHLO again. ssl: what is to be checked, taken over. Not OK: *why is set;
 * the connection is of no more use.
 */
enum err smtp_client_starttls(struct smtp_client *c, SSL *ssl, struct smtp_answer *why);
/* TLS from the first byte on (port 465), to be called before smtp_client_hello. */
enum err smtp_client_tls(struct smtp_client *c, SSL *ssl, struct smtp_answer *why);
/*
 * AUTH (RFC 4954): one line of the exchange, and the reply's code and text. initial: the response
 * sent with the command, NULL for none; the texts are base64 already. *text is borrowed until the
 * next call.
 */
enum err smtp_client_auth(struct smtp_client *c, const char *mechanism, const char *initial,
	int *code, struct str *text);
enum err smtp_client_auth_next(
	struct smtp_client *c, const char *response, int *code, struct str *text);
/* The last reply as an answer. */
void smtp_client_last_answer(struct smtp_client *c, const char *step, struct smtp_answer *a);

struct smtp_send_rcpt {
	const char *address, *orcpt;
	unsigned notify;
};
struct smtp_send {
	const char *sender, *envid;
	enum dsn_ret ret;
	int has_8bit;
	unsigned flags; /* enum queue_flag: SMTPUTF8, REQUIRETLS and BINARY count */
	int priority; /* MT-PRIORITY; 0: not said */
	/* The content is sent only if each recipient was accepted; else all get the refusal. */
	int all_or_none;
	/* Attributes of XFORWARD for a server that offers it; NULL, "": none. */
	const char *xforward;
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
