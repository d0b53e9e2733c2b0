"""The page in a real browser: what is dropped on it, what it shows, and that it asks nothing of anybody else."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run
from odd_recordings import CASES, film
from trained import MEMBERS, finished_run

pytest.importorskip("gradio", reason="requirements-app.txt is not installed: make test-app")
api = pytest.importorskip("playwright.sync_api", reason="requirements-app.txt is not installed: make test-app")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PORT = 7871

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: make test-app")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("checkout") / "run")


@pytest.fixture(scope="module")
def address(trained, tmp_path_factory):
    options = [word for name in MEMBERS for word in ("--member", name)]
    log = tmp_path_factory.mktemp("log") / "log"
    command = [sys.executable, ROOT / "stages/serve.py", *options, "--port", str(PORT), "--checkout", trained]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            for _ in range(240):
                assert server.poll() is None, log.read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}")
                    break
                except OSError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{PORT}"
        finally:
            server.terminate()


@pytest.fixture
def page(address):
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        yield page
        foreign = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
        browser.close()
        assert not foreign


def test_a_film_is_watched_with_its_probabilities(page, trained):
    page.set_input_files("input[type=file]", trained / "data/demo/clips/video/park-lyon-2-2.mp4")
    chart = page.locator("svg.timeline")
    api.expect(chart.locator("rect")).to_have_count(30, timeout=60_000)
    api.expect(chart.locator("rect").nth(1)).to_have_attribute("fill", "#ff7f0e")
    api.expect(page.locator("ol li")).to_have_count(3)
    assert "/gradio_api/file=" in page.locator("video").get_attribute("src")
    page.eval_on_selector("video", "film => { film.currentTime = 7.5; film.dispatchEvent(new Event('timeupdate')) }")
    page.wait_for_function("Number(document.querySelector('svg.timeline line').getAttribute('x1')) > 7")
    api.expect(page.get_by_text("audio_spectrogram/mel").first).to_be_visible()
    api.expect(page.get_by_text("Trained on synthetic clips")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_text("Download the JSON").click()
    content = json.loads(Path(download.value.path()).read_text())
    assert content["file"] == "park-lyon-2-2.mp4" and len(content["seconds"]) == 10


@pytest.mark.parametrize("name", ["damaged sound", "sound begins late, mp4", "first track silent"])
def test_an_odd_video_is_classified_as_by_the_command_and_its_warnings_are_shown(page, trained, name):
    make, *_, notes = CASES[name]
    path = make()
    page.set_input_files("input[type=file]", path)
    api.expect(page.locator("svg.timeline rect")).to_have_count(36, timeout=60_000)
    for note in notes:
        api.expect(page.get_by_text(note).first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_text("Download the JSON").click()
    members = [word for name in MEMBERS for word in ("--member", name)]
    result = run("classify.py", path, *members, "--checkout", trained, "--json", "a.json")
    assert result.returncode == 0, result.stderr
    (said,) = json.loads(Path("a.json").read_text())["files"]
    shown = json.loads(Path(download.value.path()).read_text())
    assert len(shown["seconds"]) == 12 and shown["warnings"] == said["warnings"]
    np.testing.assert_allclose(shown["seconds"], said["seconds"], atol=1e-5)


def test_endings_that_browsers_and_gradio_do_not_know_are_taken(page):
    path = film("a.ts", 3, sound_codec="aac").rename("00001.MTS")
    page.set_input_files("input[type=file]", path)
    api.expect(page.locator("svg.timeline rect")).to_have_count(9, timeout=60_000)


def test_an_example_is_one_click_away(page):
    page.get_by_text("bus-lyon-1-1.mp4").first.click()
    api.expect(page.locator("svg.timeline rect")).to_have_count(30, timeout=60_000)


def test_a_bad_file_is_one_line(page, tmp_path):
    (tmp_path / "text.mp4").write_text("not a film at all")
    page.set_input_files("input[type=file]", tmp_path / "text.mp4")
    api.expect(page.get_by_text("text.mp4: empty, truncated or not an audio")).to_be_visible(timeout=60_000)
