/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_PASSWD_FILE_H
#define ROOST_AUTH_PASSWD_FILE_H

#include "auth/addr.h"
#include "auth/directory.h"
#include "lib/err.h"

/*
 * Users in a file, one a line, as Dovecot's passwd-file has them:
 *
 *   address:{SCHEME}password:uid:gid:gecos:home:shell:extra
 *
 * All behind the password may be left out, and all but extra is passed over. extra: words with
 * blanks between, "quota_bytes=N", "quota_messages=N", "protocols=imap,smtp",
 * "networks=10.0.0.0/8", "host=mail.example.net" (his mail is there, auth/moved.h),
 * "acl_groups=staff" (with commas between), "nologin" (switched off, but for one with a host);
 * others are passed over. A line that begins with "#" is a comment. A line that cannot be
 * understood is logged and left out; of two with one address the later holds.
 *
 * The file is read again when it has changed. For several threads.
 */
struct passwd_file;

enum { PASSWD_FILE_MAX = 64 * 1024 * 1024 };

struct passwd_file *passwd_file_create(const char *path);
void passwd_file_free(struct passwd_file **f);
/*
 * The user of exactly this address. *out is zeroed first; limits that the file does not name are
 * those of the settings. E_NOTFOUND; E_TEMPFAIL: the file could never be read.
 */
enum err passwd_file_find(struct passwd_file *f, const struct auth_settings *s,
	const struct addr *a, struct directory_user *out);

#endif
