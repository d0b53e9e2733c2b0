"""Embeddings of sound by one of the PANNs: its weights, published or untrained, and what a network is given to hear."""

import warnings
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soxr

from scenes.dataset.tables import SECONDS, read_media, train_rows
from scenes.dataset.weights import FOLDER, fetch
from scenes.features import panns, panns_checkpoints, panns_embedder
from scenes.media.clip import read_audio
from scenes.stage.errors import MediaWarning

ZENODO = "https://zenodo.org/records/3987831/files"
DATASET_RATE = 48_000  # read_audio warns of every other one
ESTIMATION_CLIPS = 4  # for batch norm's statistics of an untrained network


def mono(sound: np.ndarray) -> np.ndarray:
    """Mono at 32 kHz, `[320000]`, of ten seconds at 48 kHz, `[2, 480000]`: resampling keeps them exact."""
    return soxr.resample(sound.mean(axis=0), DATASET_RATE, panns.RATE)


def address(file: str, mirror: str = ZENODO) -> str:
    """Where a published checkpoint is."""
    return f"{mirror}/{quote(file)}?download=1"


def published(network: str, folder: Path = FOLDER, mirror: str = ZENODO) -> Path:
    """The published checkpoint of a network, downloaded if it is not there."""
    checkpoint = panns.published(network)
    return fetch(address(checkpoint.file, mirror), folder / checkpoint.file, checkpoint.md5, checkpoint.megabytes)


def untrained(network: str, seed: int, media: Path, unit: str, folder: Path = Path()) -> panns.Network:
    """Seeded weights, and batch norm's statistics from train clips alone, evenly chosen, two at a time.

    Parameters
    ----------
    network, seed
        See `scenes.features.panns_checkpoints.untrained`.
    media : Path
        `data/media.csv`.
    unit : str
        As for `embed`.
    folder : Path
        What the paths in `media` are relative to.

    Raises
    ------
    InputError
        If no train clip has sound.
    """
    net = panns_checkpoints.untrained(network, seed)
    paths, rows = read_media(media, "audio"), train_rows(media, "audio")
    some = rows[np.linspace(0, len(rows) - 1, min(ESTIMATION_CLIPS, len(rows))).astype(int)]
    chosen = [folder / paths[row] for row in some]
    batches = (
        np.stack([mono(read_audio(path, DATASET_RATE)) for path in chosen[i : i + 2]]) for i in range(0, len(chosen), 2)
    )
    with warnings.catch_warnings(action="ignore", category=MediaWarning):  # map_clips counts them
        panns_checkpoints.reestimate_batch_norm(net, (_in_units(sounds, unit) for sounds in batches))
    return net


def embed(sounds: np.ndarray, embedder: panns_embedder.Embedder, unit: str) -> np.ndarray:
    """Embeddings float32 `[clips, 10, D]` of mono sounds `[clips, 320000]`.

    Parameters
    ----------
    sounds : ndarray
        As from `mono`.
    embedder : panns_embedder.Embedder
        The network.
    unit : str
        `second`, or `clip`: one embedding for all its seconds.
    """
    rows = embedder(_in_units(sounds, unit))
    return np.broadcast_to(rows.reshape(len(sounds), -1, rows.shape[1]), (len(sounds), SECONDS, rows.shape[1]))


def _in_units(sounds: np.ndarray, unit: str) -> np.ndarray:
    return sounds if unit == "clip" else sounds.reshape(-1, panns.RATE)
