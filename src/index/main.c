/* SPDX-License-Identifier: MIT */
#include "index/index_service.h"

int
main(int argc, char **argv)
{
	return service_main(&index_service, argc, argv);
}
