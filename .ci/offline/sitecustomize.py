"""Every Python that finds this file on its path talks to this machine only: the book must run without a network."""

import socket
from ipaddress import ip_address
from typing import Any

connect, connect_ex = socket.socket.connect, socket.socket.connect_ex


def check_local(address: Any) -> None:
    "Refuse an address of another machine; names other than localhost would have to be asked for outside."
    host = address[0] if isinstance(address, tuple) else ""
    try:
        local = not host or host == "localhost" or ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        local = False
    if not local:
        raise OSError(f"connection to {host}: expected this machine only, since everything here must run offline")


def connect_locally(self: socket.socket, address: Any) -> None:
    "As `connect`, where the address is local."
    check_local(address)
    connect(self, address)


def connect_ex_locally(self: socket.socket, address: Any) -> int:
    "As `connect_ex`, where the address is local."
    check_local(address)
    return connect_ex(self, address)


socket.socket.connect = connect_locally  # type: ignore[method-assign]
socket.socket.connect_ex = connect_ex_locally  # type: ignore[method-assign]
