"""`linftui bench ops`: what it prints, and what it refuses."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli_processes import start

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("size", ["8x8", "8x0x8", "8x8x8x8", "many", "", "1_0x1x1"])
def test_a_size_that_is_none_is_refused(linftui: Command, size: str) -> None:
    refused = linftui("bench", "ops", "--sizes", size)
    assert refused.returncode == 2 and "a size is like 128x1024x1024" in refused.stderr


def test_a_size_that_nobody_waits_for_is_refused(linftui: Command) -> None:
    refused = linftui("bench", "ops", "--sizes", "9999999x9999999x9999999")
    assert refused.returncode == 2 and "more than 1e+12 elements" in refused.stderr


def test_every_operation_is_measured_against_its_rivals(linftui: Command) -> None:
    done = linftui("bench", "ops", "--sizes", "4x8x16,2x3x5", "--repeats", "2", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    figures = {(figure["size"], figure["op"]): figure for figure in report["figures"]}
    assert {size for size, _ in figures} == {"4x8x16", "2x3x5"}
    best = figures["4x8x16", "p = 37.3, forward and backward"]
    assert best["cdist"] > 0 and best["reference"] > 0 and best["elements_per_s"] > 0
    assert figures["2x3x5", "p = 1000, forward"]["cdist"] is None


@pytest.mark.parametrize(
    ("given", "taken"), [("", "glibc.malloc.hugetlb=1"), ("glibc.malloc.hugetlb=0",) * 2]
)
def test_it_measures_with_the_pages_of_a_run_unless_told_otherwise(
    given: str, taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", given)
    with start(tmp_path, "bench", "ops", "--sizes", "2x3x5", "--repeats", "1000000") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "2x3x5, warming up ...\n"
        environment = Path(f"/proc/{process.pid}/environ").read_text().split("\0")
    assert f"GLIBC_TUNABLES={taken}" in environment
