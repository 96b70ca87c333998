/* SPDX-License-Identifier: MIT */
#include "mta-lite/lmdb_open.h"

int
lmdb_open(const char *dir, size_t map_size, unsigned flags, MDB_env **env, MDB_dbi *dbi)
{
	MDB_txn *txn = NULL;
	int rc = mdb_env_create(env);

	if (rc) {
		*env = NULL;
		return rc;
	}
	rc = mdb_env_set_mapsize(*env, map_size);
	if (rc == 0)
		rc = mdb_env_open(*env, dir, flags, 0600);
	if (rc == 0)
		rc = mdb_txn_begin(*env, NULL, 0, &txn);
	if (rc == 0)
		rc = mdb_dbi_open(txn, NULL, 0, dbi);
	if (rc == 0) {
		rc = mdb_txn_commit(txn);
		txn = NULL;
	}
	if (txn)
		mdb_txn_abort(txn);
	if (rc) {
		mdb_env_close(*env);
		*env = NULL;
	}
	return rc;
}
