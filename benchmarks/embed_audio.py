"""Time the five PANNs against the plain way of using them, and compare the embeddings of both.

The plain way is that of upstream's inference: the same weights, one second at a time, float32, the STFT as a
convolution, batch norm on its own. Ours is what stages/embed_audio.py does with the same seconds.

Needs `stages` on the path: PYTHONPATH=stages python benchmarks/embed_audio.py
"""

import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import typer

from scenes import panns


def sounds(count: int, rng: np.random.Generator) -> np.ndarray:
    """Seconds of noises of various colours and levels with tones, float32 `[count, 32000]`."""
    white = rng.normal(size=(count, panns.RATE))
    mix, level = rng.uniform(size=(count, 1)), 10 ** rng.uniform(-3, -0.5, (count, 1))
    tones = np.sin(2 * np.pi * rng.uniform(50, 8000, (count, 1)) * np.arange(panns.RATE) / panns.RATE)
    return (level * (mix * white + (1 - mix) * 0.02 * np.cumsum(white, axis=1) + tones)).astype(np.float32)


@torch.no_grad()
def plain(network: panns.Network, seconds: np.ndarray) -> np.ndarray:
    return torch.cat([network(torch.from_numpy(second[None])) for second in seconds]).numpy()


def median_seconds(way: Callable, seconds: np.ndarray, repeats: int) -> float:
    """Median time a second of sound, after a call that fills the caches."""
    way(seconds)
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        way(seconds)
        durations.append(time.perf_counter() - start)
    return float(np.median(durations)) / len(seconds)


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores"


def main(clips: int = 4, repeats: int = 5, seed: int = 0) -> None:
    """Print milliseconds a second of sound for both ways, and the largest difference in units of the largest value."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    print(f"{device}; {torch.get_num_threads()} threads; Python {platform.python_version()}, torch {torch.__version__}")
    seconds = sounds(10 * clips, np.random.default_rng(seed))
    print(f"{'network':<24}{'plain ms':>10}{'ours ms':>10}{'ratio':>8}{'difference':>12}")
    for name in panns.NETWORKS:
        network, network_again = panns.untrained(name, seed), panns.untrained(name, seed)
        panns.reestimate_batch_norm(network, [seconds[:10]])
        network_again.load_state_dict(network.state_dict())
        if isinstance(network, panns.LogMelNetwork):
            network.spectrogram_extractor["stft"].window = None
        ours = panns.Embedder(network_again, precision="float32")
        difference = np.abs(ours(seconds) - plain(network, seconds)).max() / np.abs(plain(network, seconds)).max()
        times = [
            median_seconds(way, seconds, repeats) for way in (lambda sounds, net=network: plain(net, sounds), ours)
        ]
        print(f"{name:<24}{times[0] * 1e3:>10.1f}{times[1] * 1e3:>10.1f}{times[0] / times[1]:>8.1f}{difference:>12.1e}")


if __name__ == "__main__":
    typer.run(main)
