/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl_bulk.h"
#include "ctl/ctl_tool.h"
#include "lib/mem.h"

/* Users, domains and aliases: all through roost-auth, the only one who touches the database. */

static const char *const user_columns[] = {"address", "active", "quota_bytes", "name", NULL};
static const char *const app_password_columns[] = {
	"name", "protocols", "networks", "expires", "last_used", "last_used_ip", NULL};
static const char *const domain_columns[] = {"domain", "active", "users", NULL};
static const char *const alias_columns[] = {"address", "targets", "active", NULL};
static const char *const domain_alias_columns[] = {"alias", "target", NULL};

/* ---- passwords ---- */

/* From --password, else from standard input (twice from a terminal). E_PARSE: said. */
static enum err
get_password(const char *given, char **out)
{
	char *again;
	enum err e = OK;

	*out = given ? mem_strdup(given) : tool_read_secret("Password");
	if (!*out || !**out) {
		tool_error("no password; give one with --password or on standard input");
		MEM_FREE(*out);
		return E_PARSE;
	}
	if (given || !isatty(STDIN_FILENO))
		return OK;
	again = tool_read_secret("Once more");
	if (!again || strcmp(again, *out) != 0) {
		tool_error("the two passwords differ");
		e = E_ACCESS;
		MEM_FREE(*out);
	}
	free(again);
	return e;
}

/* ---- small makers of arguments ---- */

static enum err
add_quota(json_t *args, const char *text)
{
	uint64_t bytes;

	if (!text)
		return OK;
	if (conf_parse_size(str_of(text), &bytes)) {
		tool_error("--quota %s: write a size such as 500M or 2G; 0 for none", text);
		return E_PARSE;
	}
	json_object_set_new(args, "quota_bytes", json_integer((json_int_t)bytes));
	return OK;
}

static enum err
add_active(json_t *args, const char *text)
{
	if (!text)
		return OK;
	if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
		tool_error("--active %s: write yes or no", text);
		return E_PARSE;
	}
	json_object_set_new(args, "active", json_boolean(strcmp(text, "yes") == 0));
	return OK;
}

static void
add_text(json_t *args, const char *key, const char *text)
{
	if (text)
		json_object_set_new(args, key, json_string(text));
}

/* Asks auth, prints what comes back. */
static enum err
ask(struct tool *t, const char *verb, json_t *args, const char *const *columns)
{
	json_t *result;
	enum err e = tool_call(t, "auth", verb, args, &result);

	if (!e)
		tool_print(t, &result, columns);
	return e;
}

/* A verb with one word as its only argument. */
static enum err
ask_with_word(struct tool *t, int argc, char **argv, const char *verb, const char *key)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 1, &a);

	return e ? e : ask(t, verb, json_pack("{s:s}", key, a.positional[0]), NULL);
}

/* --max-connections and --max-connections-per-ip: a number, or "default". */
static enum err
add_connections(json_t *args, const char *const values[2])
{
	static const char *const keys[] = {"max_connections", "max_connections_per_ip"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		uint32_t n;

		if (!values[i])
			continue;
		if (strcmp(values[i], "default") == 0) {
			json_object_set_new(args, keys[i], json_null());
		} else if (str_to_u32(str_of(values[i]), &n)) {
			tool_error(
				"--max-connections %s: write a number, 0 for no limit, or default",
				values[i]);
			return E_PARSE;
		} else {
			json_object_set_new(args, keys[i], json_integer(n));
		}
	}
	return OK;
}

/* ---- users ---- */

/* With the scheme SASLAUTHD: who he is there, which need not be said. */
static enum err
get_password_or_name(const char *given, const char *scheme, char **out)
{
	if (!scheme || !str_is_i(str_of(scheme), "SASLAUTHD"))
		return get_password(given, out);
	*out = mem_strdup(given ? given : "");
	return OK;
}

