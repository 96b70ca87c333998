/* SPDX-License-Identifier: MIT */
#include "mta-lite/dnsbl.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/dns_many.h"
#include "mta-lite/dns_names.h"

enum { DNSBL_WEIGHT_MAX = 100000 };

struct site {
	size_t zone; /* in zones */
	char *filter; /* what answers count; NULL: any in 127.0.0.0/8 */
	int weight;
};

struct dnsbl {
	struct dns_many *dns;
	struct site *sites;
	size_t site_count;
	char **zones; /* each once, however many sites have it with other filters */
	size_t zone_count;
};

/* ---- settings ---- */

static size_t
zone_index(struct dnsbl *d, struct str zone)
{
	size_t i;

	for (i = 0; i < d->zone_count; i++) {
		if (str_is_i(zone, d->zones[i]))
			return i;
	}
	d->zones[d->zone_count] = str_dup(zone);
	return d->zone_count++;
}

/* "zone[=filter][*weight]". */
static enum err
add_site(struct dnsbl *d, struct str text)
{
	struct site *site = &d->sites[d->site_count];
	struct str rest = text, zone;
	size_t star = str_find(text, 0, '*');
	uint32_t weight = 1;
	int negative = 0;

	if (star < text.len) {
		struct str number = str_make(text.p + star + 1, text.len - star - 1);

		negative = number.len > 0 && number.p[0] == '-';
		number = str_make(number.p + negative, number.len - (size_t)negative);
		if (str_to_u32(number, &weight) || weight > DNSBL_WEIGHT_MAX)
			return E_PARSE;
		rest.len = star;
	}
	zone = str_split(&rest, '=');
	if (zone.len == 0 || zone.len >= DNS_NAME_SIZE || (rest.p && rest.len == 0))
		return E_PARSE;
	site->zone = zone_index(d, zone);
	site->filter = rest.p ? str_dup(rest) : NULL;
	site->weight = negative ? -(int)weight : (int)weight;
	d->site_count++;
	return OK;
}

enum err
dnsbl_open(const struct config *conf, struct dnsbl **out)
{
	const struct conf_list *list = &conf->postscreen_dnsbl_sites;
	struct dnsbl *d;
	enum err e = OK;
	size_t i;

	*out = NULL;
	if (list->count == 0)
		return OK;
	d = MEM_NEW(struct dnsbl);
	d->sites = mem_zalloc(list->count * sizeof(*d->sites));
	d->zones = mem_zalloc(list->count * sizeof(*d->zones));
	for (i = 0; i < list->count && e == OK; i++) {
		e = add_site(d, str_of(list->items[i]));
		if (e)
			log_event(LOGL_ERROR, "dnsbl.setting failed", "setting",
				"postscreen_dnsbl_sites", "value", list->items[i], "error",
				"it is not ZONE[=FILTER][*WEIGHT]", NULL);
	}
	if (e == OK)
		e = dns_many_open(conf, &d->dns);
	if (e)
		dnsbl_close(&d);
	*out = d;
	return e;
}

void
dnsbl_close(struct dnsbl **d)
{
	size_t i;

	if (*d == NULL)
		return;
	for (i = 0; i < (*d)->site_count; i++)
		free((*d)->sites[i].filter);
	for (i = 0; i < (*d)->zone_count; i++)
		free((*d)->zones[i]);
	free((*d)->sites);
	free((*d)->zones);
	dns_many_close(&(*d)->dns);
	MEM_FREE(*d);
}

/* ---- the question ---- */

static int
has_it(const struct site *site, const struct dns_question *q)
{
	size_t i;

	for (i = 0; i < q->count; i++) {
		/* What answers from outside of 127/8 is a parked domain, and no list. */
		if (site->filter ? dnsbl_filter_matches(site->filter, q->v[i]) : q->v[i][0] == 127)
			return 1;
	}
	return 0;
}

static void
add_up(const struct dnsbl *d, const struct dns_question *q, struct dnsbl_score *out)
{
	int most = 0;
	size_t i;

	for (i = 0; i < d->zone_count; i++)
		out->unanswered += q[i].verdict == DNS_FAILED;
	for (i = 0; i < d->site_count; i++) {
		const struct site *site = &d->sites[i];

		if (!has_it(site, &q[site->zone]))
			continue;
		out->score += site->weight;
		if (site->weight > most) {
			most = site->weight;
			out->zone = d->zones[site->zone];
		}
	}
}

void
dnsbl_ask(struct dnsbl *d, const struct net_addr *client, int timeout_ms, struct dnsbl_score *out)
{
	struct dns_question *q = mem_zalloc(d->zone_count * sizeof(*q));
	char **names = mem_zalloc(d->zone_count * sizeof(*names));
	struct buf reverse = {0};
	size_t i;

	memset(out, 0, sizeof(*out));
	if (dns_reverse_text(client, &reverse) == OK) {
		for (i = 0; i < d->zone_count; i++) {
			names[i] = mem_printf("%s.%s", buf_cstr(&reverse), d->zones[i]);
			q[i].name = names[i];
		}
		dns_many_ask(d->dns, q, d->zone_count, timeout_ms);
		add_up(d, q, out);
	}
	for (i = 0; i < d->zone_count; i++)
		free(names[i]);
	free(names);
	free(q);
	buf_free(&reverse);
}
