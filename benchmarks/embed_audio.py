"""Time the five PANNs against the plain way of using them, and compare the embeddings of both.

The plain way is that of upstream's inference: the same weights, one second at a time, float32, the STFT as a
convolution, batch norm on its own. Ours is what stages/embed_audio.py does with the same seconds.

Needs `stages` on the path: PYTHONPATH=stages python benchmarks/embed_audio.py
"""

import copy

import numpy as np
import torch
import typer
from measure import machine, median_seconds, show

from scenes.features import panns, panns_checkpoints, panns_embedder


def sounds(count: int, rng: np.random.Generator) -> np.ndarray:
    """Seconds of noises of various colours and levels with tones, float32 `[count, 32000]`."""
    white = rng.normal(size=(count, panns.RATE))
    mix, level = rng.uniform(size=(count, 1)), 10 ** rng.uniform(-3, -0.5, (count, 1))
    tones = np.sin(2 * np.pi * rng.uniform(50, 8000, (count, 1)) * np.arange(panns.RATE) / panns.RATE)
    return (level * (mix * white + (1 - mix) * 0.02 * np.cumsum(white, axis=1) + tones)).astype(np.float32)


@torch.no_grad()
def plain(network: panns.Network, seconds: np.ndarray) -> np.ndarray:
    return torch.cat([network(torch.from_numpy(second[None])) for second in seconds]).numpy()


def main(clips: int = 4, repeats: int = 5, seed: int = 0) -> None:
    """Print a table of both ways, the share of minimal filtering in ours, and the largest difference of the two ways.

    `folded` is ours without minimal filtering, `filtering` the ratio of that to ours; the difference is in units of the
    largest value.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    print(f"A second of sound on {device} ({machine('torch')}), ms:\n")
    seconds = sounds(10 * clips, np.random.default_rng(seed))
    rows = []
    for name in panns.NETWORKS:
        network = panns_checkpoints.untrained(name, seed)
        panns_checkpoints.reestimate_batch_norm(network, [seconds[:10]])
        folded = panns_embedder.Embedder(panns_embedder.fuse(copy.deepcopy(network)))
        ours = panns_embedder.Embedder(copy.deepcopy(network))
        if isinstance(network, panns.LogMelNetwork):
            network.spectrogram_extractor["stft"].window = None
        difference = np.abs(ours(seconds) - plain(network, seconds)).max() / np.abs(plain(network, seconds)).max()
        ways = {
            "plain": lambda net=network: plain(net, seconds),
            "folded": lambda embedder=folded: embedder(seconds),
            "ours": lambda embedder=ours: embedder(seconds),
        }
        times = median_seconds(ways, repeats)
        milliseconds = [f"{1e3 * time / len(seconds):.1f}" for time in times.values()]
        ratios = [f"{times[way] / times['ours']:.1f}" for way in ("plain", "folded")]
        rows.append([name, *milliseconds, *ratios, f"{difference:.1e}"])
    show(["", "plain", "folded", "ours", "ratio", "filtering", "difference"], rows)


if __name__ == "__main__":
    typer.run(main)