static enum err
user_add(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"password", 0}, {"quota", 0}, {"name", 0},
		{"scheme", 0}, {"protocols", 0}, {"networks", 0}, {"max-connections", 0},
		{"max-connections-per-ip", 0}, {"host", 0}, {"acl-groups", 0}, {0}};
	struct tool_args a;
	char *password = NULL;
	json_t *args;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (!e)
		e = get_password_or_name(a.values[0], a.values[3], &password);
	if (e)
		return e;
	args = json_pack("{s:s, s:s}", "address", a.positional[0], "password", password);
	add_text(args, "name", a.values[2]);
	add_text(args, "scheme", a.values[3]);
	add_text(args, "protocols", a.values[4]);
	add_text(args, "networks", a.values[5]);
	add_text(args, "host", a.values[8]);
	add_text(args, "acl_groups", a.values[9]);
	e = add_quota(args, a.values[1]);
	if (!e)
		e = add_connections(args, &a.values[6]);
	if (e)
		json_decref(args);
	else
		e = ask(t, "user-add", args, NULL);
	explicit_bzero(password, strlen(password));
	free(password);
	return e;
}

static enum err
user_list(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	json_t *args = json_object();
	enum err e = tool_args_parse(argc, argv, NULL, 0, 1, &a);

	if (!e && a.count)
		json_object_set_new(args, "domain", json_string(a.positional[0]));
	if (!e)
		return ask(t, "user-list", args, user_columns);
	json_decref(args);
	return e;
}

static enum err
user_show(struct tool *t, int argc, char **argv)
{
	return ask_with_word(t, argc, argv, "user-show", "address");
}

static enum err
user_set(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"quota", 0}, {"active", 0}, {"name", 0},
		{"protocols", 0}, {"networks", 0}, {"max-connections", 0},
		{"max-connections-per-ip", 0}, {"host", 0}, {"acl-groups", 0}, {0}};
	struct tool_args a;
	json_t *args;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (e)
		return e;
	args = json_pack("{s:s}", "address", a.positional[0]);
	e = add_quota(args, a.values[0]);
	if (!e)
		e = add_active(args, a.values[1]);
	if (!e)
		e = add_connections(args, &a.values[5]);
	add_text(args, "name", a.values[2]);
	add_text(args, "protocols", a.values[3]);
	add_text(args, "networks", a.values[4]);
	add_text(args, "host", a.values[7]);
	add_text(args, "acl_groups", a.values[8]);
	if (!e)
		return ask(t, "user-set", args, NULL);
	json_decref(args);
	return e;
}

static enum err
user_password(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"password", 0}, {"scheme", 0}, {0}};
	struct tool_args a;
	char *password = NULL;
	json_t *args;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (!e)
		e = get_password_or_name(a.values[0], a.values[1], &password);
	if (e)
		return e;
	args = json_pack("{s:s, s:s}", "address", a.positional[0], "password", password);
	if (a.values[1])
		json_object_set_new(args, "scheme", json_string(a.values[1]));
	e = ask(t, "user-set", args, NULL);
	explicit_bzero(password, strlen(password));
	free(password);
	return e;
}

static enum err
user_remove(struct tool *t, int argc, char **argv)
{
	return ask_with_word(t, argc, argv, "user-remove", "address");
}

/* ---- app passwords ---- */

/* "2027-01-31" (its first second, UTC), or a time from now such as 90d. */
static enum err
add_expires(json_t *args, const char *text)
{
	struct tm day = {0};
	const char *end;
	int64_t ms, at;

	if (!text)
		return OK;
	end = strptime(text, "%Y-%m-%d", &day);
	if (end && !*end) {
		at = (int64_t)timegm(&day);
	} else if (!conf_parse_duration(str_of(text), &ms)) {
		at = (int64_t)time(NULL) + ms / 1000;
	} else {
		tool_error("--expires %s: write a day such as 2027-01-31, or a time from now such "
			   "as 90d",
			text);
		return E_PARSE;
	}
	json_object_set_new(args, "expires", json_integer((json_int_t)(at > 0 ? at : 0)));
	return OK;
}

static enum err
app_password_add(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {
		{"name", 0}, {"protocols", 0}, {"networks", 0}, {"expires", 0}, {0}};
	struct tool_args a;
	json_t *args;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (!e && !a.values[0]) {
		tool_error("the password needs a name; give one with --name");
		e = E_PARSE;
	}
	if (e)
		return e;
	args = json_pack("{s:s, s:s}", "address", a.positional[0], "name", a.values[0]);
	add_text(args, "protocols", a.values[1]);
	add_text(args, "networks", a.values[2]);
	e = add_expires(args, a.values[3]);
	if (!e)
		return ask(t, "app-password-add", args, NULL);
	json_decref(args);
	return e;
}

