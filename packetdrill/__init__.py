"""Google's packetdrill test language, run against one simulated host.

    script → parser → runner ─┬─ system calls → pystack.uapi
                              ├─ packets      → wire (a `Port`) → the host's device
                              ├─ commands     → sysctl, route metrics, queueing discipline
                              └─ %{ code }%   → TCP_INFO

`run_scripts` is what the command calls.  The package stands beside `pystack` and uses it as an
application and a wire do: through system calls and a device.
"""

from packetdrill.main import run_scripts

__all__ = ["run_scripts"]
