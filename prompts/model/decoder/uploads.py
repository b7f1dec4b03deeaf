"""From host memory to the GPU without waiting for it.

A copy from ordinary memory makes the host wait for the GPU; from page-locked ("pinned") memory it
does not. torch keeps pinned memory that was used before and hands it out again only when the copy
from it is over, so each batch may simply take its own: that is the double buffering. Copies run on
a stream of their own, so that the next batch's travel while the GPU computes this one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def host_buffer(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uninitialised host memory to fill and send to `device`: pinned where that is a GPU."""
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=device.type == "cuda")


def on_device(values: Sequence[int], device: torch.device) -> Tensor:
    """Whole numbers, int64, moved without waiting for what the GPU is doing."""
    host = torch.tensor(values, dtype=torch.long)
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


class Uploads:
    """Copies to one GPU on a stream of their own; on the CPU nothing needs copying."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, host: Tensor) -> Tensor:
        """A copy of a `host_buffer` for work that is queued from now on.

        The host goes on at once. It must not write to the buffer again.
        """
        if self._stream is None:
            return host
        with torch.cuda.stream(self._stream):
            sent = host.to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        sent.record_stream(current)  # its memory is not given away while `current` may read it
        return sent
