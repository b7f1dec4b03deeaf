"""What a study ran on, in one line."""

from __future__ import annotations

import os

import torch

from isogloss.prompts.model.processor import processor


def hardware(device: torch.device) -> str:
    """The GPU, where it is used, and the processor."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = f"{cores} cores, {processor()}"
    if device.type == "cuda":
        said = f"{torch.cuda.get_device_name(device)}; {said}"
    return said
