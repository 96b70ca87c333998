/* SPDX-License-Identifier: MIT */
#include "mta-lite/list_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 16 * 1024 };

/* NULL, or what is wrong with it. */
static const char *
look_at(int fd, const struct list_file_rules *rules)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "it is no regular file";
	if (!rules->is_trusted(rules->arg, st.st_uid))
		return rules->untrusted;
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return "others than its owner may write it";
	return NULL;
}

static const char *
read_all(int fd, struct buf *text)
{
	char chunk[CHUNK];
	ssize_t n = 1;

	while (n > 0) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno != EINTR)
			return strerror(errno);
		if (n > 0 && buf_add(text, chunk, (size_t)n))
			return "it is too large";
		if (n < 0)
			n = 1;
	}
	return NULL;
}

enum err
list_file_read(const char *path, const struct list_file_rules *rules, struct buf *text,
	const char **problem)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		*problem = errno == ELOOP ? "it is a symbolic link" : strerror(errno);
		return errno == ENOENT || errno == ENOTDIR ? E_NOTFOUND : E_ACCESS;
	}
	text->max = text->len + LIST_FILE_MAX;
	*problem = look_at(fd, rules);
	if (*problem == NULL)
		*problem = read_all(fd, text);
	close(fd);
	return *problem ? E_ACCESS : OK;
}

int
list_file_next(struct list_file_lines *l, struct str *list)
{
	while (l->rest.len > 0) {
		*list = str_trim(str_split(&l->rest, '\n'));
		l->line++;
		if (list->len > 0 && list->p[0] != '#')
			return 1;
	}
	return 0;
}
