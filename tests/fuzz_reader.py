"""Random edits of small files of ten kinds, read or refused in one line: python tests/fuzz_reader.py CASES [SEED].

In a process of its own, so that a crash is seen: under a limit of memory, and of time for each case.
"""

import faulthandler
import resource
import sys
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

import av
import hypothesis
import numpy as np
from hypothesis import strategies as st

from scenes.media.clip import MOMENTS
from scenes.media.container import open_media
from scenes.media.pictures import Painter, Picture
from scenes.stage.errors import InputError

MEMORY, SECONDS = 3 * 2**30, 120
KINDS = {  # codecs of pictures and sound
    "mp4": ("libx264", "aac"), "mkv": ("libx264", "pcm_s16le"), "mov": ("mpeg4", "pcm_s16be"), "avi": ("mpeg4", "mp3"),
    "ts": ("mpeg2video", "mp2"), "webm": ("libvpx", "libopus"), "wav": (None, "pcm_s16le"), "flac": (None, "flac"),
    "mp3": (None, "libmp3lame"), "ogg": (None, "libopus"),
}  # fmt: skip


def write(path: Path, video: str | None, audio: str) -> bytes:
    """Half a second of noise."""
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        pictures = out.add_stream(video, rate=10, pix_fmt="yuv420p") if video else None
        sound = out.add_stream(audio, rate=48_000, layout="stereo")
        if pictures:
            pictures.width, pictures.height = 32, 32
            for _ in range(5):
                image = generator.integers(0, 256, (32, 32, 3), np.uint8)
                out.mux(pictures.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            out.mux(pictures.encode())
        samples = (3000 * generator.standard_normal((1, 48_000))).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        resampler = av.AudioResampler(sound.format, sound.layout, sound.rate, sound.codec_context.frame_size or 1024)
        for block in (*resampler.resample(frame), *resampler.resample(None), None):
            out.mux(sound.encode(block))
    return path.read_bytes()


def read(path: Path) -> str:
    """Read a file in both ways."""
    said = "read"
    for way in ("blocks", "frames"):
        try:
            with open_media(path) as media:
                if way == "blocks":
                    for block in media.blocks(rate=16_000):
                        assert isinstance(block, Picture) or np.isfinite(block.samples).all()
                elif media.has_pictures:
                    for number, frame in media.frames(MOMENTS[-1], lambda _: MOMENTS):
                        assert 0 <= number < len(MOMENTS) and Painter().square(frame, 32).shape == (32, 32, 3)
        except InputError as error:
            assert "\n" not in str(error) and str(path) in str(error), error
            said = "refused"
    return said


def main(cases: int, seed: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    edit = st.tuples(
        st.floats(0, 1).map(lambda part: part**3) | st.floats(0, 1),  # where: the beginning more often
        st.sampled_from(["replace", "insert", "delete", "cut"]),
        st.binary(min_size=1, max_size=8) | st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\1"]),
    )
    said: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged"
        whole = {kind: write(Path(folder) / f"whole.{kind}", *codecs) for kind, codecs in KINDS.items()}
        for kind, content in whole.items():
            path.write_bytes(content)
            assert read(path) == "read", kind

        @hypothesis.seed(seed)
        @hypothesis.settings(max_examples=cases, deadline=None, database=None,
                             suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
        @hypothesis.given(kind=st.sampled_from(sorted(KINDS)), edits=st.lists(edit, min_size=1, max_size=6))
        def damage(kind: str, edits: list) -> None:
            content = bytearray(whole[kind])
            for part, how, value in edits:
                at = int(part * len(content))
                stop = {"replace": at + len(value), "insert": at, "delete": at + len(value), "cut": len(content)}[how]
                content[at:stop] = value if how in ("replace", "insert") else b""
            path.write_bytes(content)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            said[kind, read(path)] += 1
            faulthandler.cancel_dump_traceback_later()

        damage()
    for outcome in ("read", "refused"):
        print(f"{sum(n for (_, how), n in said.items() if how == outcome)} {outcome}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
