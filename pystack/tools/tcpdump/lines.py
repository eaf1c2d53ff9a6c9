"""Payload of TCP that is text, by its port (`txtproto_print`): HTTP, FTP, SMTP, RTSP."""

from __future__ import annotations

import re

from pystack.tools.tcpdump.dissect import Dissector

_HTTP = (
    "GET PUT COPY HEAD LOCK MOVE POLL POST BCOPY BMOVE MKCOL TRACE LABEL MERGE DELETE SEARCH "
    "UNLOCK REPORT UPDATE NOTIFY BDELETE CONNECT OPTIONS CHECKIN PROPFIND CHECKOUT CCM_POST "
    "SUBSCRIBE PROPPATCH BPROPFIND BPROPPATCH UNCHECKOUT MKACTIVITY MKWORKSPACE UNSUBSCRIBE "
    "RPC_CONNECT VERSION-CONTROL BASELINE-CONTROL"
).split()
_RTSP = (
    "OPTIONS DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT "
    "RECORD"
).split()
# port: name, words that begin a request (None: every line is shown), where a status stands
_PORTS: dict[int, tuple[str, list[str] | None]] = {
    **{80: ("HTTP", _HTTP), 8080: ("HTTP", _HTTP), 554: ("RTSP", _RTSP), 8554: ("RTSP", _RTSP)},
    **{21: ("FTP", None), 25: ("SMTP", None)},
}
_RST_DATA = 30  # bytes shown of what a reset carries
_TOKEN = re.compile(rb"\s*([!-~]+)\s*")
_STATUS = re.compile(rb"[!-~]+\s+(\d{3})(?=\s)")


def payload_print(d: Dissector, data: bytes, sport: int, dport: int, reset: bool) -> None:
    if reset and d.options.verbose:
        shown = "".join(map(_visible, data[:_RST_DATA]))
        d.print(f" [{'!' if d.missing else ''}RST{'+' if len(data) > _RST_DATA else ''} {shown}]")
        return
    known = _PORTS.get(sport) or _PORTS.get(dport)
    if known is None:
        return
    name, words = known
    d.protocol = name.lower()
    d.print(f": {name}")
    if words is not None and not _begins(data, words):
        return
    if not d.options.verbose:
        _line(d, ": ", data, 0)
        return
    d.print(f", length: {len(data)}")
    at = 0
    while at < len(data):
        end = _line(d, "\n\t", data, at)
        if not end:
            break
        at = end


def _visible(byte: int) -> str:
    """As vis(1) would have it (`fn_print_char`)."""
    text = ""
    if byte > 0x7F:
        text, byte = "M-", byte & 0x7F
    return text + (chr(byte) if 0x20 <= byte < 0x7F else f"^{chr(byte ^ 0x40)}")


def _begins(data: bytes, words: list[str]) -> bool:
    token = _TOKEN.match(data)
    if token is None:
        return False
    return token[1].decode().upper() in words or _STATUS.match(data) is not None


def _line(d: Dissector, prefix: str, data: bytes, start: int) -> int:
    """One line; where the next begins, 0 if there is none or it is not text."""
    at = start
    while at < len(data):
        byte = data[at]
        if byte == 10:
            break
        if byte == 13:
            if data[at + 1 : at + 2] != b"\n":
                return 0
            break
        if not 0x20 <= byte < 0x7F and byte != 9:
            return 0
        at += 1
    d.print(prefix + data[start:at].decode())
    if at == len(data):
        d.print(f" [|{d.protocol}]")
        return 0
    return at + (2 if data[at] == 13 else 1)
