"""A second importlib for one process: the standard library's own, with a `sys` of the process.

`importlib._bootstrap` is written to be handed its `sys`; `install` loads it and its companion
afresh and hands them the process's.  So packages, relative imports, `importlib` and `pkgutil` work
as always, on a module table of their own.
"""

from __future__ import annotations

import functools
import importlib
import importlib._bootstrap as real_bootstrap
import os
import sys
from collections.abc import Collection
from importlib.machinery import EXTENSION_SUFFIXES, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from pystack.uapi.python.sharing import REFUSED, SHARED

PLATFORM_MODULES = os.path.join(os.path.dirname(os.__file__), "lib-dynload") + os.sep


@functools.lru_cache(maxsize=4096)
def _compiled(path: str, mtime_ns: int, size: int) -> CodeType:
    """The code of a source file as it was then: the same for every process."""
    code = SourceFileLoader("module", path).get_code("module")
    assert code is not None, "a source file has code"
    return code


def code_of(path: str) -> CodeType:
    status = os.stat(path)
    return _compiled(path, status.st_mtime_ns, status.st_size)


class SharedLoader:
    """Gives the interpreter's own module."""

    def __init__(self) -> None:
        self._specs: dict[str, Any] = {}

    def create_module(self, spec: Any) -> ModuleType:
        module = importlib.import_module(spec.name)
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Importlib has made our spec the module's meanwhile."""
        module.__spec__ = self._specs.pop(module.__spec__.name)  # type: ignore[union-attr]


class SharedFinder:
    """First on `sys.meta_path`: shared and refused modules; the rest is for the path."""

    def __init__(self, bootstrap: ModuleType, shared: Collection[str]) -> None:
        self._bootstrap = bootstrap
        self._shared = SHARED | set(shared)
        self._loader = SharedLoader()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name in REFUSED:
            raise ModuleNotFoundError(f"no module named {name!r} on a simulated host", name=name)
        if name in sys.builtin_module_names or name.partition(".")[0] in self._shared:
            return self._bootstrap.ModuleSpec(name, self._loader)
        return None


def install(sys_module: ModuleType, builtins: ModuleType, shared: Collection[str]) -> None:
    """Give the process of `sys_module` its importlib, and `builtins` its `__import__`.

    `sys_module.modules` holds the replaced modules.  `shared` are more top-level packages to be
    shared, for instance one that needs its C extensions.
    """
    modules: dict[str, Any] = sys_module.modules
    source = real_bootstrap.__file__
    bootstrap = _execute("_frozen_importlib", source, modules, builtins)
    modules["_warnings"] = importlib.import_module("_warnings")
    # what `_bootstrap._setup` does, but for its search for modules that came before it
    vars(bootstrap).update(
        sys=sys_module,
        _imp=importlib.import_module("_imp"),
        _thread=modules["_thread"],
        _warnings=modules["_warnings"],
        _weakref=importlib.import_module("_weakref"),
    )
    vars(builtins)["__import__"] = bootstrap.__import__
    sys_module.meta_path.append(SharedFinder(bootstrap, shared))
    io, modules["_io"] = modules["_io"], importlib.import_module("_io")  # reads files for itself
    path = source.replace("_bootstrap", "_bootstrap_external")
    external = _execute("_frozen_importlib_external", path, modules, builtins)
    modules["_io"] = io
    del modules["_warnings"]
    external._set_bootstrap_module(bootstrap)
    vars(bootstrap)["_bootstrap_external"] = external
    sys_module.meta_path.append(external.PathFinder)
    sys_module.path_hooks.append(external.FileFinder.path_hook(*_loaders(external)))


def _execute(name: str, path: str, modules: dict[str, Any], builtins: ModuleType) -> Any:
    module = ModuleType(name)
    vars(module).update(__builtins__=vars(builtins), __file__=path)
    modules[name] = module
    exec(code_of(path), vars(module))
    return module


def _loaders(external: Any) -> list[tuple[type, list[str]]]:
    """Loaders with suffixes: extensions of the standard library are shared, others refused."""

    class SourceLoader(external.SourceFileLoader):  # type: ignore[misc]
        def get_code(self, fullname: str) -> CodeType:
            return code_of(self.path)

    class ExtensionLoader(SharedLoader):
        def __init__(self, name: str, path: str) -> None:
            super().__init__()
            self.name, self.path = name, path

        def create_module(self, spec: Any) -> ModuleType:
            if not self.path.startswith(PLATFORM_MODULES):
                raise ImportError(
                    f"extension module {self.name!r} cannot be loaded for one simulated process",
                    name=self.name,
                    path=self.path,
                )
            return super().create_module(spec)

    return [
        (ExtensionLoader, EXTENSION_SUFFIXES),
        (SourceLoader, external.SOURCE_SUFFIXES),
        (external.SourcelessFileLoader, external.BYTECODE_SUFFIXES),
    ]
