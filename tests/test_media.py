"""Sound and pictures: what good files give, and what bad ones say."""

import av
import numpy as np
import pytest
from conftest import noise, write_mp4, write_wav

from scenes.media.clip import has_sound, read_audio, read_frames
from scenes.stage.errors import InputError, MediaWarning


def test_whole_clip_is_read_as_it_is(tmp_path, recwarn):
    sound = noise()
    read = read_audio(write_wav(tmp_path / "a.wav", sound), 48_000)
    assert read.shape == (2, 480_000) and read.dtype == np.float32
    np.testing.assert_allclose(read, sound, atol=2**-22)
    assert not recwarn


@pytest.mark.parametrize("samples", [479_999, 480_001])
def test_one_sample_more_or_less_is_no_matter(tmp_path, recwarn, samples):
    assert read_audio(write_wav(tmp_path / "a.wav", noise()[:, :1].repeat(samples, 1)), 48_000).shape == (2, 480_000)
    assert not recwarn


def test_silence_is_allowed(tmp_path):
    assert not read_audio(write_wav(tmp_path / "a.wav", np.zeros((2, 480_000))), 48_000).any()


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (noise(channels=1), 48_000, "mono"),
        (noise(channels=4), 48_000, "more than two audio channels"),
        (noise(rate=44_100), 44_100, "44100 Hz, resampled to 48000 Hz"),
        (noise(seconds=4), 48_000, "shorter than 10 s"),
    ],
)
def test_unusual_sound_is_used_with_a_warning(tmp_path, sound, rate, message):
    with pytest.warns(MediaWarning, match=message):
        read = read_audio(write_wav(tmp_path / "a.wav", sound, rate), 48_000)
    assert read.shape == (2, 480_000) and np.abs(read).max() > 0


def test_short_sound_is_repeated_and_long_sound_cut(tmp_path):
    short, long = noise(seconds=4), noise(seconds=11)
    with pytest.warns(MediaWarning):
        read = read_audio(write_wav(tmp_path / "a.wav", short), 48_000)
    np.testing.assert_array_equal(read[:, : 4 * 48_000], read[:, 4 * 48_000 : 8 * 48_000])
    np.testing.assert_allclose(read_audio(write_wav(tmp_path / "b.wav", long), 48_000), long[:, :480_000], atol=1e-6)


def test_resampling_keeps_a_tone(tmp_path):
    tone = np.sin(2 * np.pi * 1000 * np.arange(441_000) / 44_100)
    with pytest.warns(MediaWarning):
        read = read_audio(write_wav(tmp_path / "a.wav", np.stack([tone, tone]), 44_100), 48_000)
    expected = np.sin(2 * np.pi * 1000 * np.arange(480_000) / 48_000)
    np.testing.assert_allclose(read[0, 1000:-1000], expected[1000:-1000], atol=1e-3)


def test_bad_sound_says_which_file_and_why(tmp_path):
    whole = write_wav(tmp_path / "whole.wav", noise())
    truncated = tmp_path / "truncated.wav"
    truncated.write_bytes(whole.read_bytes()[:1_000_000])
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound at all")
    no_frames = write_wav(tmp_path / "none.wav", np.zeros((2, 0)))
    holes = noise().astype(np.float32)
    holes[0, 7] = np.nan
    write_wav(tmp_path / "nan.wav", holes, subtype="FLOAT")
    for name, message in [
        ("truncated.wav", "truncated: audio ends at 3 of 10 s"),
        ("empty.wav", "empty file"),
        ("text.wav", "not an audio or video file"),
        ("missing.wav", "no such file"),
        (no_frames.name, "contains no audio"),
        ("nan.wav", "NaN or infinite"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            read_audio(tmp_path / name, 48_000)
        assert name in str(error.value) and "\n" not in str(error.value)


def test_sound_of_a_video(tmp_path):
    film = write_mp4(tmp_path / "a.mp4")
    assert has_sound(film)
    sound = read_audio(film, 48_000)
    assert sound.shape == (2, 480_000) and 0.05 < sound.std() < 0.2
    silent = write_mp4(tmp_path / "silent.mp4", sound=False)
    assert not has_sound(silent)
    with pytest.raises(InputError, match="silent.mp4: has no audio"):
        read_audio(silent, 48_000)


def test_frames_are_those_in_the_middle_of_each_second(tmp_path, recwarn):
    frames = read_frames(write_mp4(tmp_path / "a.mp4"), 32)
    assert frames.shape == (10, 32, 32, 3) and frames.dtype == np.uint8
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 20 * (np.arange(10) + 0.5), atol=4)
    assert not recwarn


def test_a_short_film_is_repeated_with_a_warning(tmp_path):
    with pytest.warns(MediaWarning, match="video shorter than 10 s"):
        frames = read_frames(write_mp4(tmp_path / "a.mp4", seconds=4), 32)
    np.testing.assert_array_equal(frames[:4], frames[4:8])
    with pytest.warns(MediaWarning):
        assert read_frames(write_mp4(tmp_path / "b.mp4", seconds=0.2), 32).shape == (10, 32, 32, 3)


def test_bad_video_says_which_file_and_why(tmp_path):
    (tmp_path / "empty.mp4").touch()
    whole = write_mp4(tmp_path / "whole.mp4", faststart=True).read_bytes()
    (tmp_path / "headless.mp4").write_bytes(write_mp4(tmp_path / "late.mp4").read_bytes()[:20_000])
    (tmp_path / "truncated.mp4").write_bytes(whole[: len(whole) // 3])
    for name in ("empty.mp4", "headless.mp4", "truncated.mp4"):
        for read in (lambda path: read_frames(path, 32), lambda path: read_audio(path, 48_000)):
            with pytest.raises(InputError, match="truncated|empty") as error:
                read(tmp_path / name)
            assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{}, {"g": "7"}, {"g": "12", "x264-params": "open-gop=1"}, {"bf": "0"}])
def test_frames_are_those_of_decoding_all(tmp_path, options):
    path = tmp_path / "a.mp4"
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=24, options=options)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        still = generator.integers(0, 256, (48, 400, 3), dtype=np.uint8)
        for index in range(242):
            moving = np.ascontiguousarray(still[:, index : index + 64]) // (1 + index % 2)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(moving, format="rgb24")))
        container.mux(pictures.encode())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(frame.time, frame) for frame in container.decode(stream)]
    shown = [[frame for time, frame in frames if time <= second + 0.5][-1] for second in range(10)]
    scaled = [frame.reformat(32, 32, "rgb24", interpolation="BILINEAR").to_ndarray() for frame in shown]
    np.testing.assert_array_equal(read_frames(path, 32), scaled)
