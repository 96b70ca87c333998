/* SPDX-License-Identifier: MIT */
#ifndef ROOST_CTL_DOCTOR_H
#define ROOST_CTL_DOCTOR_H

#include "ctl/ctl_tool.h"

/* `roostctl doctor`: looks at everything around Roost that can be wrong. */

/* NOTE: was not looked at, or is as somebody may want it. */
enum doctor_level { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_ERROR };

struct doctor {
	struct tool *tool;
	const struct config *conf;
	json_t *findings; /* array of {"level", "check", "finding", "remedy"} */
	unsigned counts[DOCTOR_ERROR + 1];
};

/* remedy: what to do about it, a text without a dot at its end; NULL for OK. */
void doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *remedy,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* ctl_doctor_host.c: directories, disk space, the kernel's limits, the clock. */
void doctor_check_host(struct doctor *d);
/* ctl_doctor_tls.c: the certificate and its key. */
void doctor_check_certificate(struct doctor *d);
/*
 * ctl_doctor_dns.c: what other servers find of this host and of the domains. selectors: of DKIM,
 * ended by NULL.
 */
void doctor_check_dns(struct doctor *d, const char *const *domains, const char *const *selectors);

#endif
