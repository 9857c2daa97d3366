"""Which IP addresses the DNS of a stranger may send us to."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# RFC 6052, 2.1: an IPv4 address in the last four octets, reached through a translator.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether the address lies on the open internet, in whichever form it is dressed.

    Were others followed, any domain could make us speak to the hosts around us.
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        inner = _embedded(parsed)
        if not all(i.is_global and not i.is_multicast for i in inner):
            return False
        if inner and parsed.ipv4_mapped:
            return True
    return parsed.is_global and not parsed.is_multicast


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses within a mapped, 6to4, Teredo or translated address."""
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [a for a in found if a is not None]
