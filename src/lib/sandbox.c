/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/sandbox.h"

#include "lib/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"

/* What newer kernels than the headers know; an older kernel is asked for less. */
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#define LANDLOCK_NET_BIND_TCP (1ULL << 0)
#define LANDLOCK_NET_PORT_RULE 2
#define LANDLOCK_NET_CONNECT_TCP (1ULL << 1)
#define LANDLOCK_SCOPED_ABSTRACT_UNIX (1ULL << 0)
#define LANDLOCK_SCOPED_SIGNAL (1ULL << 1)

struct path_rule {
	char *path;
	unsigned access;
};

struct sandbox {
	struct path_rule *rules;
	size_t count;
	unsigned can;
};

/* struct landlock_ruleset_attr with the network field of ABI 4 and the scopes of ABI 6. */
struct ruleset_attr {
	uint64_t handled_fs;
	uint64_t handled_net;
	uint64_t scoped;
};

struct sandbox *
sandbox_create(void)
{
	struct sandbox *sb = MEM_NEW(struct sandbox);

#ifdef ROOST_ASAN
	/* The leak checker of the sanitizer looks through its own threads at exit. */
	sandbox_allow_path(sb, "/proc", SANDBOX_READ);
#endif
	return sb;
}

void
sandbox_free(struct sandbox **sb)
{
	if (!*sb)
		return;
	for (size_t i = 0; i < (*sb)->count; i++)
		free((*sb)->rules[i].path);
	free((*sb)->rules);
	MEM_FREE(*sb);
}

void
sandbox_allow_path(struct sandbox *sb, const char *path, unsigned access)
{
	sb->rules = mem_realloc(sb->rules, sb->count + 1, sizeof(*sb->rules));
	sb->rules[sb->count++] = (struct path_rule){mem_strdup(path), access};
}

void
sandbox_allow(struct sandbox *sb, unsigned can)
{
	sb->can |= can;
}

void
sandbox_add(struct sandbox *sb, const struct sandbox *other)
{
	for (size_t i = 0; i < other->count; i++)
		sandbox_allow_path(sb, other->rules[i].path, other->rules[i].access);
	sandbox_allow(sb, other->can);
}

static int
is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static int
covers_path(const struct sandbox *sb, const struct path_rule *rule)
{
	unsigned access = 0;

	for (size_t i = 0; i < sb->count; i++)
		if (is_below(rule->path, sb->rules[i].path))
			access |= sb->rules[i].access;
	return (rule->access & ~access) == 0;
}

int
sandbox_covers(const struct sandbox *sb, const struct sandbox *other)
{
	if (sb->can & SANDBOX_CAN_ALL)
		return 1;
	for (size_t i = 0; i < other->count; i++)
		if (!covers_path(sb, &other->rules[i]))
			return 0;
	return (other->can & ~sb->can) == 0;
}

/* ---- Landlock: files and TCP ---- */

static const uint64_t fs_read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t fs_write = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
				 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
				 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
				 LANDLOCK_ACCESS_FS_REFER | LANDLOCK_ACCESS_FS_TRUNCATE;
static const uint64_t fs_file_only = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
				     LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_EXECUTE;

static uint64_t
handled_fs(int abi)
{
	uint64_t all = fs_read | fs_write | LANDLOCK_ACCESS_FS_EXECUTE |
		       LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		       LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM;

	if (abi < 2)
		all &= ~LANDLOCK_ACCESS_FS_REFER;
	if (abi < 3)
		all &= ~LANDLOCK_ACCESS_FS_TRUNCATE;
	return all;
}

static enum err
add_rule(int ruleset, const struct path_rule *rule, uint64_t handled)
{
	struct landlock_path_beneath_attr attr = {0};
	struct stat st;
	int fd = open(rule->path, O_PATH | O_CLOEXEC);
	enum err e = OK;

	/* What file permissions keep from us needs no rule: whoever opens it is told so. */
	if (fd < 0)
		return errno == ENOENT || errno == EACCES ? OK : err_from_errno(errno);
	if (rule->access & SANDBOX_READ)
		attr.allowed_access |= fs_read;
	if (rule->access & SANDBOX_WRITE)
		attr.allowed_access |= fs_write;
	if (rule->access & SANDBOX_EXEC)
		attr.allowed_access |= LANDLOCK_ACCESS_FS_EXECUTE;
	if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
		attr.allowed_access &= fs_file_only;
	attr.allowed_access &= handled;
	attr.parent_fd = fd;
	if (attr.allowed_access &&
		syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0)
		e = err_from_errno(errno);
	close(fd);
	return e;
}

/* Port 0 stands for one that the kernel chooses. */
static enum err
add_source_rule(int ruleset)
{
	const struct {
		uint64_t access, port;
	} rule = {LANDLOCK_NET_BIND_TCP, 0};

	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_NET_PORT_RULE, &rule, 0) == 0
		       ? OK
		       : err_from_errno(errno);
}

