/* SPDX-License-Identifier: MIT */
#include "index/fts/fts.h"

int
main(int argc, char **argv)
{
	return service_main(&fts_service, argc, argv);
}
