"""`netstat -s`: counters as sentences (net-tools' `statistics.c`).

It reads what /proc/net/snmp and its like give.  A counter it has no sentence for is shown by its
name, if it is not 0; a sentence of `_ALWAYS` also when it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from pystack.tools.mib import NETSTAT, SNMP, SNMP6, groups
from pystack.tools.tool import Net, Options

_BOTH_IP = {
    "InReceives": "%d total packets received",
    "InHdrErrors": "%d with invalid headers",
    "InAddrErrors": "%d with invalid addresses",
    "InUnknownProtos": "%d with unknown protocol",
    "InDiscards": "%d incoming packets discarded",
    "InDelivers": "%d incoming packets delivered",
    "OutRequests": "%d requests sent out",
    "OutDiscards": "%d outgoing packets dropped",
    "OutNoRoutes": "%d dropped because of missing route",
    "ReasmTimeout": "%d fragments dropped after timeout",
    "ReasmReqds": "%d reassemblies required",
    "ReasmOKs": "%d packets reassembled ok",
    "ReasmFails": "%d packet reassemblies failed",
    "FragOKs": "%d outgoing packets fragmented ok",
    "FragFails": "%d outgoing packets failed fragmentation",
    "FragCreates": "%d fragments created",
}
_IP = {**_BOTH_IP, "ForwDatagrams": "%d forwarded"}
_ICMP = {
    "InMsgs": "%d ICMP messages received",
    "InErrors": "%d input ICMP message failed",
    "OutMsgs": "%d ICMP messages sent",
    "OutErrors": "%d ICMP messages failed",
    "DestUnreachs": "destination unreachable: %d",
    "InEchoReps": "echo replies: %d",
    "InEchos": "echo requests: %d",
    "InParmProbs": "wrong parameters: %d",
    "InRedirects": "redirects: %d",
    "InSrcQuenchs": "source quenches: %d",
    "InTimeExcds": "timeout in transit: %d",
    "InTimestampReps": "timestamp reply: %d",
    "InTimestamps": "timestamp request: %d",
    "OutEchoReps": "echo replies: %d",
    "OutEchos": "echo requests: %d",
    "OutParmProbs": "wrong parameters: %d",
    "OutRedirects": "redirect: %d",
    "OutSrcQuenchs": "source quench: %d",
    "OutTimeExcds": "time exceeded: %d",
    "OutTimestampReps": "timestamp replies: %d",
    "OutTimestamps": "timestamp requests: %d",
    "InDestUnreachs": "destination unreachable: %d",
    "OutDestUnreachs": "destination unreachable: %d",
}
_TCP = {
    "ActiveOpens": "%d active connection openings",
    "PassiveOpens": "%d passive connection openings",
    "AttemptFails": "%d failed connection attempts",
    "EstabResets": "%d connection resets received",
    "CurrEstab": "%d connections established",
    "InSegs": "%d segments received",
    "OutSegs": "%d segments sent out",
    "RetransSegs": "%d segments retransmitted",
    "InErrs": "%d bad segments received",
    "OutRsts": "%d resets sent",
}
_UDP = {
    "InDatagrams": "%d packets received",
    "NoPorts": "%d packets to unknown port received",
    "InErrors": "%d packet receive errors",
    "OutDatagrams": "%d packets sent",
    "RcvbufErrors": "%d receive buffer errors",
    "SndbufErrors": "%d send buffer errors",
}
_TCPEXT = {
    "SyncookiesSent": "%d SYN cookies sent",
    "SyncookiesRecv": "%d SYN cookies received",
    "SyncookiesFailed": "%d invalid SYN cookies received",
    "EmbryonicRsts": "%d resets received for embryonic SYN_RECV sockets",
    "PruneCalled": "%d packets pruned from receive queue because of socket buffer overrun",
    "RcvPruned": "%d packets pruned from receive queue",
    "OfoPruned": "%d packets dropped from out-of-order queue because of socket buffer overrun",
    "OutOfWindowIcmps": "%d ICMP packets dropped because they were out-of-window",
    "LockDroppedIcmps": "%d ICMP packets dropped because socket was locked",
    "TW": "%d TCP sockets finished time wait in fast timer",
    "TWRecycled": "%d time wait sockets recycled by time stamp",
    "TWKilled": "%d TCP sockets finished time wait in slow timer",
    "PAWSActive": "%d active connections rejected because of time stamp",
    "PAWSEstab": "%d packets rejected in established connections because of timestamp",
    "DelayedACKs": "%d delayed acks sent",
    "DelayedACKLocked": "%d delayed acks further delayed because of locked socket",
    "DelayedACKLost": "Quick ack mode was activated %d times",
    "ListenOverflows": "%d times the listen queue of a socket overflowed",
    "ListenDrops": "%d SYNs to LISTEN sockets dropped",
    "TCPHPHits": "%d packet headers predicted",
    "TCPPureAcks": "%d acknowledgments not containing data payload received",
    "TCPHPAcks": "%d predicted acknowledgments",
    "TCPRenoRecovery": "%d times recovered from packet loss due to fast retransmit",
    "TCPSackRecovery": "%d times recovered from packet loss by selective acknowledgements",
    "TCPSACKReneging": "%d bad SACK blocks received",
    "TCPSACKReorder": "Detected reordering %d times using SACK",
    "TCPRenoReorder": "Detected reordering %d times using reno fast retransmit",
    "TCPTSReorder": "Detected reordering %d times using time stamp",
    "TCPFullUndo": "%d congestion windows fully recovered without slow start",
    "TCPPartialUndo": "%d congestion windows partially recovered using Hoe heuristic",
    "TCPDSACKUndo": "%d congestion windows recovered without slow start by DSACK",
    "TCPLossUndo": "%d congestion windows recovered without slow start after partial ack",
    "TCPRenoFailures": "%d timeouts after reno fast retransmit",
    "TCPSackFailures": "%d timeouts after SACK recovery",
    "TCPLossFailures": "%d timeouts in loss state",
    "TCPFastRetrans": "%d fast retransmits",
    "TCPSlowStartRetrans": "%d retransmits in slow start",
    "TCPTimeouts": "%d other TCP timeouts",
    "TCPRenoRecoveryFail": "%d classic Reno fast retransmits failed",
    "TCPSackRecoveryFail": "%d SACK retransmits failed",
    "TCPRcvCollapsed": "%d packets collapsed in receive queue due to low socket buffer",
    "TCPDSACKOldSent": "%d DSACKs sent for old packets",
    "TCPDSACKOfoSent": "%d DSACKs sent for out of order packets",
    "TCPDSACKRecv": "%d DSACKs received",
    "TCPDSACKOfoRecv": "%d DSACKs for out of order packets received",
    "TCPAbortOnData": "%d connections reset due to unexpected data",
    "TCPAbortOnClose": "%d connections reset due to early user close",
    "TCPAbortOnMemory": "%d connections aborted due to memory pressure",
    "TCPAbortOnTimeout": "%d connections aborted due to timeout",
    "TCPAbortOnLinger": "%d connections aborted after user close in linger timeout",
    "TCPAbortFailed": "%d times unable to send RST due to no memory",
    "TCPMemoryPressures": "TCP ran low on memory %d times",
}
_IP6 = {
    **_BOTH_IP,
    "InTooBigErrors": "%d with packets too big",
    "InNoRoutes": "%d incoming packets with no route",
    "InTruncatedPkts": "%d with truncated packets",
    "OutForwDatagrams": "%d forwarded",
    "InMcastPkts": "%d incoming multicast packets",
    "OutMcastPkts": "%d outgoing multicast packets",
}
_ICMP6 = {
    "InMsgs": "%d ICMP messages received",
    "InErrors": "%d input ICMP message failed",
    "OutMsgs": "%d ICMP messages sent",
    "InDestUnreachs": "destination unreachable: %d",
    "InPktTooBigs": "packets too big: %d",
    "InTimeExcds": "received ICMPv6 time exceeded: %d",
    "InParmProblems": "parameter problem: %d",
    "InEchos": "echo requests: %d",
    "InEchoReplies": "echo replies: %d",
    "InGroupMembQueries": "group member queries: %d",
    "InGroupMembResponses": "group member responses: %d",
    "InGroupMembReductions": "group member reductions: %d",
    "InRouterSolicits": "router solicits: %d",
    "InRouterAdvertisements": "router advertisement: %d",
    "InNeighborSolicits": "neighbour solicits: %d",
    "InNeighborAdvertisements": "neighbour advertisement: %d",
    "InRedirects": "redirects: %d",
    "OutDestUnreachs": "destination unreachable: %d",
    "OutPktTooBigs": "packets too big: %d",
    "OutTimeExcds": "sent ICMPv6 time exceeded: %d",
    "OutParmProblems": "parameter problem: %d",
    "OutEchos": "echo requests: %d",
    "OutEchoReplies": "echo replies: %d",
    "OutGroupMembQueries": "group member queries: %d",
    "OutGroupMembResponses": "group member responses: %d",
    "OutGroupMembReductions": "group member reductions: %d",
    "OutRouterSolicits": "router solicits: %d",
    "OutNeighborSolicits": "neighbor solicits: %d",
    "OutNeighborAdvertisements": "neighbor advertisements: %d",
    "OutRedirects": "redirects: %d",
}
_SENTENCES = {
    **{"Ip": _IP, "Icmp": _ICMP, "Tcp": _TCP, "Udp": _UDP, "TcpExt": _TCPEXT},
    **{"Ip6": _IP6, "Icmp6": _ICMP6, "Udp6": _UDP},
}
_ALWAYS = {
    "Ip": {"InReceives", "ForwDatagrams", "InDiscards", "InDelivers", "OutRequests"},
    "Icmp": {"InMsgs", "InErrors", "OutMsgs", "OutErrors"},
    "Tcp": set(_TCP),
    "Udp": set(_UDP),
    "TcpExt": {"TCPHPHits"},
    "Ip6": {"InReceives", "OutForwDatagrams", "InDiscards", "InDelivers", "OutRequests"},
    "Icmp6": {"InMsgs", "InErrors", "OutMsgs"},
    "Udp6": set(_UDP),
}
_LETTERS = {"Tcp": "t", "TcpExt": "t", "Udp": "u", "Udp6": "u"}  # which option asks for it
_HISTOGRAM = 8


def statistics(net: Net, options: Options) -> str:
    tables = (SNMP6,) if "6" in options else (SNMP, NETSTAT)
    lines: list[str] = []
    indent = 0
    for table in tables:
        for name, values in groups(net, table):
            if options.any("tuw") and not options.any(_LETTERS.get(name, "w")):
                continue
            if values:
                lines.append(f"{name}:")
                indent = 0 if name in _SENTENCES else indent
                if name == "Ip":
                    forwards = 1 if net.kernel.sysctl["net.ipv4.ip_forward"] else 2
                    lines.append(f"    Forwarding: {forwards}")
                indent = _group(name, values.items(), lines, indent or 4)
    return "".join(line + "\n" for line in lines)


def _group(name: str, values: Iterable[tuple[str, int]], lines: list[str], indent: int) -> int:
    """The lines of one group; returns how far the last was indented, which goes on from there."""
    sentences, always = _SENTENCES.get(name, {}), _ALWAYS.get(name, set())
    histogram = ""
    for key, value in values:
        sentence = sentences.get(key)
        if sentence is None:
            if value:
                lines.append(f"{' ' * indent}{key}: {value}")
            continue
        if name in ("Icmp", "Icmp6") and key not in always:
            direction = "input" if key.startswith("In") else "output"
            if direction != histogram:
                histogram = direction
                lines.append(f"    ICMP {direction} histogram:")
            indent = _HISTOGRAM
        else:
            indent, histogram = 4, ""
        if value or key in always:
            lines.append(" " * indent + sentence % value)
    return indent
