"""Options of the tests that need a simulator, and what they are told: SIMS and SEED.

A test file serves twice: pytest runs its test functions here, and the simulator imports it for
its cocotb tests.  There SIMS plays no role and SEED is the seed of that run.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wire2app.simulator import SIMULATORS

if TYPE_CHECKING:  # simulators import this file, too, and most of them need no kernel
    from pystack.core.kernel import Kernel
    from pystack.host import Host

STACK = Path(__file__).parent / "stack"
SIMS: list[str] = []
SEED: int = int(os.environ.get("COCOTB_RANDOM_SEED", "1"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wire2app")
    group.addoption(
        "--sim", choices=[*SIMULATORS, "both"], default="both", help="simulator of RTL tests"
    )
    group.addoption("--seed", type=int, default=1, help="seed of everything random")


def pytest_configure(config: pytest.Config) -> None:
    # Test modules read both at import, which comes after this.
    global SEED
    sim = config.getoption("--sim")
    SIMS[:] = SIMULATORS if sim == "both" else [sim]
    SEED = config.getoption("--seed")


def pytest_report_header(config: pytest.Config) -> str:
    return f"simulators: {', '.join(SIMS)}; seed: {SEED}"


@pytest.fixture(autouse=True, scope="module")
def machines_off() -> Iterator[None]:
    """Switch off the machines a module has made: their memory is not freed otherwise, and the
    garbage collector would walk through ever more of it."""
    from pystack.core.kernel import Kernel

    made: list[weakref.ref[Kernel]] = []
    build = Kernel.__init__

    def remember(kernel: Kernel, *args: Any, **kwargs: Any) -> None:
        made.append(weakref.ref(kernel))
        build(kernel, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernel, "__init__", remember)
        yield
    for reference in made:
        kernel = reference()
        if kernel is not None:
            kernel.power_off()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Of the hosts a test of the stack has made nothing may be left (`leaks`)."""
    if item.path.parent != STACK or item.get_closest_marker("leaves"):
        return (yield)
    from leaks import shut_down  # not before pytest has told where tests are

    from pystack.core.engine import VirtualEngine
    from pystack.host import Host

    made: list[weakref.ref[Host]] = []
    build = Host.__init__

    def remember(host: Host, *args: Any, **kwargs: Any) -> None:
        build(host, *args, **kwargs)
        made.append(weakref.ref(host))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Host, "__init__", remember)
        result = yield
    hosts = [host for reference in made if (host := reference()) is not None]
    for engine in {host.engine for host in hosts}:
        if isinstance(engine, VirtualEngine):
            left = shut_down(engine, [host for host in hosts if host.engine is engine])
            assert not left, f"left over: {left}"
    return result


@pytest.fixture
def seed() -> int:
    """The seed of this session (option --seed)."""
    return SEED
