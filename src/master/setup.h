/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MASTER_SETUP_H
#define ROOST_MASTER_SETUP_H

#include <sys/types.h>

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "master/daemons.h"

/*
 * What must be in place before the first daemon starts. Every function appends what is wrong, a
 * line each with what to do about it, to *problems, and goes on, so that all is told at once.
 */

/* The users exist (as root), the programs are there. E_NOTFOUND. */
enum err setup_check(const struct config *conf, struct buf *problems);
/* Puts the template of quota_warning_template into quota_warning_text. E_PARSE, E_IO, ... */
enum err setup_quota_warning(struct config *conf, struct buf *problems);
/* Makes state_dir, run, tls, mail_dir, queue_dir, index_dir with their owners and modes. */
enum err setup_directories(const struct config *conf, struct buf *problems);
/*
 * Makes sure that no other master runs on this state_dir: holds *fd_out locked until the end.
 * E_CONFLICT.
 */
enum err setup_lock(const struct config *conf, int *fd_out, struct buf *problems);
/* Fills in the host's name if the setting is empty. */
void setup_hostname(struct config *conf);
/* uid and gid of a daemon's user; ours when nothing is given up. */
enum err setup_user(
	enum daemon_user user, const struct config *conf, uid_t *uid_out, gid_t *gid_out);
/* Whether we are root and can give files and processes to others. */
int setup_is_root(void);

/*
 * The log file of the settings, opened for appending; -1 with "stderr" and "syslog". errno tells.
 */
enum err setup_log_open(const struct config *conf, int *fd_out);
/* Logs there from now on: the file becomes descriptor 2. fd stays open. */
void setup_log_use(const struct config *conf, int fd);
/* Puts a new random secret into an internal setting. */
void setup_secret(char **setting);

/* ---- cert.c ---- */

/*
 * Puts the certificate and key into tls_cert_pem and tls_key_pem: those in tls_cert and tls_key, or
 * self-signed ones that are made in state_dir/tls if create is set and they are not there. Checks
 * that they fit. create 0 and none there: left empty.
 */
enum err cert_load(struct config *conf, int create, struct buf *problems);

#endif