static enum err
app_password_remove(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"name", 0}, {0}};
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (!e && !a.values[0]) {
		tool_error("say which one with --name");
		e = E_PARSE;
	}
	return e ? e
		 : ask(t, "app-password-remove",
			   json_pack("{s:s, s:s}", "address", a.positional[0], "name", a.values[0]),
			   NULL);
}

static enum err
user_app_password(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	enum err e;

	if (argc > 0 && strcmp(argv[0], "add") == 0)
		return app_password_add(t, argc - 1, argv + 1);
	if (argc > 0 && strcmp(argv[0], "remove") == 0)
		return app_password_remove(t, argc - 1, argv + 1);
	if (argc == 0 || strcmp(argv[0], "list") != 0) {
		tool_error("say add, list or remove");
		return E_PARSE;
	}
	e = tool_args_parse(argc - 1, argv + 1, NULL, 1, 1, &a);
	return e ? e
		 : ask(t, "app-password-list", json_pack("{s:s}", "address", a.positional[0]),
			   app_password_columns);
}

/* ---- domains ---- */

/* RFC 5321 section 4.5.1: every domain that takes mail has a postmaster. */
static enum err
postmaster_add(struct tool *t, const char *domain, const char *target)
{
	char *address = mem_printf("postmaster@%s", domain);
	json_t *args = json_pack("{s:s, s:[s]}", "address", address, "targets", target);
	enum err e = ask(t, "alias-add", args, NULL);

	if (e)
		tool_error("the domain is there, but nobody reads %s; make the alias with: "
			   "roostctl alias add %s ADDRESS",
			address, address);
	free(address);
	return e;
}

static enum err
domain_add(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"postmaster", 0}, {0}};
	struct tool_args a;
	json_t *result;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (e)
		return e;
	if (!a.values[0])
		return ask(t, "domain-add", json_pack("{s:s}", "domain", a.positional[0]), NULL);
	e = tool_call(
		t, "auth", "domain-add", json_pack("{s:s}", "domain", a.positional[0]), &result);
	if (e)
		return e;
	json_decref(result);
	return postmaster_add(t, a.positional[0], a.values[0]);
}

static enum err
domain_list(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 0, &a);

	return e ? e : ask(t, "domain-list", NULL, domain_columns);
}

static enum err
domain_set(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"active", 0}, {0}};
	struct tool_args a;
	json_t *args;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	if (e)
		return e;
	args = json_pack("{s:s}", "domain", a.positional[0]);
	e = add_active(args, a.values[0]);
	if (!e)
		return ask(t, "domain-set", args, NULL);
	json_decref(args);
	return e;
}

static enum err
domain_remove(struct tool *t, int argc, char **argv)
{
	static const struct tool_option options[] = {{"force", 1}, {0}};
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, options, 1, 1, &a);

	return e ? e
		 : ask(t, "domain-remove",
			   json_pack("{s:s, s:b}", "domain", a.positional[0], "force",
				   a.values[0] != NULL),
			   NULL);
}

/* ---- aliases ---- */

static enum err
alias_add(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	json_t *targets;
	enum err e = tool_args_parse(argc, argv, NULL, 2, TOOL_POSITIONALS_MAX, &a);

	if (e)
		return e;
	targets = json_array();
	for (size_t i = 1; i < a.count; i++)
		json_array_append_new(targets, json_string(a.positional[i]));
	return ask(t, "alias-add",
		json_pack("{s:s, s:o}", "address", a.positional[0], "targets", targets), NULL);
}

static enum err
alias_list(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 0, &a);

	return e ? e : ask(t, "alias-list", NULL, alias_columns);
}

static enum err
alias_remove(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	json_t *args;
	enum err e = tool_args_parse(argc, argv, NULL, 1, 2, &a);

	if (e)
		return e;
	args = json_pack("{s:s}", "address", a.positional[0]);
	if (a.count > 1)
		json_object_set_new(args, "target", json_string(a.positional[1]));
	return ask(t, "alias-remove", args, NULL);
}

static enum err
domain_alias_add(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 2, 2, &a);

	return e ? e
		 : ask(t, "domain-alias-add",
			   json_pack("{s:s, s:s}", "alias", a.positional[0], "target",
				   a.positional[1]),
			   NULL);
}

