"""What the processes that train one phase together say to one another.

Each draws the same batches and computes the gradients of its share of the rows; the mean over all rows is the same in
all of them, so their weights stay equal without ever being sent. The averaging is written out here, and not left to
PyTorch's wrapper for a network, as what a stage freezes, compiles or records changes while a phase is trained.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")

_FOR_EVER = timedelta(days=30)
"""How long one waits for another: who started them ends them all when one is gone."""


class Ranks:
    """This process among those that train a phase: the first one writes files, logs, validates and saves.

    Args:
        rank: its number, from 0.
        count: how many there are. Alone, it has all rows, and nothing is said.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @classmethod
    def join(cls, rank: int, count: int, meeting: Path) -> "Ranks":
        """Join the others, who name the same file; numbers in host memory go by gloo, those on GPUs by NCCL."""
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend, init_method=f"file://{meeting}", rank=rank, world_size=count, timeout=_FOR_EVER
        )
        return cls(rank, count)

    @property
    def first(self) -> bool:
        """Whether it is the first."""
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """Its rows of every batch: the first has rows 0, N, 2N, ..."""
        return slice(self.rank, None, self.count)

    def share(self, batch: int) -> int:
        """How many rows it has of a batch of so many."""
        return len(range(batch)[self.rows])

    def average(self, loss: Tensor, weights: Iterable[nn.Parameter], batch: int) -> Tensor:
        """Put the gradients of the whole batch in place of those of its rows.

        Args:
            loss: the mean over its rows, one value.
            batch: rows of the whole batch.

        Returns:
            The mean loss over the whole batch, likewise.
        """
        if self.count == 1:
            return loss
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([loss.reshape(1), *(gradient.reshape(-1) for gradient in gradients)])
        flat *= self.share(batch) / batch  # shares may differ by a row
        dist.all_reduce(flat)
        whole, *parts = flat.split([1, *(gradient.numel() for gradient in gradients)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return whole[0]

    def largest(self, *numbers: int) -> list[int]:
        """The largest of each of these numbers over all processes."""
        if self.count == 1:
            return list(numbers)
        found = torch.tensor(numbers)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.tolist()

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them; the others wait for it."""
        if self.count == 1:
            return make()
        made = [make() if self.first else None]
        dist.broadcast_object_list(made, device=torch.device("cpu"))
        return made[0]  # type: ignore[return-value]

    def all(self, one: T) -> list[T]:
        """What each process has, in all of them."""
        if self.count == 1:
            return [one]
        found: list[T | None] = [None] * self.count
        dist.all_gather_object(found, one)
        return found  # type: ignore[return-value]

    def meet(self) -> None:
        """Go on once all are here."""
        self.largest(0)


ALONE = Ranks()
