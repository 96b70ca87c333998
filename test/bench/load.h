/* SPDX-License-Identifier: MIT */
#ifndef ROOST_BENCH_LOAD_H
#define ROOST_BENCH_LOAD_H

#include <stddef.h>
#include <stdint.h>

/*
 * What the load generators share: blocking connections, plain or TLS, that cost the machine as
 * little as possible, so that the server is what is measured. Any failure ends the program with a
 * message.
 */
struct load_conn;

struct load_conn *load_connect(const char *host, int port, int tls);
void load_close(struct load_conn **c);
void load_send(struct load_conn *c, const char *p, size_t len);
void load_sendf(struct load_conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The next line without its end, valid until the next read; *len may be NULL. */
const char *load_line(struct load_conn *c, size_t *len);
/* Reads and drops len bytes. */
void load_skip(struct load_conn *c, uint64_t len);
/* Reads an SMTP or LMTP reply (all its lines) and ends the program unless it begins with first. */
void load_expect(struct load_conn *c, char first);
/*
 * Reads IMAP responses, literals skipped, until the tagged one, which must be OK. Returns the bytes
 * read.
 */
uint64_t load_imap_result(struct load_conn *c, const char *tag);
uint64_t load_bytes(const struct load_conn *c);
/* The same, but returns 1 for OK and 0 for NO and BAD. */
int load_imap_is_ok(struct load_conn *c, const char *tag);

double load_now(void);
void load_die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
