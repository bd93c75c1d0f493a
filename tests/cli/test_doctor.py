"""`linftui doctor`: what this installation has, told as text and as JSON."""

import json
import os
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from linftui.cli.doctor import doctor

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, str]:
    """A data cache in which only the files of MNIST are, by their sizes."""
    folder = tmp_path / "cache" / "mnist"
    folder.mkdir(parents=True)
    sizes = {"train-images-idx3": 9_912_422, "train-labels-idx1": 28_881}
    sizes |= {"t10k-images-idx3": 1_648_877, "t10k-labels-idx1": 4_542}
    for name, size in sizes.items():
        with (folder / f"{name}-ubyte.gz").open("wb") as file:
            file.truncate(size)
    return {"LINFTUI_CACHE": str(tmp_path / "cache")}


def test_json_tells_versions_devices_kernels_data_and_terminal(
    cache: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**cache, "TERM": "xterm-256color", "COLORTERM": "truecolor"}.items():
        monkeypatch.setenv(name, value)
    doctor(as_json=True)
    done = capsys.readouterr()
    assert done.err == ""
    [line] = done.out.splitlines()
    report = json.loads(line)
    assert list(report) == ["versions", "devices", "kernels", "data", "terminal"]
    assert report["versions"]["torch"] == version("torch")
    assert report["devices"]["cores"] == len(os.sched_getaffinity(0))
    assert report["kernels"]["backend"]
    assert report["kernels"]["arithmetic"].startswith("float32 on the CPU rounds and keeps denormals")
    assert report["data"]["mnist"] == f"{cache['LINFTUI_CACHE']}/mnist"
    assert report["data"]["cifar10"].startswith("not here yet (") and "missing" in report["data"]["cifar10"]
    assert report["terminal"]["stdout"] == "not a terminal: plain lines"
    assert (report["terminal"]["TERM"], report["terminal"]["colours"]) == ("xterm-256color", "truecolor")


def test_text_is_a_section_each_with_harmless_lines(linftui: Command, cache: dict[str, str]) -> None:
    done = linftui("doctor", **cache, TERM="\x1b[31mred")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    sections = [line for line in lines if not line.startswith(" ")]
    assert sections == ["versions", "devices", "kernels", "data", "terminal"]
    assert all(line.isprintable() for line in lines)
    assert any(line.split() == ["TERM", "�[31mred"] for line in lines)
