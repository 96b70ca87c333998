/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_QUEUE_FILE_H
#define ROOST_MTA_QUEUE_FILE_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "mta-lite/dsn.h"

/*
 * A queued message as one file (doc/queue.md):
 *
 * - prefix, 32 bytes: "ROOSTQ1\n", u32 header length, u32 CRC-32 of the header, u64 content
 *   length, u32 0, u32 CRC-32 of the 28 bytes before;
 * - header: envelope and recipients, length-prefixed fields, then attributes, each a u8 key and a
 *   length-prefixed text, of which unknown ones are passed over; never changed;
 * - content: the message with CRLF line ends, never changed;
 * - statuses, appended one by one: u32 length, u32 CRC-32, fields; the last for a recipient counts.
 *   A torn or broken record ends the list: it was never promised to anybody.
 *
 * Numbers are in the machine's byte order: a queue stays on machines of one kind.
 */
enum { QUEUE_PREFIX_SIZE = 32, QUEUE_ID_SIZE = 24, QUEUE_RCPTS_MAX = 20000 };
enum { QUEUE_HEADER_MAX = 32 << 20, QUEUE_STATUS_MAX = 4096 };

enum queue_status {
	QUEUE_PENDING, /* to be tried, at next_try */
	QUEUE_DELIVERED, /* final delivery here, or to a hop that does not report success itself */
	QUEUE_RELAYED, /* handed to a server that took over the duty of reporting (DSN) */
	QUEUE_EXPANDED, /* an alias: its targets stand for it */
	QUEUE_FAILED, /* permanently */
	QUEUE_STATUS_COUNT,
};

enum queue_flag {
	QUEUE_8BIT = 1, /* the content has bytes over 0x7f */
	QUEUE_BOUNCE = 2, /* a delivery report of ours */
	QUEUE_DOUBLE_BOUNCE = 4, /* a report about an undeliverable report: dropped if it fails */
	QUEUE_SMTPUTF8 = 8, /* sent with SMTPUTF8 (RFC 6531) */
	QUEUE_REQUIRETLS = 16, /* sent with REQUIRETLS (RFC 8689) */
	QUEUE_TLS_OPTIONAL = 32, /* its header says "TLS-Required: No" (RFC 8689 section 5) */
	QUEUE_BINARY = 64, /* BODY=BINARYMIME (RFC 3030): any bytes, lines of any length */
	QUEUE_HELD = 128, /* goes from incoming to hold */
};

/* Who brings the message to a recipient. */
enum queue_place {
	QUEUE_ELSEWHERE = 0, /* another server, or a host of ours */
	QUEUE_MAILBOX = 1, /* roost-lmtp */
	QUEUE_ALIAS = 2, /* roost-local: a name in alias_maps, or a user with a .forward */
	QUEUE_TARGET = 3, /* roost-local: a file or command that an alias leads to */
	QUEUE_FORWARD = 4, /* roost-local: one that the .forward of this user leads to */
	QUEUE_PLACE_COUNT,
};
/* Whether the recipient has a target. */
int queue_place_is_target(int place);

/* What the sender has been told about a recipient: a set. */
enum queue_reported {
	QUEUE_REPORTED = 1, /* how it ended, or it need not be told */
	QUEUE_WARNED = 2, /* that it takes long */
};

struct queue_rcpt {
	/* Fixed, from the header. */
	char *address;
	char *orcpt; /* decoded, "rfc822;alice@example.test"; "" if none */
	unsigned notify; /* enum dsn_notify */
	int local; /* enum queue_place */
	char *target; /* TARGET, FORWARD: "|command", "/path"; else NULL. address is whose it is. */
	int forwarded; /* here for somebody else: the sender is rewritten on the way (srs.h) */
	/* What the last status record says. */
	enum queue_status status;
	unsigned reported; /* enum queue_reported */
	uint32_t attempts;
	int64_t next_try; /* Unix time, seconds */
	char *dsn; /* "5.1.1"; "" before the first try */
	char *text; /* what the other side said */
	char *mta; /* who said it; "" if nobody */
};

struct queue_entry {
	char id[QUEUE_ID_SIZE];
	char *sender; /* "" for <> */
	char *envid; /* decoded */
	char *client; /* "mail.example.com[192.0.2.1]", for the log and mailq */
	enum dsn_ret ret;
	unsigned flags; /* enum queue_flag */
	int64_t arrival; /* Unix time, seconds */
	/* Attributes: 0, NULL or "" when not given. */
	int priority; /* MT-PRIORITY (RFC 6710), -9 to 9 */
	int64_t hold_until; /* FUTURERELEASE (RFC 4865): Unix time before which nothing is tried */
	char *filter; /* TRANSPORT:NEXTHOP that gets the message, whatever its recipients */
	char *release_asked; /* as FUTURERELEASE asked: "for;SECONDS", "until;DATE" */
	char *xforward; /* what XFORWARD tells that filter of the client */
	struct queue_rcpt *rcpts;
	size_t rcpt_count;
	uint64_t content_offset, content_len;
	uint64_t end; /* behind the last good status record: where the next one goes */
};

/* Adds an empty recipient with copies of these. */
struct queue_rcpt *queue_entry_add_rcpt(
	struct queue_entry *q, const char *address, const char *orcpt, unsigned notify, int local);
void queue_entry_free(struct queue_entry *q);
/* Copies all but the recipients and the places in the file; *out is overwritten. */
void queue_entry_copy_envelope(const struct queue_entry *q, struct queue_entry *out);
/* Takes recipient i out; those behind it move up. */
void queue_entry_drop_rcpt(struct queue_entry *q, size_t i);
/* Frees the recipients; the rest stays. */
void queue_entry_drop_rcpts(struct queue_entry *q);
/* Sets the changeable part; dsn, text and mta are copied, control bytes in them become "?". */
void queue_rcpt_set(struct queue_rcpt *r, enum queue_status status, struct str dsn, struct str text,
	struct str mta);

/* Appends prefix and header for this content length. E_TOOBIG. */
enum err queue_header_write(const struct queue_entry *q, uint64_t content_len, struct buf *out);
/* Appends a status record for recipient index. */
void queue_status_write(const struct queue_entry *q, size_t index, struct buf *out);

/* The three numbers of the prefix. bytes: QUEUE_PREFIX_SIZE of them. E_CORRUPT. */
enum err queue_prefix_parse(
	struct str bytes, uint32_t *header_len, uint32_t *header_crc, uint64_t *content_len);
/* Fills *q, which is zeroed first, from the header alone. E_CORRUPT: *q is empty. */
enum err queue_header_parse(struct str header, uint32_t crc, struct queue_entry *q);
/* Applies the records at the front of bytes; returns how many bytes were good. */
size_t queue_status_apply(struct queue_entry *q, struct str bytes);
/* A whole file in memory: for tests and small tools. */
enum err queue_file_parse(struct str file, struct queue_entry *q);
/* The same from a descriptor, content not read. E_CORRUPT, E_IO. */
enum err queue_file_load(int fd, const char *id, struct queue_entry *q);

/* Whether a status is the last word for a recipient. */
int queue_status_final(enum queue_status s);
/* "pending", "delivered", ...; never NULL. */
const char *queue_status_word(enum queue_status s);

#endif
