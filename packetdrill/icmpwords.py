"""The language's words for ICMP types and codes (RFC 792, RFC 1122, RFC 4443)."""

from __future__ import annotations

from packetdrill.errors import ScriptFailure
from packetdrill.script import Icmp

UNREACHABLE_V4 = (
    "net_unreachable host_unreachable protocol_unreachable port_unreachable frag_needed "
    "source_route_failed net_unknown host_unknown source_host_isolated net_prohibited "
    "host_prohibited net_unreachable_for_tos host_unreachable_for_tos packet_filtered "
    "precedence_violation"
).split()
TYPES_V4: dict[str, tuple[int, list[str]]] = {
    "echo_reply": (0, []),
    "unreachable": (3, UNREACHABLE_V4),
    "source_quench": (4, []),
    "redirect": (5, []),
    "echo_request": (8, []),
    "time_exceeded": (11, []),
    "parameter_problem": (12, []),
    "timestamp_request": (13, []),
    "timestamp_reply": (14, []),
}
UNREACHABLE_V6 = (
    "no_route admin_prohibited not_neighbour address_unreachable port_unreachable".split()
)
TYPES_V6: dict[str, tuple[int, list[str]]] = {
    "unreachable": (1, UNREACHABLE_V6),
    "packet_too_big": (2, []),
    "time_exceeded": (3, ["exceeded_hop_limit", "exceeded_frag_time"]),
    "parameter_problem": (4, ["header_field", "unknown_next_header", "unknown_option"]),
    "echo_request": (128, []),
    "echo_reply": (129, []),
}


def codes_of(version: int, icmp: Icmp, defines: dict[str, str]) -> tuple[int, int]:
    """(type, code) of the words; ScriptFailure for a word there is not."""
    types = TYPES_V4 if version == 4 else TYPES_V6
    if icmp.type.startswith("type_"):
        number, codes = int(icmp.type[5:]), list[str]()
    elif icmp.type in types:
        number, codes = types[icmp.type]
    else:
        raise ScriptFailure(f"bad ICMPv{version} type {icmp.type}", kind="ICMP word")
    word = defines.get(icmp.code, icmp.code) if icmp.code is not None else "code_0"
    if word.startswith("code_"):
        return number, int(word[5:])
    if word not in codes:
        raise ScriptFailure(f"bad ICMPv{version} code {word}", kind="ICMP word")
    return number, codes.index(word)


def error_word(icmp: Icmp) -> int:
    """The 32 bits behind the checksum: identifier of an echo, MTU of "too big"."""
    if icmp.id:
        return icmp.id << 16
    return icmp.mtu or 0
