/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include "ctl/ctl_doctor.h"
#include "lib/io.h"

enum {
	LOW_PERCENT = 10,
	EMPTY_PERCENT = 2,
	INSTANCES_MIN = 128,
	WATCHES_MIN = 65536,
	FDS_PER_CONNECTION = 3,
	NUMBER_MAX = 64,
};

/* ---- directories ---- */

/* The user that owns what the daemons write: of the setting, or us, when we are not root. */
static uid_t
owner_of(const char *user)
{
	const struct passwd *pw = geteuid() == 0 && *user ? getpwnam(user) : NULL;

	return pw ? pw->pw_uid : geteuid();
}

static void
check_directory(struct doctor *d, const char *setting, const char *path, uid_t owner)
{
	struct stat st;

	if (!*path)
		return;
	if (stat(path, &st) != 0) {
		doctor_say(d, DOCTOR_ERROR, "permissions",
			"start Roost, which makes it, or mend the setting", "%s %s: %s", setting,
			path, strerror(errno));
	} else if (!S_ISDIR(st.st_mode)) {
		doctor_say(d, DOCTOR_ERROR, "permissions", "mend the setting",
			"%s %s is no directory", setting, path);
	} else if (st.st_uid != owner) {
		doctor_say(d, DOCTOR_ERROR, "permissions",
			"give it to the user that the settings user and mail_user name, with chown",
			"%s %s belongs to user %u and not to %u", setting, path,
			(unsigned)st.st_uid, (unsigned)owner);
	} else if (st.st_mode & S_IWOTH && !(st.st_mode & S_ISVTX)) {
		doctor_say(d, DOCTOR_ERROR, "permissions", "chmod o-w it",
			"everybody can write in %s %s", setting, path);
	} else {
		doctor_say(d, DOCTOR_OK, "permissions", NULL, "%s %s", setting, path);
	}
}

static void
check_readers(struct doctor *d, const char *setting, const char *path)
{
	struct stat st;

	if (*path && stat(path, &st) == 0 && (st.st_mode & (S_IROTH | S_IXOTH)))
		doctor_say(d, DOCTOR_WARNING, "permissions", "chmod o-rwx it",
			"every user of this machine can look into %s %s", setting, path);
}

static void
check_config_file(struct doctor *d)
{
	const char *path = d->conf->config_file;
	struct stat st;

	if (*path && strstr(d->conf->postgresql, "password") && stat(path, &st) == 0 &&
		(st.st_mode & S_IROTH))
		doctor_say(d, DOCTOR_ERROR, "permissions", "chmod o-r it",
			"%s has a password in it and everybody can read it", path);
}

static void
check_permissions(struct doctor *d)
{
	uid_t mail = owner_of(d->conf->mail_user);

	check_directory(d, "state_dir", d->conf->state_dir, geteuid());
	check_directory(d, "mail_dir", d->conf->mail_dir, mail);
	check_directory(d, "queue_dir", d->conf->queue_dir, mail);
	check_directory(d, "index_dir", d->conf->index_dir, mail);
	check_readers(d, "mail_dir", d->conf->mail_dir);
	check_readers(d, "queue_dir", d->conf->queue_dir);
	check_config_file(d);
}

/* ---- disks ---- */

static void
check_share(struct doctor *d, const char *path, const char *what, uint64_t free_count, uint64_t all)
{
	unsigned percent = all ? (unsigned)(free_count * 100 / all) : 100;

	if (percent >= LOW_PERCENT)
		return;
	doctor_say(d, percent < EMPTY_PERCENT ? DOCTOR_ERROR : DOCTOR_WARNING, "disk",
		"make room: a full disk turns mail away for the time being",
		"only %u%% of the %s are free where %s lies", percent, what, path);
}

