/* SPDX-License-Identifier: MIT */
#include "imap/seqset.h"

#include "index/index_client.h"

void
imap_seqset_from_uids(const struct index_view *v, const struct numset *uids, struct numset *seqs)
{
	uint32_t count = index_view_count(v);

	numset_free(seqs);
	for (size_t i = 0; i < uids->count && count > 0; i++) {
		uint32_t first = index_view_lower(v, uids->ranges[i].first);
		uint32_t last = count;

		if (uids->ranges[i].last != UINT32_MAX)
			last = index_view_lower(v, uids->ranges[i].last + 1) - 1;
		if (first <= last)
			numset_add_range(seqs, first, last);
	}
}

void
imap_seqset_to_uids(const struct index_view *v, const struct numset *seqs, struct numset *uids)
{
	uint32_t count = index_view_count(v);

	numset_free(uids);
	for (size_t i = 0; i < seqs->count; i++) {
		for (uint32_t seq = seqs->ranges[i].first; seq <= seqs->ranges[i].last; seq++) {
			if (seq == 0 || seq > count)
				break;
			numset_add(uids, index_view_uid(v, seq));
		}
	}
}
