/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_ERR_H
#define ROOST_LIB_ERR_H

/*
 * The one error type. A function that can fail returns enum err; OK is 0, so "if (e)" reads as
 * "if it failed". Each value has one meaning; detail goes into a log line or an out parameter.
 */
enum err {
	OK = 0,

	/* What somebody sent us. */
	E_PARSE, /* malformed */
	E_TOOBIG, /* over a bound of ours */
	E_RANGE, /* well formed, but out of the allowed range */
	E_UNSUPPORTED, /* well formed, not offered here */
	E_PROTO, /* the peer broke the protocol between us */
	E_STATE, /* not allowed now */

	/* What was asked for. */
	E_NOTFOUND, /* no such thing: final */
	E_EXISTS, /* there already */
	E_CONFLICT, /* changed meanwhile (UNCHANGEDSINCE), or in use */
	E_ACCESS, /* not permitted */
	E_AUTH, /* wrong credentials */
	E_QUOTA, /* over quota */
	E_CORRUPT, /* stored data that does not hold together */

	/* The world outside. */
	E_TEMPFAIL, /* a part we need is down or overloaded: try again later */
	E_TIMEOUT, /* took too long */
	E_CLOSED, /* the peer closed the connection */
	E_IO, /* the system said EIO or something like it; errno was logged */
	E_NOSPACE, /* disk, inodes or descriptors used up */
	E_CANCELLED, /* called off by us */

	ERR_COUNT
};

/* A short lower-case English text, never NULL: "over quota". */
const char *err_text(enum err e);

/* A stable word for logs and JSON, never NULL: "quota". */
const char *err_word(enum err e);

/*
 * Whether trying the same again later may succeed. A mail protocol answers 4xx or [UNAVAILABLE]
 * for these and 5xx or NO for the others.
 */
int err_is_temporary(enum err e);

/* The err for an errno of a file or socket call; 0 gives OK, an unknown one E_IO. */
enum err err_from_errno(int errnum);

#endif
