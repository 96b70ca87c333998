/* SPDX-License-Identifier: MIT */
#include "auth/admin.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* Many users, domains or aliases in one transaction. */

struct bulk_kind {
	const char *name, *key;
	enum err (*add)(struct admin_job *j, struct directory *d);
	enum err (*set)(
		struct admin_job *j, struct directory *d); /* for "active"; NULL: has none */
};

static const struct bulk_kind kinds[] = {
	{"user", "address", admin_user_add, admin_user_set},
	{"domain", "domain", admin_domain_add, admin_domain_set},
	{"alias", "address", admin_alias_add, NULL},
	{"domain-alias", "alias", admin_domain_alias_add, NULL},
};

static const struct bulk_kind *
kind_of(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

/* Runs a verb on one row as if it had come alone; its message names the row. */
static enum err
row_run(struct admin_job *j, struct directory *d, const json_t *row,
	enum err (*verb)(struct admin_job *j, struct directory *d))
{
	const char *where = json_string_value(json_object_get(row, "where"));
	struct admin_job one = *j;
	enum err e;

	one.args = row;
	one.value = NULL;
	one.message = NULL;
	one.in_bulk = 1;
	e = verb(&one, d);
	if (e)
		admin_fail(j, e, "%s: %s; nothing was imported", where ? where : "a row",
			one.message ? one.message : err_text(e));
	json_decref(one.value);
	free(one.message);
	return e;
}

static enum err
row_import(
	struct admin_job *j, struct directory *d, const struct bulk_kind *kind, const json_t *row)
{
	const json_t *active = json_object_get(row, "active");
	enum err e = row_run(j, d, row, kind->add);
	json_t *off;

	if (e || !active || json_is_true(active))
		return e;
	if (!kind->set)
		return admin_fail(j, E_UNSUPPORTED,
			"%s: one that is not active cannot be imported; leave it out; nothing was "
			"imported",
			json_string_value(json_object_get(row, "where")));
	off = json_pack("{s:O, s:O, s:O}", "where", json_object_get(row, "where"), kind->key,
		json_object_get(row, kind->key), "active", active);
	e = row_run(j, d, off, kind->set);
	json_decref(off);
	return e;
}

static enum err
rows_import(struct admin_job *j, struct directory *d, const struct bulk_kind *kind, json_t *rows)
{
	struct db_result r;
	size_t i;
	json_t *row;
	enum err e = directory_run(d, SQL_BEGIN, NULL, &r);

	db_result_free(&r);
	if (e)
		return e;
	json_array_foreach(rows, i, row)
	{
		e = row_import(j, d, kind, row);
		if (e)
			break;
	}
	if (!e) {
		e = directory_run(d, SQL_COMMIT, NULL, &r);
		db_result_free(&r);
	}
	if (e) {
		directory_run(d, SQL_ROLLBACK, NULL, &r);
		db_result_free(&r);
	}
	return e;
}

/* {kind, rows: [{where: "line 2", ...}]}: {imported} */
enum err
admin_import(struct admin_job *j, struct directory *d)
{
	json_t *rows = json_object_get(j->args, "rows"), *row;
	const struct bulk_kind *kind;
	const char *name;
	size_t i;
	enum err e = admin_arg_text(j, "kind", 1, &name);

	if (e)
		return e;
	kind = kind_of(name);
	if (!kind || !json_is_array(rows))
		return admin_fail(j, E_PARSE,
			"\"kind\" must be user, domain, alias or domain-alias, and \"rows\" a list");
	/* Hashing is slow: before the transaction, which keeps others waiting. */
	json_array_foreach(rows, i, row)
	{
		if (!json_is_object(row))
			return admin_fail(j, E_PARSE, "row %zu is not an object", i + 1);
		e = row_run(j, d, row, admin_password_prepare);
		if (e)
			return e;
	}
	e = rows_import(j, d, kind, rows);
	auth_forget(j->auth, NULL);
	if (!e)
		j->value = json_pack("{s:I}", "imported", (json_int_t)json_array_size(rows));
	return e;
}
