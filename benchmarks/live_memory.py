"""How many bytes tensors hold at once, counted operation by operation, of real tensors or of fake ones.

Fake tensors have sizes but no contents, so that a training of any size is counted anywhere.  They stand for a card's
but live on the CPU: autocast switches itself off for a card that is not there, and a count would silently be of fp32.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch
from weakref import finalize

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary


class LiveMemory(TorchDispatchMode):
    """Every storage that is made while this is on, until nothing refers to it; bytes.

    Not seen: what a kernel works in for itself, and what an allocator loses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, operation: Callable, types: object, args: tuple = (), kwargs: dict | None = None):
        result = operation(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._hold(value.untyped_storage())
        return result

    def most_since(self) -> int:
        """The most that was held at once since this was last asked."""
        most, self.most = self.most, self.now
        return most

    def _hold(self, storage: torch.UntypedStorage) -> None:
        if storage in self.known:
            return
        self.known[storage] = size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        finalize(storage, self._let_go, size).atexit = False

    def _let_go(self, size: int) -> None:
        self.now -= size


def in_fp32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """What CUDA's autocast makes of it: it works on fp32, keeps it and gives it."""

    def cast(value: object) -> object:
        return value.float() if isinstance(value, Tensor) and torch.is_autocast_enabled("cpu") else value

    return lambda *args, **kwargs: function(*tree_map(cast, args), **tree_map(cast, kwargs))


@contextmanager
def counted_as_on_a_card() -> Iterator[LiveMemory]:
    """Fake tensors and what they hold; norms are as a card's autocast has them, the CPU's leaves them in bf16."""
    norms = (patch.object(F, name, in_fp32(getattr(F, name))) for name in ("group_norm", "layer_norm"))
    with ExitStack() as stack:
        for norm in norms:
            stack.enter_context(norm)
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield stack.enter_context(LiveMemory())


def lay_out(module: nn.Module) -> nn.Module:
    """A module that is on no device, with its weights and buffers laid out anew, without contents.  In place."""
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            laid = torch.empty(weight.shape, dtype=weight.dtype)
            setattr(part, name, nn.Parameter(laid, weight.requires_grad))
        for name, buffer in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, torch.empty(buffer.shape, dtype=buffer.dtype))
    return module
