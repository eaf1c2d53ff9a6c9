"""TCP (RFC 9293), as Linux does it.

Read a received segment's way in this order: `protocol`, `input`, `validate`, `ack`, `data`,
`delack`; and a write's way: `stream`, `output`, `transmit`.
"""

from pystack.transport.tcp.protocol import Tcp
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import CaState, TcpState

__all__ = ["CaState", "Tcp", "TcpSock", "TcpState"]
