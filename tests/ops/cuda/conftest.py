"""The CUDA operations on CPU tensors: everything above a launch is the real code, below it the shim."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from host_launcher import COMPILER, HostLauncher

from linftui.ops.cuda import backward, forward
from linftui.ops.cuda.survivors import survivors_of


@pytest.fixture(scope="session")
def shim_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where kernels compiled for the CPU are kept while the tests run."""
    if COMPILER is None:
        pytest.skip("no g++ here to run the CUDA sources on the CPU")
    return tmp_path_factory.mktemp("host-kernels")


@pytest.fixture
def host(shim_folder: Path, monkeypatch: pytest.MonkeyPatch) -> HostLauncher:
    """All launches go to the CPU, on a device that pretends to have two multiprocessors."""
    launcher = HostLauncher(shim_folder, multiprocessors=2)
    for module in (forward, backward):
        monkeypatch.setattr(module, "launcher_of", lambda device: launcher)
    return launcher


@pytest.fixture(autouse=True)
def fresh_counters() -> Iterator[None]:
    yield
    counters = survivors_of(torch.device("cpu"))
    counters.counts.zero_()
    counters.rates = (None, None)
