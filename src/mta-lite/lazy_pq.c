/* SPDX-License-Identifier: MIT */
#include <libpq-fe.h>

#include "mta-lite/lazy_library.h"

/* libpq: every function is what its library declares. */

enum {
	AT_PQclear,
	AT_PQconnectPoll,
	AT_PQconnectStartParams,
	AT_PQconninfoFree,
	AT_PQconninfoParse,
	AT_PQconsumeInput,
	AT_PQerrorMessage,
	AT_PQescapeStringConn,
	AT_PQfinish,
	AT_PQflush,
	AT_PQfreemem,
	AT_PQgetResult,
	AT_PQgetisnull,
	AT_PQgetlength,
	AT_PQgetvalue,
	AT_PQhost,
	AT_PQisBusy,
	AT_PQnfields,
	AT_PQntuples,
	AT_PQresultErrorMessage,
	AT_PQresultStatus,
	AT_PQsendQuery,
	AT_PQsetNoticeProcessor,
	AT_PQsocket,
	AT_PQstatus,
	FUNCTIONS,
};

static const char *const names[FUNCTIONS] = {
	[AT_PQclear] = "PQclear",
	[AT_PQconnectPoll] = "PQconnectPoll",
	[AT_PQconnectStartParams] = "PQconnectStartParams",
	[AT_PQconninfoFree] = "PQconninfoFree",
	[AT_PQconninfoParse] = "PQconninfoParse",
	[AT_PQconsumeInput] = "PQconsumeInput",
	[AT_PQerrorMessage] = "PQerrorMessage",
	[AT_PQescapeStringConn] = "PQescapeStringConn",
	[AT_PQfinish] = "PQfinish",
	[AT_PQflush] = "PQflush",
	[AT_PQfreemem] = "PQfreemem",
	[AT_PQgetResult] = "PQgetResult",
	[AT_PQgetisnull] = "PQgetisnull",
	[AT_PQgetlength] = "PQgetlength",
	[AT_PQgetvalue] = "PQgetvalue",
	[AT_PQhost] = "PQhost",
	[AT_PQisBusy] = "PQisBusy",
	[AT_PQnfields] = "PQnfields",
	[AT_PQntuples] = "PQntuples",
	[AT_PQresultErrorMessage] = "PQresultErrorMessage",
	[AT_PQresultStatus] = "PQresultStatus",
	[AT_PQsendQuery] = "PQsendQuery",
	[AT_PQsetNoticeProcessor] = "PQsetNoticeProcessor",
	[AT_PQsocket] = "PQsocket",
	[AT_PQstatus] = "PQstatus",
};
static void *functions[FUNCTIONS];

enum err
lazy_pq_load(struct buf *why)
{
	if (functions[0])
		return OK;
	return lazy_library_load("libpq.so.5", names, FUNCTIONS, functions, why);
}

/* The function of this name in the library. */
#define REAL(name) ((__typeof__(&(name)))functions[AT_##name])

void
PQclear(PGresult *res)
{
	REAL(PQclear)(res);
}

PostgresPollingStatusType
PQconnectPoll(PGconn *conn)
{
	return REAL(PQconnectPoll)(conn);
}

PGconn *
PQconnectStartParams(const char *const *keywords, const char *const *values, int expand)
{
	return REAL(PQconnectStartParams)(keywords, values, expand);
}

void
PQconninfoFree(PQconninfoOption *options)
{
	REAL(PQconninfoFree)(options);
}

PQconninfoOption *
PQconninfoParse(const char *conninfo, char **error)
{
	return REAL(PQconninfoParse)(conninfo, error);
}

int
PQconsumeInput(PGconn *conn)
{
	return REAL(PQconsumeInput)(conn);
}

char *
PQerrorMessage(const PGconn *conn)
{
	return REAL(PQerrorMessage)(conn);
}

size_t
PQescapeStringConn(PGconn *conn, char *to, const char *from, size_t length, int *error)
{
	return REAL(PQescapeStringConn)(conn, to, from, length, error);
}

void
PQfinish(PGconn *conn)
{
	REAL(PQfinish)(conn);
}

int
PQflush(PGconn *conn)
{
	return REAL(PQflush)(conn);
}

void
PQfreemem(void *p)
{
	REAL(PQfreemem)(p);
}

PGresult *
PQgetResult(PGconn *conn)
{
	return REAL(PQgetResult)(conn);
}

int
PQgetisnull(const PGresult *res, int row, int column)
{
	return REAL(PQgetisnull)(res, row, column);
}

int
PQgetlength(const PGresult *res, int row, int column)
{
	return REAL(PQgetlength)(res, row, column);
}

char *
PQgetvalue(const PGresult *res, int row, int column)
{
	return REAL(PQgetvalue)(res, row, column);
}

char *
PQhost(const PGconn *conn)
{
	return REAL(PQhost)(conn);
}

int
PQisBusy(PGconn *conn)
{
	return REAL(PQisBusy)(conn);
}

int
PQnfields(const PGresult *res)
{
	return REAL(PQnfields)(res);
}

int
PQntuples(const PGresult *res)
{
	return REAL(PQntuples)(res);
}

char *
PQresultErrorMessage(const PGresult *res)
{
	return REAL(PQresultErrorMessage)(res);
}

ExecStatusType
PQresultStatus(const PGresult *res)
{
	return REAL(PQresultStatus)(res);
}

int
PQsendQuery(PGconn *conn, const char *query)
{
	return REAL(PQsendQuery)(conn, query);
}

PQnoticeProcessor
PQsetNoticeProcessor(PGconn *conn, PQnoticeProcessor processor, void *arg)
{
	return REAL(PQsetNoticeProcessor)(conn, processor, arg);
}

int
PQsocket(const PGconn *conn)
{
	return REAL(PQsocket)(conn);
}

ConnStatusType
PQstatus(const PGconn *conn)
{
	return REAL(PQstatus)(conn);
}
