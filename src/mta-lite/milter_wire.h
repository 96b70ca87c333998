/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_MILTER_WIRE_H
#define ROOST_MTA_MILTER_WIRE_H

#include "lib/buf.h"
#include "mta-lite/smtp_io.h"

/*
 * The packets of the milter protocol, version 6 (libmilter's): u32 length in network order, one
 * byte of command, data. There is no RFC; the letters and bits are those of Sendmail's mfdef.h.
 */
enum { MILTER_VERSION = 6, MILTER_PACKET_MAX = 1 << 20, MILTER_CHUNK = 65535 };

/* From us. */
enum milter_command {
	MILTER_OPTNEG = 'O',
	MILTER_MACRO = 'D',
	MILTER_CONNECT = 'C',
	MILTER_HELO = 'H',
	MILTER_MAIL = 'M',
	MILTER_RCPT = 'R',
	MILTER_DATA = 'T',
	MILTER_HEADER = 'L',
	MILTER_EOH = 'N',
	MILTER_BODY = 'B',
	MILTER_EOB = 'E',
	MILTER_ABORT = 'A',
	MILTER_QUIT = 'Q',
	MILTER_UNKNOWN = 'U',
};

/* From the filter. */
enum milter_response {
	MILTER_R_ADDRCPT = '+',
	MILTER_R_ADDRCPT_PAR = '2',
	MILTER_R_DELRCPT = '-',
	MILTER_R_ACCEPT = 'a',
	MILTER_R_REPLBODY = 'b',
	MILTER_R_CONTINUE = 'c',
	MILTER_R_DISCARD = 'd',
	MILTER_R_CHGFROM = 'e',
	MILTER_R_CONNFAIL = 'f',
	MILTER_R_ADDHEADER = 'h',
	MILTER_R_INSHEADER = 'i',
	MILTER_R_CHGHEADER = 'm',
	MILTER_R_OPTNEG = 'O',
	MILTER_R_PROGRESS = 'p',
	MILTER_R_QUARANTINE = 'q',
	MILTER_R_REJECT = 'r',
	MILTER_R_SKIP = 's',
	MILTER_R_TEMPFAIL = 't',
	MILTER_R_REPLYCODE = 'y',
};

/* What a filter may do; it names those that it wants. */
enum milter_action {
	MILTER_ADDHDRS = 0x1,
	MILTER_CHGBODY = 0x2,
	MILTER_ADDRCPT = 0x4,
	MILTER_DELRCPT = 0x8,
	MILTER_CHGHDRS = 0x10,
	MILTER_QUARANTINE = 0x20,
	MILTER_CHGFROM = 0x40,
	MILTER_ADDRCPT_PAR = 0x80,
	MILTER_SETSYMLIST = 0x100,
	MILTER_ACTIONS = 0x1ff,
};

/* What a filter does not want to hear (NO), and what it does not answer (NR). */
enum milter_protocol {
	MILTER_NO_CONNECT = 0x1,
	MILTER_NO_HELO = 0x2,
	MILTER_NO_MAIL = 0x4,
	MILTER_NO_RCPT = 0x8,
	MILTER_NO_BODY = 0x10,
	MILTER_NO_HEADER = 0x20,
	MILTER_NO_EOH = 0x40,
	MILTER_NR_HEADER = 0x80,
	MILTER_NO_UNKNOWN = 0x100,
	MILTER_NO_DATA = 0x200,
	MILTER_CAN_SKIP = 0x400,
	MILTER_RCPT_REJECTED = 0x800, /* wants to hear of refused recipients, too */
	MILTER_NR_CONNECT = 0x1000,
	MILTER_NR_HELO = 0x2000,
	MILTER_NR_MAIL = 0x4000,
	MILTER_NR_RCPT = 0x8000,
	MILTER_NR_DATA = 0x10000,
	MILTER_NR_UNKNOWN = 0x20000,
	MILTER_NR_EOH = 0x40000,
	MILTER_NR_BODY = 0x80000,
	MILTER_LEADING_SPACE = 0x100000,
	MILTER_PROTOCOL = 0x1fffff & ~MILTER_RCPT_REJECTED,
};

/* The points at which macros are sent; the numbers are the protocol's. */
enum milter_stage {
	MILTER_AT_CONNECT,
	MILTER_AT_HELO,
	MILTER_AT_MAIL,
	MILTER_AT_RCPT,
	MILTER_AT_DATA,
	MILTER_AT_EOM,
	MILTER_AT_EOH,
	MILTER_STAGES,
};

/* Fields of a packet being built. */
void milter_put_u32(struct buf *out, uint32_t n);
/* With its NUL; a NUL inside ends it. */
void milter_put_text(struct buf *out, struct str text);

/* Fields of one that came: cut off the front of *data. E_PROTO: not there. */
enum err milter_get_u32(struct str *data, uint32_t *out);
enum err milter_get_text(struct str *data, struct str *out);

enum err milter_write(struct smtp_io *io, int command, struct str data);
/*
 * The next packet that is not a sign of progress. *data lies in buf. E_PROTO: empty, too long, or
 * 10,000 signs of progress; E_TIMEOUT, E_CLOSED, E_IO.
 */
enum err milter_read(struct smtp_io *io, struct buf *buf, int *response, struct str *data);

/* What both sides agreed on. */
struct milter_terms {
	uint32_t version, actions, protocol;
	char *macros[MILTER_STAGES]; /* asked for by name, separated by blanks; NULL: the usual ones
				      */
};
/* Reads the answer to MILTER_OPTNEG; frees what *t had. E_PROTO: it asks for what was not offered.
 */
enum err milter_terms_parse(struct str data, struct milter_terms *t);
void milter_terms_free(struct milter_terms *t);

#endif
