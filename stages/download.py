"""Download a published data set, TAU Urban Audio-Visual Scenes 2021, and unpack it. A rerun resumes."""

from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Annotated, Literal

import typer
from tqdm import tqdm

from scenes.dataset.archives import Archive, check_disk, is_unpacked, read_archives, unpack
from scenes.dataset.transfer import bytes_there, download
from scenes.dataset.weights import verify
from scenes.stage.cli import run
from scenes.stage.errors import InputError

ZENODO = "https://zenodo.org/records/4477542/files"


def main(
    table: Annotated[Path, typer.Argument(help="of the archives: file,bytes,md5")],
    out: Annotated[Path, typer.Argument(help="folder of the data set; archives go to the folder archives beside it")],
    subset: Annotated[
        Literal["meta", "examples", "first", "all"],
        typer.Option(help="setup files alone; and the examples; or the first archive of sound and of pictures; or all"),
    ] = "all",
    keep_archives: Annotated[bool, typer.Option(help="keep an archive when it is unpacked")] = False,
    url: Annotated[str, typer.Option(help="folder of the archives, Zenodo's or a mirror's")] = ZENODO,
    at_once: Annotated[int, typer.Option(help="archives at a time", envvar="SCENES_DOWNLOADS", min=1, max=32)] = 4,
) -> None:
    store = out.with_name("archives")
    wanted: list[Archive] = []
    for archive in read_archives(table, subset):
        if not is_unpacked(store / f"{archive.file}.csv", out):
            wanted.append(archive)
        elif not keep_archives:
            (store / archive.file).unlink(missing_ok=True)
    missing = sorted(archive.bytes - bytes_there(store / archive.file) for archive in wanted)
    packed = sum(missing if keep_archives else missing[-at_once:])
    check_disk(out, packed + sum(archive.unpacked for archive in wanted), f"unpacking {len(wanted)} archives")

    def fetch(archive: Archive) -> InputError | OSError | None:
        """Leave the archive unpacked in `out`, or return why not: the others continue."""
        path = store / archive.file
        try:
            check_disk(out, archive.bytes - bytes_there(path) + archive.unpacked, archive.file)
            if path.exists():
                verify(path, archive.md5)
            else:
                check = partial(verify, md5=archive.md5, fix="it was removed; rerun, or name another mirror")
                source = f"{url.rstrip('/')}/{archive.file}?download=1"
                download(source, path, check, bar.update, archive.bytes)
            unpack(path, out, store / f"{archive.file}.csv")
        except (InputError, OSError) as error:
            return error
        if not keep_archives:
            path.unlink()
        return None

    for kind in ("audio", "video"):  # the pipeline depends on both, a subset may have neither
        (out / kind).mkdir(parents=True, exist_ok=True)
    size = sum(archive.bytes for archive in wanted)
    with (
        tqdm(total=size, initial=size - sum(missing), desc="download", unit="B", unit_scale=True) as bar,
        ThreadPool(at_once) as pool,  # its threads do not outlive an interrupt
    ):
        errors = [error for error in pool.imap_unordered(fetch, wanted) if error]
    if errors:
        more = f" ({len(errors)} of {len(wanted)} archives failed)" if len(errors) > 1 else ""
        raise InputError(f"{errors[0]}{more}")


if __name__ == "__main__":
    run(main)
