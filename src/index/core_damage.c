/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "index/core_private.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

/*
 * LMDB reads its pages through a memory map and believes them: a damaged file can end the process,
 * and with it the service of all users, each time that its user is opened. So the signal's handler
 * leaves a file "damaged" beside the index that its thread was in; an index with that is thrown
 * away when it is next opened. A process that is killed leaves none.
 */

static __thread const char *volatile inside; /* path of the file; NULL: in no index */

void
core_damage_watch(const char *path)
{
	inside = path;
}

static void
on_fault(int sig)
{
	const char *path = inside;

	(void)sig;
	if (path) {
		int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

		if (fd >= 0)
			close(fd);
	}
	/* SA_RESETHAND: coming back, the fault happens again and ends the process as it should. */
}

void
index_core_damage_init(void)
{
	static const int signals[] = {SIGBUS, SIGSEGV};
	struct sigaction sa = {.sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND}, old;

	sigemptyset(&sa.sa_mask);
	/* A checker's own handler stays. */
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			(void)sigaction(signals[i], &sa, NULL);
}
