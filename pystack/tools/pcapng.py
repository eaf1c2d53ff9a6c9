"""Captures that Wireshark reads (pcapng, draft-ietf-opsawg-pcapng), with ns time stamps."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from pcapng import FileWriter
from pcapng.blocks import EnhancedPacket, InterfaceDescription, SectionHeader

LINKTYPE_ETHERNET = 1
EPB_INBOUND, EPB_OUTBOUND = 1, 2


class Capture:
    """One file, one interface.  The bytes depend on nothing but the frames written."""

    def __init__(self, path: Path, interface: str) -> None:
        self.frames = 0
        self._file = path.open("wb")
        self._section = SectionHeader(options={"shb_userappl": "wire2app"})
        self._interface = self._section.new_member(
            InterfaceDescription,
            link_type=LINKTYPE_ETHERNET,
            snaplen=0,
            options={"if_name": interface, "if_tsresol": b"\x09"},
        )
        self._writer = FileWriter(self._file, self._section)

    def write(self, frame: bytes, time: int, outgoing: bool) -> None:
        """Add a frame (without FCS) that ended at `time` ns, seen from the interface."""
        self.frames += 1
        block = self._section.new_member(
            EnhancedPacket,
            interface_id=0,
            timestamp_high=time >> 32,
            timestamp_low=time & 0xFFFFFFFF,
            packet_len=len(frame),
            options={"epb_flags": EPB_OUTBOUND if outgoing else EPB_INBOUND},
        )
        block.packet_data = frame
        self._writer.write_block(block)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
