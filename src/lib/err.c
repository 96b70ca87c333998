/* SPDX-License-Identifier: MIT */
#include "lib/err.h"

#include <errno.h>
#include <stddef.h>

static const struct {
	const char *word;
	const char *text;
} err_names[ERR_COUNT] = {
	[OK] = {"ok", "no error"},
	[E_PARSE] = {"parse", "malformed input"},
	[E_TOOBIG] = {"toobig", "over a size limit"},
	[E_RANGE] = {"range", "value out of range"},
	[E_UNSUPPORTED] = {"unsupported", "not supported"},
	[E_PROTO] = {"proto", "protocol violation"},
	[E_STATE] = {"state", "not allowed in this state"},
	[E_NOTFOUND] = {"notfound", "not found"},
	[E_EXISTS] = {"exists", "already exists"},
	[E_CONFLICT] = {"conflict", "changed meanwhile or in use"},
	[E_ACCESS] = {"access", "permission denied"},
	[E_AUTH] = {"auth", "authentication failed"},
	[E_QUOTA] = {"quota", "over quota"},
	[E_CORRUPT] = {"corrupt", "stored data is damaged"},
	[E_TEMPFAIL] = {"tempfail", "temporarily unavailable"},
	[E_TIMEOUT] = {"timeout", "timed out"},
	[E_CLOSED] = {"closed", "connection closed"},
	[E_IO] = {"io", "input/output error"},
	[E_NOSPACE] = {"nospace", "no space left"},
	[E_CANCELLED] = {"cancelled", "cancelled"},
};

const char *
err_text(enum err e)
{
	return (unsigned)e < ERR_COUNT && err_names[e].text ? err_names[e].text : "unknown error";
}

const char *
err_word(enum err e)
{
	return (unsigned)e < ERR_COUNT && err_names[e].word ? err_names[e].word : "unknown";
}

int
err_is_temporary(enum err e)
{
	switch (e) {
	case E_TEMPFAIL:
	case E_TIMEOUT:
	case E_CLOSED:
	case E_IO:
	case E_NOSPACE:
	case E_CANCELLED:
	case E_CORRUPT:
		return 1;
	default:
		return 0;
	}
}

enum err
err_from_errno(int errnum)
{
	switch (errnum) {
	case 0:
		return OK;
	case ENOENT:
	case ENOTDIR:
		return E_NOTFOUND;
	case EEXIST:
	case ENOTEMPTY:
		return E_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
		return E_ACCESS;
	case ENOSPC:
	case EDQUOT:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return E_NOSPACE;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
		return E_CLOSED;
	case ETIMEDOUT:
		return E_TIMEOUT;
	case EAGAIN:
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return E_TEMPFAIL;
	case ENAMETOOLONG:
	case EFBIG:
		return E_TOOBIG;
	case EINVAL:
		return E_RANGE;
	default:
		return E_IO;
	}
}
