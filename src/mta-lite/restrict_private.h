/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_RESTRICT_PRIVATE_H
#define ROOST_MTA_RESTRICT_PRIVATE_H

#include "lib/domain_list.h"
#include "mta-lite/restrict.h"

/* Between the files of the restrictions. */

enum restrict_argument {
	ARG_NONE,
	ARG_TABLE, /* type:name */
	ARG_ZONE, /* dnsbl.example[=127.0.0.[2..11]] */
	ARG_TEXT, /* a word */
};

struct restrict_run;
struct check;

/* A row of the table of checks. */
struct check_type {
	const char *name;
	enum restrict_argument argument;
	int asks_dns;
	enum restrict_verdict (*run)(struct restrict_run *r, const struct check *c);
};
/* Each file's rows, ended by a NULL name. */
extern const struct check_type restrict_permits[], restrict_names_checks[], restrict_lists[],
	restrict_access[];

/* One word of a list with what stands behind it. */
struct check {
	const struct check_type *type;
	struct map_list table; /* ARG_TABLE */
	char *text; /* ARG_ZONE: the zone; ARG_TEXT */
	char *filter; /* ARG_ZONE: what answers count; NULL: any in 127.0.0.0/8 */
};

struct check_list {
	struct check *checks;
	size_t count;
	int broken; /* it made no sense */
};

struct restrict_set {
	const struct config *conf;
	struct maps *maps;
	struct check_list stages[RESTRICT_STAGE_COUNT];
	struct map_list login_maps; /* smtpd_sender_login_maps */
	struct map_list client_certs; /* relay_clientcerts */
	struct {
		struct domain_list domains; /* words of relay_domains, and its tables */
		struct map_list tables;
		struct map_list recipients; /* relay_recipient_maps */
	} relay;
};

struct restrict_run {
	const struct restrict_set *set;
	enum restrict_stage stage;
	const struct restrict_facts *facts;
	const struct restrict_host *host;
	struct restrict_effects *effects;
	struct buf *reply;
	int warn; /* warn_if_reject: what is refused next is only logged */
	int depth; /* lists named in tables */
};

/* What a refusal is about (Postfix's reply classes). */
extern const char restrict_class_client[], restrict_class_helo[], restrict_class_sender[],
	restrict_class_recipient[], restrict_class_data[], restrict_class_end[],
	restrict_class_etrn[];

/*
 * "CODE DSN <name>: CLASS rejected: text". Under warn_if_reject it is logged and DUNNO; with
 * defer_if_reject a 5xx becomes a 4xx.
 */
enum restrict_verdict restrict_reject(struct restrict_run *r, int code, const char *dsn,
	const char *name, const char *class, const char *text);
/* The whole text is given. */
enum restrict_verdict restrict_reject_text(
	struct restrict_run *r, int code, const char *dsn, const char *text);
/* The same, kept for the end: nothing is decided yet. */
void restrict_defer_if_permit(struct restrict_run *r, int code, const char *dsn, const char *name,
	const char *class, const char *text);
/* What takes the place of a refusal for good (450). */
void restrict_defer_if_reject(struct restrict_run *r, const char *dsn, const char *name,
	const char *class, const char *text);
/* Tables that cannot be asked. */
enum restrict_verdict restrict_table_failed(
	struct restrict_run *r, const char *name, const char *class);

/* What a stage is about, for reject, defer and the like. */
const char *restrict_stage_class(const struct restrict_run *r);
const char *restrict_stage_name(const struct restrict_run *r, struct buf *space);

/* The right-hand side of an access table (access(5)) or a policy server's answer. */
enum restrict_verdict restrict_action(
	struct restrict_run *r, struct str action, const char *name, const char *class);

enum err restrict_list_parse(
	struct restrict_set *s, struct str text, struct check_list *out, struct buf *why);
void restrict_list_free(struct check_list *l);
enum restrict_verdict restrict_list_run(struct restrict_run *r, const struct check_list *l);

/* The domain of an address, NULL without one. */
const char *restrict_domain(const char *address);

/*
 * Tables that checks ask besides their own, of the setting of this name. Of one that makes no sense
 * nobody knows anything.
 */
void restrict_tables(struct restrict_set *s, const char *setting, const struct conf_list *names,
	struct map_list *out);

/* relay_domains and relay_recipient_maps. */
void restrict_relay_open(struct restrict_set *s);
void restrict_relay_close(struct restrict_set *s);
/* OK: mail for the address's domain, elsewhere, is taken; E_NOTFOUND; E_TEMPFAIL: nobody knows. */
enum err restrict_relay_domain(const struct restrict_set *s, const char *address);
/* OK: somebody there has the address, or nobody lists who has; E_NOTFOUND; E_TEMPFAIL. */
enum err restrict_relay_recipient(const struct restrict_set *s, const char *address);
/* "name[ip]" of the client, in *space. */
const char *restrict_client_text(struct restrict_run *r, struct buf *space);
int restrict_in_mynetworks(const struct restrict_run *r);

#endif
