"""The parts of a module as they were, to see whether one has been exchanged, hooked or set differently."""

from __future__ import annotations

from itertools import chain, repeat
from operator import contains, is_, itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as module_globals

_SETTINGS = (
    "backend",
    "dilation",
    "eps",
    "level",
    "levels",
    "mode",
    "momentum",
    "padding",
    "residual",
    "steps",
    "stride",
)
"""Attributes of modules that a prepared form takes over."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class NotPreparable(ValueError):  # noqa: N818 - reads as what it says
    """A module has a part that has no prepared form; the plain form runs."""


class Members(NamedTuple):
    """The parts of a module tree as they were, without the root itself: it must be free to go.

    Lists of one kind each, so that comparing them is a few calls however many modules there are.
    """

    held: list[dict[str, Any]]  # modules, parameters and buffers of every module
    seen: list[Any]  # what they held, one after the other
    sizes: list[int]
    attributes: list[dict[str, Any]]
    hooks: list[dict[int, Any]]
    settings: tuple[list[dict[str, Any]], list[str], list[Any]]  # of whom, name, value
    tensors: list[Tensor]
    counted: list[Tensor]  # of them, those that have a version counter
    uncounted: list[Tensor]


def members_of(root: nn.Module) -> Members:
    """Those of a module and all modules below it."""
    owners: list[dict[str, Any]] = []
    names: list[str] = []
    values: list[Any] = []
    members = Members([], [], [], [], [], (owners, names, values), [], [], [])
    for part in root.modules():
        own = part.__dict__
        members.attributes.append(own)
        members.hooks.extend(own[hooks] for hooks in _HOOKS)
        for name in _SETTINGS:
            if name in own:
                owners.append(own)
                names.append(name)
                values.append(own[name])
        for held in (part._modules, part._parameters, part._buffers):
            if held:
                members.held.append(held)
                members.seen.extend(held.values())
                members.sizes.append(len(held))
        for held in (part._parameters, part._buffers):
            members.tensors.extend(t for t in held.values() if t is not None and t.is_floating_point())
    for tensor in members.tensors:
        (members.uncounted if tensor.is_inference() else members.counted).append(tensor)
    return members


def same(members: Members) -> bool:
    """Whether no part has been exchanged, added, taken away or set differently since."""
    owners, names, values = members.settings
    return (
        list(map(len, members.held)) == members.sizes
        and all(map(is_, chain.from_iterable(map(dict.values, members.held)), members.seen))
        and list(map(dict.get, owners, names)) == values
    )


def untouched(members: Members, training: bool) -> bool:
    """Whether all modules are in this mode, and none has a hook or an exchanged `forward`."""
    modes = map(itemgetter("training"), members.attributes)
    return not (
        any(members.hooks)
        or not (all(modes) if training else not any(modes))
        # `forward` among the attributes of an instance: somebody has wrapped it.
        or any(map(contains, members.attributes, repeat("forward")))
    )


def observed() -> bool:
    """Whether something looks at the single operations: then they must be there to be seen."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch.is_autocast_enabled("cpu")
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or bool(module_globals._global_forward_hooks or module_globals._global_forward_pre_hooks)
    )
