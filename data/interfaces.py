"""What the processes of a run listen on: the address that their peers know, not every interface of the machine."""

from __future__ import annotations

import os
import socket

import psutil

GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"


def listen_on(address: str, port: int = 0) -> socket.socket:
    """A socket that listens on one address of this machine.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: the address is not one of this machine, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family)


def free_port(address: str) -> int:
    """A port of this machine's address on which nobody listens just now."""
    with listen_on(address) as probe:
        return int(probe.getsockname()[1])


def interface_towards(host: str) -> str | None:
    """Name of the interface by which this machine reaches another, or itself; None where none has that address.

    Raises:
        OSError: there is no way to that host.
    """
    family, kind, protocol, _, place = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        # Of a datagram socket this sends nothing: it looks the way up.
        probe.connect(place)
        own = probe.getsockname()[0]
    addresses = psutil.net_if_addrs().items()
    return next((name for name, its in addresses if any(one.address == own for one in its)), None)


def keep_gloo_towards(host: str) -> None:
    """Let the gloo groups that this process joins from here on listen where `host` reaches it, and nowhere else.

    Left alone, gloo listens on whatever the machine's name resolves to. GLOO_SOCKET_IFNAME, where it is set, stands.
    """
    name = interface_towards(host)
    if GLOO_INTERFACE not in os.environ and name is not None:
        os.environ[GLOO_INTERFACE] = name