static enum err
domain_alias_list(struct tool *t, int argc, char **argv)
{
	struct tool_args a;
	enum err e = tool_args_parse(argc, argv, NULL, 0, 0, &a);

	return e ? e : ask(t, "domain-alias-list", NULL, domain_alias_columns);
}

static enum err
domain_alias_remove(struct tool *t, int argc, char **argv)
{
	return ask_with_word(t, argc, argv, "domain-alias-remove", "alias");
}

#define BULK(noun, kind)                                                                           \
	static enum err noun##_import(struct tool *t, int argc, char **argv)                       \
	{                                                                                          \
		return bulk_import(t, argc, argv, kind);                                           \
	}                                                                                          \
	static enum err noun##_export(struct tool *t, int argc, char **argv)                       \
	{                                                                                          \
		return bulk_export(t, argc, argv, kind);                                           \
	}

BULK(user, "user")
BULK(domain, "domain")
BULK(alias, "alias")
BULK(domain_alias, "domain-alias")

const struct tool_verb tool_verbs_directory[] = {
	{"user", "add",
		"ADDRESS [--password PW] [--scheme SCHEME] [--quota SIZE] [--name NAME] "
		"[--protocols LIST] [--networks LIST] [--max-connections N] [--max-connections-per-ip N] "
		"[--host HOST] [--acl-groups LIST]",
		"Makes a mailbox; the password is read from standard input unless given", user_add},
	{"user", "list", "[DOMAIN]", "Lists users", user_list},
	{"user", "show", "ADDRESS", "Shows one user", user_show},
	{"user", "set",
		"ADDRESS [--quota SIZE] [--active yes|no] [--name NAME] [--protocols LIST] [--networks LIST] "
		"[--max-connections N] [--max-connections-per-ip N] [--host HOST] "
		"[--acl-groups LIST]",
		"Changes a user; an empty list of protocols or networks allows all, an empty host is this one",
		user_set},
	{"user", "password", "ADDRESS [--password PW] [--scheme SCHEME]",
		"Sets a password; the old one fails from then on", user_password},
	{"user", "app-password",
		"add|list|remove ADDRESS [--name NAME] [--protocols LIST] [--networks LIST] [--expires WHEN]",
		"Passwords for single programs: add makes one and shows it once",
		user_app_password},
	{"user", "remove", "ADDRESS", "Removes the account; the mail stays on disk", user_remove},
	{"domain", "add", "DOMAIN [--postmaster ADDRESS]",
		"Takes mail for a domain; its postmaster's goes to ADDRESS", domain_add},
	{"domain", "list", "", "Lists domains", domain_list},
	{"domain", "set", "DOMAIN --active yes|no", "Switches a domain on or off", domain_set},
	{"domain", "remove", "DOMAIN [--force]", "Removes a domain; --force: with its users",
		domain_remove},
	{"alias", "add", "ADDRESS TARGET...",
		"Mail for ADDRESS goes to the targets; \"@domain\" catches all", alias_add},
	{"alias", "list", "", "Lists aliases", alias_list},
	{"alias", "remove", "ADDRESS [TARGET]", "Removes an alias, or one of its targets",
		alias_remove},
	{"domain-alias", "add", "ALIAS DOMAIN", "ALIAS becomes another name of DOMAIN",
		domain_alias_add},
	{"domain-alias", "list", "", "Lists domain aliases", domain_alias_list},
	{"domain-alias", "remove", "ALIAS", "Removes a domain alias", domain_alias_remove},
	{"user", "import", "FILE", "Takes all of a CSV or JSON file, or nothing", user_import},
	{"user", "export", "[--format csv|json] [--with-hashes]",
		"Prints all, as \"import\" takes them", user_export},
	{"domain", "import", "FILE", "Takes all of a CSV or JSON file, or nothing", domain_import},
	{"domain", "export", "[--format csv|json]", "Prints all, as \"import\" takes them",
		domain_export},
	{"alias", "import", "FILE", "Takes all of a CSV or JSON file, or nothing", alias_import},
	{"alias", "export", "[--format csv|json]", "Prints all, as \"import\" takes them",
		alias_export},
	{"domain-alias", "import", "FILE", "Takes all of a CSV or JSON file, or nothing",
		domain_alias_import},
	{"domain-alias", "export", "[--format csv|json]", "Prints all, as \"import\" takes them",
		domain_alias_export},
	{0},
};
