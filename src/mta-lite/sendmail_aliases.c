/* SPDX-License-Identifier: MIT */
#include "mta-lite/sendmail.h"

#include <stdio.h>
#include <sysexits.h>

#include "mta-lite/alias_files.h"

/*
 * newaliases and sendmail -bi. Files of aliases are read as they are, a second after they change:
 * there is nothing to compile, but who has edited one wants to hear of a slip now.
 */

static void
on_problem(void *arg, const char *path, unsigned line, const char *why)
{
	int *status = arg;

	(void)fprintf(stderr, "newaliases: %s:%u: %s\n", path, line, why);
	*status = EX_DATAERR;
}

static void
on_file(void *arg, const char *path, size_t names, enum err e)
{
	int *status = arg;

	if (e) {
		(void)fprintf(stderr, "newaliases: %s (alias_maps): %s\n", path, err_text(e));
		*status = EX_NOINPUT;
	} else {
		printf("%s: %zu alias%s\n", path, names, names == 1 ? "" : "es");
	}
}

int
sendmail_check_aliases(const struct config *conf)
{
	int status = EX_OK;
	const struct alias_check check = {on_problem, on_file, &status};

	if (conf->alias_maps.count > 0 && conf->local_domains.count == 0)
		(void)fprintf(stderr,
			"newaliases: alias_maps has no effect: local_domains is empty; set it "
			"to this machine's domains\n");
	aliases_check(conf, &check);
	return status;
}
