/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>

#include "mta-lite/tls_policy.h"
#include "mta-lite/tlsa.h"

/* TLSA records as the DNS gives them, and what an administrator wrote into a table. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_policy policy;
	char names[TLS_MATCH_SIZE];
	struct tlsa record;

	if (tlsa_parse(data, size, &record) == OK && record.len > TLSA_DATA_MAX)
		abort();
	free(record.data);
	if (tls_policy_parse(str_make((const char *)data, size), &policy) == OK)
		(void)tls_policy_names(&policy, "example.com", "mx.example.com", names);
	return 0;
}
