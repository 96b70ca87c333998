# SPDX-License-Identifier: MIT
"""Instances that find other servers in the zone of the test's module and try nothing again by themselves."""

import pytest
from peers import Nsd
from roost_instance import Roost, free_ports


@pytest.fixture(scope="module")
def ports():
    """Where other servers listen, and the DNS server."""
    return free_ports(2)


@pytest.fixture(scope="module")
def dns(ports, request):
    """Serves RECORDS of the module."""
    server = Nsd(ports[1], request.module.RECORDS)
    yield server
    server.close()


@pytest.fixture
def make(dns, ports):
    made = []

    def start(**more):
        made.append(Roost(settings={"dns_resolvers": [f"127.0.0.1@{ports[1]}"], "smtp_port": ports[0],
                                    "smtp_tls_security_level": "none", "minimal_backoff_time": "1h",
                                    "maximal_backoff_time": "2h", "log_level": "info", **more}))
        return made[-1]

    yield start
    for instance in made:
        instance.close()
