"""UDP (RFC 768, RFC 1122 4.1, RFC 8200 8.1), over both network layers."""

from pystack.transport.udp.protocol import Udp

__all__ = ["Udp"]
