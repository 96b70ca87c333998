/* SPDX-License-Identifier: MIT */
#include "auth/oauth_introspect.h"

#include <string.h>

#include <curl/curl.h>

#include "lib/buf.h"
#include "lib/log.h"

enum err
oauth_introspect_init(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? OK : E_TEMPFAIL;
}

static size_t
on_data(char *p, size_t size, size_t n, void *arg)
{
	struct buf *body = arg;

	(void)size;
	return buf_add(body, p, n) ? 0 : n;
}

/* Without TLS a token could be read on its way, so only to this machine itself. */
static int
is_local(const char *url)
{
	static const char *const prefixes[] = {"http://127.0.0.1:", "http://127.0.0.1/",
		"http://[::1]:", "http://[::1]/", "http://localhost:", "http://localhost/"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(url, prefixes[i], strlen(prefixes[i])) == 0)
			return 1;
	return 0;
}

static void
set_options(CURL *curl, const struct oauth_provider *p, struct buf *body)
{
	curl_easy_setopt(curl, CURLOPT_URL, p->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, is_local(p->url) ? "http,https" : "https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, p->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	if (p->ca[0]) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, p->ca);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	if (p->credentials[0]) {
		curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(curl, CURLOPT_USERPWD, p->credentials);
	}
}

enum err
oauth_introspect(const struct oauth_provider *p, struct str token, json_t **answer)
{
	CURL *curl = curl_easy_init();
	char *escaped = curl ? curl_easy_escape(curl, token.p, (int)token.len) : NULL;
	struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
	struct buf body = BUF_INIT(OAUTH_ANSWER_MAX), form = {0};
	const char *why = "out of memory";
	long status = 0;

	*answer = NULL;
	if (escaped && headers) {
		CURLcode rc;

		(void)buf_printf(&form, "token=%s&token_type_hint=access_token", escaped);
		set_options(curl, p, &body);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, buf_cstr(&form));
		rc = curl_easy_perform(curl);
		why = curl_easy_strerror(rc);
		if (rc == CURLE_OK) {
			curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
			why = status == 200 ? "no JSON object" : "not status 200";
			if (status == 200)
				*answer = json_loadb(
					buf_cstr(&body), body.len, JSON_REJECT_DUPLICATES, NULL);
		}
	}
	if (!json_is_object(*answer)) {
		json_decref(*answer);
		*answer = NULL;
		log_event(LOGL_ERROR, "auth.oauth provider", "error", why, "status",
			log_u64((uint64_t)status), NULL);
	}
	curl_free(escaped);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	buf_wipe(&form);
	buf_free(&form);
	buf_wipe(&body);
	buf_free(&body);
	return *answer ? OK : E_TEMPFAIL;
}
