"""Functions that ``torch.compile`` calls while it traces, instead of looking into them."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., Any])


def constant_when_traced(function: _Function) -> _Function:
    """Return the function, whose result a compiled network takes for a constant.

    That is ``torch.compiler.assume_constant_result``, which imports the compiler: a second and
    140 MiB for every command, most of which compile nothing.
    """
    cast(Any, function)._dynamo_marked_constant = True
    return function
