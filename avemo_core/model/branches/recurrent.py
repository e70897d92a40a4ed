"""What the bands of a moment say together, in the light of what came before and after (GRU, Cho et al. 2014)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Recurrent(nn.Module):
    """Maps [B,D,F,T] -> what to add to every cell of a moment [B,T,D].

    The votes of the head sum over a map's rows, so they cannot tell a high sound from a low one; here each row has weights
    of its own. One unit reads forth and one back; masked moments are passed over, as if they were not there.

    Args:
        channels: D.
        rows: how many rows the maps are brought to, by means over bands, before they are read.
        hidden: width of the state of each direction.
    """

    def __init__(self, channels: int, rows: int, hidden: int = 64):
        super().__init__()
        self.rows = rows
        self.squeeze = nn.Linear(channels * rows, 2 * hidden)
        self.forth, self.back = nn.GRUCell(2 * hidden, hidden), nn.GRUCell(2 * hidden, hidden)
        self.out = nn.Linear(2 * hidden, channels)

    @staticmethod
    def _run(unit: nn.GRUCell, moments: Tensor, mask: Tensor) -> Tensor:
        """moments [B,T,2H], mask [B,T] -> the states [B,T,H] after each moment."""
        state, states = moments.new_zeros(len(moments), unit.hidden_size), []
        for step in range(moments.shape[1]):
            state = torch.where(mask[:, step, None] > 0, unit(moments[:, step], state), state)
            states.append(state)
        return torch.stack(states, 1)

    def forward(self, maps: Tensor, mask: Tensor) -> Tensor:
        """maps [B,D,F,T], mask [B,T] of 0 and 1."""
        rows = F.adaptive_avg_pool2d(maps, (self.rows, maps.shape[3])).flatten(1, 2).transpose(1, 2)
        moments = torch.relu(self.squeeze(rows))
        states = self._run(self.forth, moments, mask), self._run(self.back, moments.flip(1), mask.flip(1)).flip(1)
        return self.out(torch.cat(states, 2)) * mask[..., None]
