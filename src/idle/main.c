/* SPDX-License-Identifier: MIT */
#include "idle/idle.h"

int
main(int argc, char **argv)
{
	return service_main(&idle_service, argc, argv);
}
