"""Making the modules of a process."""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType
from typing import Any

_OWN = {"__name__", "__loader__", "__spec__", "__package__", "__doc__"}


def derived(
    name: str, real: ModuleType, changes: dict[str, Any], missing: Collection[str] = ()
) -> ModuleType:
    """`real` as module `name`, without `missing`, with `changes`."""
    module = ModuleType(name, real.__doc__)
    taken = {k: v for k, v in vars(real).items() if k not in _OWN and k not in missing}
    vars(module).update(taken)
    vars(module).update(changes)
    return module


def attributes(facade: object, more: Collection[str] = ()) -> dict[str, Any]:
    """The public attributes of an object, and `more`, as a module's."""
    names = [name for name in dir(facade) if not name.startswith("_") or name in more]
    return {name: getattr(facade, name) for name in names}
