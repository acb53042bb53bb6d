"""Losses by name, each a mean over all values of a batch. Another one is another line."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
}
