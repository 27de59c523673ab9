"""Functions side by side in one process, each with its own environment, modules and log.

On AWS every function has a process. Here a context variable says whose code runs in a thread, and three things of the
process ask it: ``os.environ``, the import of first-party modules, and standard output. Threads that a function starts
belong to it. Third-party modules are shared.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO, cast

_environ: Any = os.environ
_stock_environ: Any = cast("Any", type(_environ))
_stock_import: Any = builtins.__import__
_stock_import_module: Any = importlib.import_module
_stock_start: Any = threading.Thread.start
_window = threading.RLock()
"""Held while ``sys.modules`` holds the modules of one function, and while anybody else imports such names."""
_first_party: set[str] = set()


class Sandbox:
    """The private part of one function: environment, modules of its asset folder, log file."""

    def __init__(self, folder: Path, environment: Mapping[str, str], log: TextIO) -> None:
        self.folder = folder
        self.log = log
        self.environment = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
        self.modules: dict[str, ModuleType] = {}
        self.names = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
        self._importing: int | None = None
        _first_party.update(self.names)

    @contextmanager
    def entered(self) -> Generator[None, None, None]:
        """The calling thread is this function's for the length of the block."""
        if type(sys.stdout) is not _Output:  # somebody put another stream in its place
            sys.stdout = cast("TextIO", _Output(sys.stdout))
        token = current.set(self)
        try:
            yield
        finally:
            current.reset(token)

    def attribute(self, path: str) -> Any:
        """The object that a handler path (``package.module.name``) names. The first call imports: a cold start."""
        module, _, name = path.rpartition(".")
        with self.entered():
            return getattr(self.load(module.replace("/", ".")), name)

    def owns(self, name: str) -> bool:
        """Whether a module of this name is the function's own."""
        return name.partition(".")[0] in self.names and self._importing != threading.get_ident()

    def load(self, name: str) -> ModuleType:
        """A first-party module, imported from the asset folder if it is not yet."""
        module = self.modules.get(name)
        if module is not None:
            return module
        with _window:
            others = _take_modules(self.names)
            sys.modules.update(self.modules)
            sys.path.insert(0, str(self.folder))
            self._importing = threading.get_ident()
            try:
                return _stock_import_module(name)
            finally:
                self._importing = None
                sys.path.remove(str(self.folder))
                self.modules = _take_modules(self.names)
                sys.modules.update(others)


current: ContextVar[Sandbox | None] = ContextVar("current_sandbox", default=None)


def _take_modules(tops: set[str]) -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] in tops]
    return {name: sys.modules.pop(name) for name in names}


class _Environ(_stock_environ):
    """``os.environ`` that shows a function its own environment."""

    @property
    def _data(self) -> dict[bytes, bytes]:
        sandbox = current.get()
        return self.__dict__["_data"] if sandbox is None else sandbox.environment


class _Output:
    """Standard output that writes what a function prints to its log."""

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal

    def __getattr__(self, name: str) -> Any:
        sandbox = current.get()
        return getattr(self.terminal if sandbox is None else sandbox.log, name)


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,  # noqa: A002  the names are Python's
    locals: Mapping[str, Any] | None = None,  # noqa: A002
    fromlist: Iterable[str] | None = (),
    level: int = 0,
) -> ModuleType:
    sandbox = current.get()
    if sandbox is None:
        if name.partition(".")[0] in _first_party:
            with _window:
                return _stock_import(name, globals, locals, fromlist, level)
        return _stock_import(name, globals, locals, fromlist, level)
    absolute = name
    if level and globals:
        absolute = importlib.util.resolve_name("." * level + name, str(globals.get("__package__")))
    if not sandbox.owns(absolute):
        return _stock_import(name, globals, locals, fromlist, level)
    module = sandbox.load(absolute)
    if not fromlist:
        return module if level else sandbox.modules[absolute.partition(".")[0]]
    for entry in fromlist:
        if entry != "*" and not hasattr(module, entry) and hasattr(module, "__path__"):
            sandbox.load(f"{absolute}.{entry}")
    return module


def _import_module(name: str, package: str | None = None) -> ModuleType:
    sandbox = current.get()
    absolute = importlib.util.resolve_name(name, package) if name.startswith(".") else name
    if sandbox is not None and sandbox.owns(absolute):
        return sandbox.load(absolute)
    return _stock_import_module(name, package)


def _start(self: threading.Thread) -> None:
    if current.get() is not None:
        context, run = copy_context(), self.run
        self.run = lambda: cast("Callable[..., None]", context.run)(run)
    _stock_start(self)


@contextmanager
def installed() -> Generator[None, None, None]:
    """Sandboxes work inside the block."""
    _environ.__class__ = _Environ
    builtins.__import__ = _import
    importlib.import_module = _import_module
    threading.Thread.start = _start
    try:
        yield
    finally:
        output: Any = sys.stdout
        if type(output) is _Output:
            sys.stdout = output.terminal
        threading.Thread.start = _stock_start
        importlib.import_module = _stock_import_module
        builtins.__import__ = _stock_import
        _environ.__class__ = _stock_environ
