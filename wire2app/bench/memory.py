"""What an idle TCP connection holds: established, both buffers empty, its file in an epoll set.

`tracemalloc` counts every byte Python allocates while 5,000 connections are opened on one host,
and does not count those of the script at the other end: socket, timers, wait queues, hash table
entries, file, descriptor, epoll item.  What the allocator adds to that is in the resident size.
"""

from __future__ import annotations

import gc
import tracemalloc

from wire2app.bench import peer
from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, TreeDict
from wire2app.bench.wakeups import Crowd

CONNECTIONS = 5_000
QUICK = 1_000


def run(context: Context) -> TreeDict:
    size = QUICK if context.quick else CONNECTIONS
    values = []
    for done in range(context.rounds):
        context.progress(done, context.rounds)
        values.append(bytes_per_connection(size))
    return {"bytes_per_idle_connection": Figure(tuple(values)), "connections": size}


def bytes_per_connection(size: int) -> float:
    """Bytes allocated on the host for each of `size` idle connections."""
    crowd = Crowd(size)
    tracemalloc.start()
    try:
        before = _allocated()
        crowd.fill()
        return (_allocated() - before) / size
    finally:
        tracemalloc.stop()


def _allocated() -> int:
    """Bytes alive now that the host allocated since tracing began."""
    gc.collect()
    mine = tracemalloc.Filter(False, peer.__file__)
    snapshot = tracemalloc.take_snapshot().filter_traces([mine])
    return sum(trace.size for trace in snapshot.traces)
