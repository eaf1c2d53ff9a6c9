"""AF_PACKET: whole frames, in from a tap of the device layer and out to a device's queue."""

from pystack.transport.packet.protocol import Packet

__all__ = ["Packet"]
