"""Looking into a model while it runs, by hooks that are gone afterwards.

Threads share the model, and a hook would see the passes of all: it heeds only those of the thread that set it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def here(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook, for passes of this thread only."""
    own = threading.get_ident()
    return lambda *given: hook(*given) if threading.get_ident() == own else None


@contextmanager
def calls_of(
    model: nn.Module,
    kinds: type[nn.Module] | tuple[type[nn.Module], ...],
    keep: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any] = lambda module, args, kwargs: (args, kwargs),
) -> Iterator[dict[str, list[Any]]]:
    """While it lasts, keeps what goes into the modules of these kinds, call by call, or what `keep` makes of it."""
    kept: dict[str, list[Any]] = {}

    def hook(name: str) -> Callable[..., None]:
        return lambda module, args, kwargs: kept.setdefault(name, []).append(keep(module, args, kwargs))

    named = [(name, one) for name, one in model.named_modules() if isinstance(one, kinds)]
    hooks = [one.register_forward_pre_hook(here(hook(name)), with_kwargs=True) for name, one in named]
    try:
        yield kept
    finally:
        for one in hooks:
            one.remove()
