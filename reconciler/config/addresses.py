"""Parses hosts, networks and the address of the admin listener."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Network = IPv4Network | IPv6Network

LONGEST_SOCKET_PATH = 107
"""Bytes: ``sun_path`` of unix(7), less the NUL."""

_MAPPED = 96
"""Bits before the IPv4 address in an IPv4-mapped one (RFC 4291, 2.5.5.2). Such a caller counts as
IPv4, so a network of them must too."""

_LISTEN = 'write "127.0.0.1:9180", "[::1]:9180", "unix:/run/reconciler/admin.sock", or "" for none'


_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def is_loopback(host: str) -> bool:
    """Tell whether ``host``, a name or an address without brackets, can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def hostname(text: str) -> str:
    """Return a host name or an address, or raise ``ValueError``; IPv6 has no brackets here."""
    if not text or set(text) & set(" []/@?#%") or not text.isascii() or not text.isprintable():
        raise ValueError('is not a host; write one such as "127.0.0.1", "0.0.0.0" or "::1"')
    if ":" in text:
        try:
            ip_address(text)
        except ValueError:
            raise ValueError("is not a host; the port is a key of its own") from None
    return text


def dns_name(text: str) -> str:
    """Return a DNS name as it is compared with a Host, or raise ``ValueError``."""
    name = text.removesuffix(".").lower()
    if not _NAME.fullmatch(name):
        raise ValueError('is not a DNS name; write one such as "reconciler.internal", without port')
    return name


class Cidr:
    """Marks a field that holds a network; a single address is a network of one."""

    @staticmethod
    def parse(value: object) -> Network:
        """Return the network, or raise ``ValueError`` with what is allowed."""
        if isinstance(value, str):
            try:
                interface = ip_interface(value)
            except ValueError:
                pass
            else:
                if interface.ip != interface.network.network_address:
                    raise ValueError(f'has bits beyond its prefix; write "{interface.network}"')
                network = ip_network(value)
                mapped = getattr(network.network_address, "ipv4_mapped", None)
                if mapped is None or network.prefixlen < _MAPPED:
                    return network
                return ip_network(f"{mapped}/{network.prefixlen - _MAPPED}")
        raise ValueError('is not a network; write one such as "10.0.0.0/8" or "2001:db8::/32"')

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """The address of the admin listener: ``host`` and ``port``, or ``unix``; false when off."""

    host: str = ""
    port: int = 0
    unix: str = ""

    def __bool__(self) -> bool:
        return bool(self.host or self.unix)

    def __str__(self) -> str:
        if self.unix:
            return f"unix:{self.unix}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if host else ""

    @property
    def private(self) -> bool:
        """Whether nobody outside this machine can reach it, so that it needs no token."""
        return not self or bool(self.unix) or is_loopback(self.host)

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``"host:port"``, ``"unix:/path"`` or ``""``; a built one is passed through."""
        match value:
            case cls():
                return value
            case "":
                return cls()
            case str() if value.startswith("unix:"):
                return cls._unix(value.removeprefix("unix:"))
            case str():
                return cls._tcp(value)
            case _:
                raise ValueError(f"is not an address; {_LISTEN}")

    @classmethod
    def _tcp(cls, text: str) -> Self:
        name, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or not port.isascii() or int(port) > 65535:
            raise ValueError(f"has no port from 0 to 65535; {_LISTEN}")
        bracketed = name.startswith("[") and name.endswith("]")
        if ":" in name and not bracketed:
            raise ValueError(f"is an IPv6 address without brackets; {_LISTEN}")
        try:
            return cls(hostname(name[1:-1] if bracketed else name), int(port))
        except ValueError:
            raise ValueError(f"has no host; {_LISTEN}") from None

    @classmethod
    def _unix(cls, path: str) -> Self:
        if not path.startswith("/") or not path.isprintable():
            raise ValueError(f"has no absolute path; {_LISTEN}")
        if len(path.encode()) > LONGEST_SOCKET_PATH:
            raise ValueError(f"is longer than {LONGEST_SOCKET_PATH} bytes, the limit for a socket")
        return cls(unix=path)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)
