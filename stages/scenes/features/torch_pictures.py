"""A torch network on frames."""

import numpy as np
import torch


def forward(network: torch.nn.Module, frames: np.ndarray) -> np.ndarray:
    """Outputs float32 `[n, ...]` for frames float32 `[n, size, size, 3]`, which the network takes as `[n, 3, ...]`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.inference_mode():
        channels_first = torch.from_numpy(frames).to(device).movedim(-1, 1).contiguous()
        return network.eval().to(device)(channels_first).float().cpu().numpy()