static void
check_disk(struct doctor *d, const char *path)
{
	struct statvfs fs;

	if (!*path || statvfs(path, &fs) != 0)
		return;
	check_share(d, path, "bytes", fs.f_bavail, fs.f_blocks);
	check_share(d, path, "inodes", fs.f_favail, fs.f_files);
	doctor_say(d, DOCTOR_OK, "disk", NULL, "%s: %llu MB free", path,
		(unsigned long long)fs.f_bavail * fs.f_frsize >> 20);
}

/* ---- the kernel ---- */

/* 0: not known. */
static uint64_t
read_number(const char *path)
{
	struct buf text = BUF_INIT(NUMBER_MAX);
	uint64_t n = 0;

	if (io_read_file(path, &text) != OK || str_to_u64(str_trim(buf_str(&text)), &n) != OK)
		n = 0;
	buf_free(&text);
	return n;
}

static void
check_inotify(struct doctor *d)
{
	uint64_t instances = read_number("/proc/sys/fs/inotify/max_user_instances");
	uint64_t watches = read_number("/proc/sys/fs/inotify/max_user_watches");

	if (instances && instances < INSTANCES_MIN)
		doctor_say(d, DOCTOR_WARNING, "inotify",
			"sysctl -w fs.inotify.max_user_instances=1024, and into /etc/sysctl.d",
			"max_user_instances is %llu", (unsigned long long)instances);
	if (watches && watches < WATCHES_MIN)
		doctor_say(d, DOCTOR_WARNING, "inotify",
			"sysctl -w fs.inotify.max_user_watches=524288, and into /etc/sysctl.d",
			"max_user_watches is %llu: with many open mailboxes changes by other "
			"programs will show late",
			(unsigned long long)watches);
	if (instances >= INSTANCES_MIN && watches >= WATCHES_MIN)
		doctor_say(d, DOCTOR_OK, "inotify", NULL, "%llu instances, %llu watches",
			(unsigned long long)instances, (unsigned long long)watches);
}

static void
check_descriptors(struct doctor *d)
{
	uint64_t want = (uint64_t)d->conf->max_connections * FDS_PER_CONNECTION;
	uint64_t most = read_number("/proc/sys/fs/nr_open");
	struct rlimit r;

	/* What root may raise is the kernel's bound; for others the one they have. */
	if (geteuid() != 0 && getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_max != RLIM_INFINITY)
		most = r.rlim_max;
	if (most && most < want)
		doctor_say(d, DOCTOR_WARNING, "descriptors",
			"raise it (LimitNOFILE of the systemd unit, ulimit -Hn, sysctl fs.nr_open) or "
			"lower max_connections",
			"%llu descriptors for a process, and max_connections = %lld wants %llu",
			(unsigned long long)most, (long long)d->conf->max_connections,
			(unsigned long long)want);
}

static void
check_sandbox(struct doctor *d)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 1)
		doctor_say(d, DOCTOR_WARNING, "kernel",
			"use a kernel of 5.13 or newer with Landlock among its lsm=",
			"Landlock is missing: the daemons are less confined than they could be");
	else
		doctor_say(d, DOCTOR_OK, "kernel", NULL, "Landlock %ld", abi);
}

static void
check_clock(struct doctor *d)
{
	struct timex t = {0};
	int state = adjtimex(&t);

	if (state < 0)
		doctor_say(d, DOCTOR_NOTE, "clock", NULL, "cannot be asked: %s", strerror(errno));
	else if (state == TIME_ERROR || (t.status & STA_UNSYNC))
		doctor_say(d, DOCTOR_WARNING, "clock",
			"run systemd-timesyncd, chrony or ntpd: signatures, certificates and the "
			"order of mail depend on the time",
			"the kernel does not hear from a time server");
	else
		doctor_say(d, DOCTOR_OK, "clock", NULL, "follows a time server");
}

void
doctor_check_host(struct doctor *d)
{
	check_permissions(d);
	check_disk(d, d->conf->state_dir);
	check_disk(d, d->conf->mail_dir);
	check_disk(d, d->conf->queue_dir);
	check_disk(d, d->conf->index_dir);
	check_inotify(d);
	check_descriptors(d);
	check_sandbox(d);
	check_clock(d);
}