static enum err
enter_landlock(const struct sandbox *sb)
{
	int abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset_attr attr = {0};
	size_t size = sizeof(attr.handled_fs);
	int ruleset;
	enum err e = OK;

	if (abi < 1)
		return E_UNSUPPORTED;
	attr.handled_fs = handled_fs(abi);
	if (abi >= 4) {
		attr.handled_net = LANDLOCK_NET_BIND_TCP;
		if (!(sb->can & SANDBOX_CAN_CONNECT_TCP))
			attr.handled_net |= LANDLOCK_NET_CONNECT_TCP;
		size = offsetof(struct ruleset_attr, scoped);
	}
	/* No signal leaves the sandbox: a session cannot end another user's. */
	if (abi >= 6) {
		attr.scoped = LANDLOCK_SCOPED_ABSTRACT_UNIX | LANDLOCK_SCOPED_SIGNAL;
		size = sizeof(attr);
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0)
		return err_from_errno(errno);
	for (size_t i = 0; i < sb->count && !e; i++) {
		e = add_rule(ruleset, &sb->rules[i], attr.handled_fs);
		if (e)
			log_event(LOGL_ERROR, "sandbox.path failed", "path", sb->rules[i].path,
				"error", err_word(e), NULL);
	}
	if (!e && abi >= 4 && (sb->can & SANDBOX_CAN_BIND_SOURCE))
		e = add_source_rule(ruleset);
	if (!e && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		e = err_from_errno(errno);
	close(ruleset);
	return e;
}

/* ---- seccomp: system calls ---- */

/* Nothing of Roost ever needs these after its start. */
static const int never_calls[] = {SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root),
	SCMP_SYS(chroot), SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(add_key), SCMP_SYS(request_key),
	SCMP_SYS(keyctl), SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(swapon),
	SCMP_SYS(swapoff), SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime), SCMP_SYS(adjtimex), SCMP_SYS(acct), SCMP_SYS(quotactl),
	SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(personality), SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(open_by_handle_at),
	SCMP_SYS(name_to_handle_at), SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid),
	SCMP_SYS(setregid), SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setgroups),
	SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(symlink), SCMP_SYS(symlinkat)};

/* Those that one of enum sandbox_can gives back. */
static const int exec_calls[] = {SCMP_SYS(execve), SCMP_SYS(execveat)};

static int
deny(scmp_filter_ctx ctx, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (calls[i] >= 0 && seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), calls[i], 0) < 0)
			return -1;
	return 0;
}

/* clone(2) for a new process lacks CLONE_THREAD; clone3(2) cannot be looked into: glibc goes back.
 */
static int
deny_processes(scmp_filter_ctx ctx, unsigned can)
{
	const uint64_t clone_thread = 0x00010000;

	if (can & SANDBOX_CAN_FORK)
		return 0;
	if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) < 0 ||
		seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(fork), 0) < 0 ||
		seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(vfork), 0) < 0 ||
		seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, clone_thread, 0)) < 0)
		return -1;
	if (can & SANDBOX_CAN_THREAD)
		return 0;
	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
		SCMP_A0(SCMP_CMP_MASKED_EQ, clone_thread, clone_thread));
}

/* Which sockets may be opened: UNIX always; TCP and UDP only where they are needed. */
static int
deny_sockets(scmp_filter_ctx ctx, unsigned can)
{
	const scmp_datum_t inet[] = {AF_INET, AF_INET6};

	if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1,
		    SCMP_A0(SCMP_CMP_EQ, AF_PACKET)) < 0)
		return -1;
	for (size_t i = 0; i < 2; i++) {
		if (can & (SANDBOX_CAN_CONNECT_TCP | SANDBOX_CAN_UDP))
			continue;
		if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1,
			    SCMP_A0(SCMP_CMP_EQ, inet[i])) < 0)
			return -1;
	}
	return 0;
}

static enum err
enter_seccomp(const struct sandbox *sb)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	enum err e = OK;
	int rc;

	if (!ctx)
		return E_UNSUPPORTED;
	/* Threads started before this one's call are held to it too. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	rc = deny(ctx, never_calls, sizeof(never_calls) / sizeof(never_calls[0]));
	if (rc >= 0 && !(sb->can & SANDBOX_CAN_EXEC))
		rc = deny(ctx, exec_calls, sizeof(exec_calls) / sizeof(exec_calls[0]));
	if (rc >= 0)
		rc = deny_processes(ctx, sb->can);
	if (rc >= 0)
		rc = deny_sockets(ctx, sb->can);
	if (rc >= 0)
		rc = seccomp_load(ctx);
	if (rc < 0) {
		errno = -rc;
		e = E_UNSUPPORTED;
	}
	seccomp_release(ctx);
	return e;
}

/* What a child inherited already is not loaded again; RLIMIT_NPROC 0 makes fork(2) fail. */
static enum err
narrow_calls(const struct sandbox *sb)
{
	const struct rlimit none = {0, 0};

	if (sb->can & SANDBOX_CAN_FORK)
		return OK;
	return setrlimit(RLIMIT_NPROC, &none) < 0 ? err_from_errno(errno) : OK;
}

enum err
sandbox_enter(const struct sandbox *sb)
{
	static int filtered; /* in this process or before it was forked */
	enum err landlock, calls;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_from_errno(errno);
	if (sb->can & SANDBOX_CAN_ALL)
		return OK;
	landlock = enter_landlock(sb);
	if (landlock && landlock != E_UNSUPPORTED) {
		log_event(LOGL_ERROR, "sandbox.landlock failed", "error", err_word(landlock),
			"detail", log_errno(errno), NULL);
		return landlock;
	}
#ifdef ROOST_ASAN
	/* The leak checker of the sanitizer traces its own process at exit. */
	calls = OK;
	(void)enter_seccomp;
	(void)narrow_calls;
	(void)filtered;
#else
	calls = filtered ? narrow_calls(sb) : enter_seccomp(sb);
	filtered = 1;
#endif
	if (landlock)
		log_event(LOGL_WARN, "sandbox.landlock missing", "remedy",
			"use a kernel of 5.13 or newer with Landlock", NULL);
	if (calls)
		log_event(LOGL_WARN, "sandbox.seccomp missing", "detail", log_errno(errno), NULL);
	return landlock && calls ? E_UNSUPPORTED : OK;
}
