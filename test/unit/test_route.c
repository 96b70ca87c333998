/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/mem.h"
#include "mta-lite/route.h"

/* Where a recipient's mail goes. */

static void
transports(void **state)
{
	static const struct {
		const char *text;
		enum err err;
		const char *key;
	} cases[] = {
		{"smtp:[mx.example.net]:2525", OK, "smtp!:[mx.example.net]:2525"},
		{"smtp:", OK, "smtp:example.com"},
		{"relay:example.net", OK, "smtp!:example.net"},
		{"lmtp:inet:127.0.0.1:24", OK, "lmtp!:inet:127.0.0.1:24"},
		{"lmtp:unix:/run/x", OK, "lmtp!:unix:/run/x"},
		{"error:5.1.2 no such place", OK, "error!:5.1.2 no such place"},
		{"retry:", OK, "retry!:"},
		{"discard:", OK, "discard!:"},
		{"local:", OK, "local!:"},
		{"prog:", OK, "pipe!:prog:example.com"},
		{"prog:Any hop", OK, "pipe!:prog:Any hop"},
		{"lmtp:", E_PARSE, NULL},
		{"uucp:host", E_PARSE, NULL},
		{"example.net", E_PARSE, NULL},
		{"", E_PARSE, NULL},
	};
	struct config *conf = conf_defaults("/nonexistent");
	size_t i;

	(void)state;
	conf->pipe_transports.items = mem_realloc(conf->pipe_transports.items, 2, sizeof(char *));
	conf->pipe_transports.items[0] = mem_strdup("prog user=nobody argv=/bin/cat");
	conf->pipe_transports.items[1] = NULL;
	conf->pipe_transports.count = 1;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct route r = {0};
		struct buf key = {0};

		assert_int_equal(
			route_parse(conf, str_of(cases[i].text), "example.com", &r), cases[i].err);
		if (cases[i].err == OK) {
			route_key(&r, &key);
			assert_string_equal(buf_cstr(&key), cases[i].key);
		}
		buf_free(&key);
		route_free(&r);
	}
	conf_free(&conf);
}

static void
order(void **state)
{
	static const struct {
		const char *sender, *to, *filter, *key;
		int local;
	} cases[] = {
		{"a@b", "x@plain.test", "", "smtp!:[relay]:25", 0},
		{"a@b", "x@moved.test", "", "smtp!:[there]", 0},
		{"a@b", "x@sub.moved.test", "", "smtp!:[below]", 0},
		{"a@b", "one@moved.test", "", "error!:gone", 0},
		{"a@b", "x@direct.test", "", "smtp:direct.test", 0},
		{"a@b", "x@same.test", "", "smtp!:[relay]:25", 0},
		{"vip@b", "x@plain.test", "", "smtp!:[vip]", 0},
		{"x@own.test", "x@plain.test", "", "smtp!:[own]", 0},
		{"a@b", "x@here.test", "", "local:", 1},
		{"a@b", "x@here.test", "smtp:[127.0.0.1]:10024", "smtp!:[127.0.0.1]:10024", 1},
	};
	struct config *conf = conf_defaults("/nonexistent");
	struct maps *maps;
	struct routes *routes;
	struct buf why = {0};
	size_t i;

	(void)state;
	conf_set(conf, "relayhost", "[relay]:25", NULL);
	free(conf->transport_maps.items);
	conf->transport_maps.items = mem_zalloc(sizeof(char *));
	conf->transport_maps.items[0] = mem_strdup(
		"inline:{ { moved.test = smtp:[there] }, { .moved.test = smtp:[below] }, "
		"{ one@moved.test = error:gone }, { direct.test = smtp: }, { same.test = : } }");
	conf->transport_maps.count = 1;
	free(conf->sender_dependent_relayhost_maps.items);
	conf->sender_dependent_relayhost_maps.items = mem_zalloc(sizeof(char *));
	conf->sender_dependent_relayhost_maps.items[0] =
		mem_strdup("inline:{ { vip@b = [vip] }, { @own.test = [own] } }");
	conf->sender_dependent_relayhost_maps.count = 1;
	maps = maps_create(conf);
	assert_int_equal(routes_open(conf, maps, &routes), OK);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct queue_entry q = {.sender = (char *)(uintptr_t)cases[i].sender,
			.filter = (char *)(uintptr_t)cases[i].filter};
		struct queue_rcpt rcpt = {
			.address = (char *)(uintptr_t)cases[i].to, .local = cases[i].local};
		struct buf key = {0};
		struct route r;

		assert_int_equal(route_find(routes, &q, &rcpt, &r), OK);
		route_key(&r, &key);
		assert_string_equal(buf_cstr(&key), cases[i].key);
		buf_free(&key);
		route_free(&r);
	}
	routes_free(&routes);
	maps_free(&maps);
	conf_free(&conf);
	buf_free(&why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transports),
		cmocka_unit_test(order),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
