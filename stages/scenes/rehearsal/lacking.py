"""What a set-up needs and this machine lacks: weights, libraries that see the GPU, the data set, room for all of it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from scenes.dataset.archives import read_archives
from scenes.dataset.weights import FOLDER
from scenes.rehearsal.setting import FOUNDATION, PRETRAINED

TAU = Path("data/tau/clips")  # which the stage download makes


class Weights(NamedTuple):
    """Published weights that a set-up loads: whose, where they belong, where they come from, how many bytes.

    Of a model on the hub that is none of `PUBLISHED` the bytes are not known, and 0.
    """

    section: str
    network: str
    path: Path
    address: str
    bytes: int


class Machine(NamedTuple):
    """What networks find here: the libraries that see a GPU, and the published weights that they load."""

    on_gpu: list[str]
    weights: list[Weights]


def survey(params: dict[str, Any]) -> Machine:
    """Look at this machine, with `KERAS_BACKEND` set: in a process of its own, which holds a GPU while it lasts."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where TensorFlow says that it finds no CUDA
    import torch

    from scenes.classifiers import image_networks
    from scenes.features import audio_embedding, openl3, panns
    from scenes.learning.backend import keras
    from scenes.learning.gpus import on_gpu
    from scenes.rehearsal.untrained import PUBLISHED, size_of

    store = Path(os.environ.get("SCENES_WEIGHTS", FOLDER)).expanduser()
    found = []
    for section in PRETRAINED:
        for network, options in params[section].items():
            if not options["pretrained"] or options["weights"] != "none":
                continue
            if section == "audio":
                of, address = panns.published(network), audio_embedding.address
                mirror = os.environ.get("SCENES_PANNS_URL", audio_embedding.ZENODO)
                row = store / of.file, address(of.file, mirror), round(of.megabytes * 1e6)
            elif section == "openl3":
                of, mirror = openl3.PUBLISHED[network], os.environ.get("SCENES_OPENL3_URL", openl3.GITHUB)
                row = store / of.file, f"{mirror}/{of.file}", round(of.megabytes * 1e6)
            else:
                row = image_networks.published(network, options["size"])
            found.append(Weights(section, network, *row))
    for section in FOUNDATION:
        for network, options in params[section].items():
            model, revision = options["model"], options["revision"]
            if options["weights"] == "none":
                size = size_of(model) if model in PUBLISHED else 0
                found.append(Weights(section, network, *_of_hub(model, revision), size))
    seen = {keras.backend.backend(): on_gpu(), "torch": torch.cuda.is_available()}
    return Machine([library for library, sees in seen.items() if sees], found)


def _of_hub(model: str, revision: str) -> tuple[Path, str]:
    """Where a model's weights are in the hub's cache, or its folder there if they are not; their address."""
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.file_download import repo_folder_name

    found = try_to_load_from_cache(model, "model.safetensors", revision=revision)
    place = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=model, repo_type="model"), "snapshots", revision)
    return Path(found) if isinstance(found, str) else place, f"{constants.ENDPOINT}/{model}/tree/{revision}"


def lacking(
    params: dict[str, Any], project: Path, machine: Machine, disk: float, gpu_memory: float, dataset: bool
) -> list[str]:
    """A line for each thing that is missing for a full run.

    Parameters
    ----------
    params : dict
        Of the set-up.
    project : Path
        Where it will run.
    machine : Machine
        As `survey` has seen it.
    disk : float
        Bytes that its outputs take.
    gpu_memory : float
        Bytes of GPU memory that its largest stage took; NaN where that was not measured.
    dataset : bool
        Whether the data set is there.
    """
    lines = []
    if not dataset:
        lines.append(f"data set: {params['dataset']['setup']} is not there")
    if not dataset and Path(params["dataset"]["setup"]).is_relative_to(TAU):
        archives = read_archives(project / "checksums/tau.csv", params["tau"]["subset"])
        disk += sum(archive.unpacked for archive in archives)
        size = sum(archive.bytes for archive in archives) / 1e9
        lines[0] += f"; {size:,.0f} GB from {params['tau']['url']}"
    networks = {f"{section}.{name}": params[section][name]
                for section in (*PRETRAINED, *FOUNDATION) for name in params[section]}  # fmt: skip
    for network, options in networks.items():
        if options["pretrained"] and options["weights"] != "none" and not (project / options["weights"]).exists():
            lines.append(f"weights of {network}: {options['weights']} is not there")
    absent = {of.path: of for of in reversed(machine.weights) if not of.path.exists()}.values()  # once each
    for of in reversed(absent):
        size = f"{of.bytes / 1e6:,.0f} MB" if of.bytes else "of unknown size"
        lines.append(f"weights of {of.section}.{of.network}: {size} from {of.address} to {of.path}")
    disk += sum(each.bytes for each in absent)
    free = shutil.disk_usage(project).free
    if disk > free:
        lines.append(f"disk: {disk / 1e9:,.0f} GB are needed, {free / 1e9:,.0f} GB are free in {project.absolute()}")
    return lines + _gpu(params["backend"], machine.on_gpu, gpu_memory)


def _gpu(backend: str, seen_by: list[str], used: float) -> list[str]:
    names, smallest = gpus()
    if not names and not seen_by:
        return ["GPU: nvidia-smi finds none; the hours above are those of this processor"]
    lines = [
        f"GPU: {', '.join(names)} by nvidia-smi, but {library} sees none; the README, Libraries, says what to install"
        for library in dict.fromkeys([backend, "torch"]) if names and library not in seen_by
    ]  # fmt: skip
    if names and used > 0.9 * smallest:
        lines.append(f"GPU memory: {used / 2**30:.1f} GiB were taken of {smallest / 2**30:.1f}; lower a micro_batch")
    return lines


def gpus() -> tuple[list[str], int]:
    """The names of this machine's GPUs by nvidia-smi, and the memory of the smallest, bytes."""
    if not (command := shutil.which("nvidia-smi")):
        return [], 0
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    rows = [line.rpartition(",") for line in answer.splitlines() if line.rpartition(",")[2].strip().isdigit()]
    return [name.strip() for name, _, _ in rows], min((int(size) for *_, size in rows), default=0) * 2**20
