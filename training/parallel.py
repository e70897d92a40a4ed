"""Several processes under torchrun train as one: each reads its share of every batch, and all take the same step.

Every process draws and augments the whole batch from the same seed, then sends the rows of its own people through the
network, where batch norm takes its statistics over the rows of all. The tokens of all rows are gathered, so that the loss
and what is learned of people are of the whole batch, the same in every process. Without torchrun nothing of this happens.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from avemo_core.device import device_of
from avemo_core.types import AvemoError

PATIENCE = timedelta(days=1)  # the others wait while the first makes features; torchrun ends them where one fails


def rank() -> int:
    """The number of this process; the first, 0, alone says, scores and saves."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """The device to train on; with torchrun, among its processes, each with a CUDA device of its own where there are.

    AvemoError where the device is not here, or the processes are more than the devices.
    """
    found, local = device_of(device), os.environ.get("LOCAL_RANK")
    if local is None:
        yield found
        return
    cuda = found.type == "cuda"
    if cuda:
        many, there = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if many > there:
            raise AvemoError(f"{many} processes were started for {there} CUDA devices; give --nproc-per-node {there}.")
        found = torch.device("cuda", int(local))
        torch.cuda.set_device(found)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE, device_id=found if cuda else None)
    yield found
    dist.destroy_process_group()  # not after an error: it would wait for the others


def wait() -> None:
    """Until all processes are here."""
    if size() > 1:
        dist.barrier()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes through before the others, who find on disk what it made."""
    if rank() > 0:
        wait()
    yield
    if rank() == 0:
        wait()


def own(rows: int, together: int = 1) -> slice:
    """This process's share of a batch; runs of `together` rows, one person's, stay whole.

    AvemoError where there are fewer people than processes.
    """
    groups = rows // together
    if groups < size():
        raise AvemoError(
            f"{size()} processes would share batches of {groups} people; give --nproc-per-node {groups} or less."
        )
    first, last = (groups * n // size() * together for n in (rank(), rank() + 1))
    return slice(first, last)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, part: Tensor, rows: int, together: int) -> Tensor:
        ctx.own = own(rows, together)
        whole = torch.zeros(rows, *part.shape[1:], device=part.device)
        whole[ctx.own] = part
        dist.all_reduce(whole)
        return whole.to(part.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        # every process has the whole loss, but only its own rows' way back: times size, the mean over processes is right
        return gradient[ctx.own] * size(), None, None


def gather(part: Tensor, rows: int, together: int = 1) -> Tensor:
    """What each process made of its share [n,...] of a batch -> that of the whole batch [rows,...], in every process."""
    return part if size() == 1 else _Gathered.apply(part, rows, together)


def average(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces gradients by their mean over the processes, in place."""
    if size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, mean in zip(gradients, (flat / size()).split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, part: Tensor) -> Tensor:
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        whole = gradient.clone()
        dist.all_reduce(whole)
        return whole


class BatchNorm(nn.BatchNorm2d):
    """Statistics over the rows of all processes (nn.SyncBatchNorm runs on CUDA only)."""

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps)
        wide = maps.float()
        cells = wide.new_tensor([wide.numel() // wide.shape[1]])
        total = _Summed.apply(torch.cat((wide.sum((0, 2, 3)), cells)))
        mean, count = total[:-1] / total[-1], total[-1]
        centred = wide - mean[:, None, None]
        variance = _Summed.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr, arg-type]
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)  # type: ignore[union-attr, arg-type]
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(maps.dtype)


def shared_norms(model: nn.Module) -> None:
    """Batch norms of `model` take their statistics over all processes from now on; their parameters stay the same."""
    if size() > 1:
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = BatchNorm
