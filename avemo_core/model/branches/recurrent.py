"""What the bands of a moment say together, in the light of what came before and after (GRU, Cho et al. 2014)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Recurrent(nn.Module):
    """Maps [B,D,F,T] -> what to add to every cell of a moment [B,T,D].

    The votes of the head sum over a map's rows, so they cannot tell a high sound from a low one; here each row has weights
    of its own. The network reads forth and back; masked moments are passed over, as if they were not there.

    Args:
        channels: D.
        rows: how many rows the maps are brought to, by means over bands, before they are read.
        hidden: width of the state of each direction.
    """

    def __init__(self, channels: int, rows: int, hidden: int = 64):
        super().__init__()
        self.rows = rows
        self.squeeze = nn.Linear(channels * rows, 2 * hidden)
        self.gru = nn.GRU(2 * hidden, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, channels)

    def forward(self, maps: Tensor, mask: Tensor) -> Tensor:
        """maps [B,D,F,T], mask [B,T] of 0 and 1."""
        if maps.shape[2] != self.rows:
            maps = F.adaptive_avg_pool2d(maps, (self.rows, maps.shape[3]))
        moments = torch.relu(self.squeeze(maps.flatten(1, 2).transpose(1, 2)))
        states = self.gru(moments)[0] if bool(mask.all()) else self._passing_over(moments, mask)
        return self.out(states) * mask[..., None]

    def _passing_over(self, moments: Tensor, mask: Tensor) -> Tensor:
        """moments [B,T,2H], mask [B,T] -> states [B,T,2H], those of masked moments without meaning."""
        order = torch.argsort(mask, dim=1, descending=True, stable=True)[..., None]  # what counts goes first, in its order
        first = moments.gather(1, order.expand_as(moments))
        many = mask.count_nonzero(1).clamp(min=1).cpu()  # an empty row is read too: it is masked in the end
        packed = pack_padded_sequence(first, many, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=mask.shape[1])
        return torch.zeros_like(states).scatter(1, order.expand_as(states), states)
