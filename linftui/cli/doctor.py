"""`linftui doctor`: what this installation has and what it lacks."""

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from linftui.cli.options import AsJson
from linftui.cli.render import print_json
from linftui.text import clean
from linftui.user_folders import leave_folder_that_is_gone

if TYPE_CHECKING:
    from linftui.rundir.records import Gpu


def doctor(as_json: AsJson = False) -> None:
    """Show versions, devices, kernel backend, data and terminal."""
    leave_folder_that_is_gone()
    report = {
        "versions": _versions(),
        "devices": _devices(),
        "kernels": _kernels(),
        "data": _data(),
        "terminal": _terminal(),
    }
    if as_json:
        print_json(report)
        return
    for section, facts in report.items():
        print(section)
        for name, value in facts.items():
            print(clean(f"  {name:<18} {value}"))


def _versions() -> dict[str, Any]:
    from linftui.launch.prepare import installed_versions

    return dict(installed_versions())


def _devices() -> dict[str, Any]:
    from linftui.devices import snapshot

    machine = snapshot()
    facts: dict[str, Any] = {
        "cores": machine.cores,
        "memory": f"{machine.memory_available / 2**30:.1f} GiB free of {machine.memory_total / 2**30:.1f}",
    }
    for gpu in machine.gpus:
        facts[f"gpu {gpu.index}"] = _gpu_line(gpu)
    if machine.gpu_problem:
        facts["gpu"] = f"none ({machine.gpu_problem})"
    return facts


def _gpu_line(gpu: "Gpu") -> str:
    """A GPU in one line: "H100, 3.2 used of 79.6 GiB, 97% busy, 412 of 700 W, 68 °C, GPU-aaaa"."""
    facts = [gpu.name or "name unknown"]
    if gpu.memory_total is not None:
        used = "" if gpu.memory_used is None else f"{gpu.memory_used / 2**30:.1f} used of "
        facts.append(f"{used}{gpu.memory_total / 2**30:.1f} GiB")
    if gpu.utilisation is not None:
        facts.append(f"{gpu.utilisation:.0%} busy")
    if gpu.power is not None:
        limit = "" if gpu.power_limit is None else f" of {gpu.power_limit:.0f}"
        facts.append(f"{gpu.power:.0f}{limit} W")
    if gpu.temperature is not None:
        facts.append(f"{gpu.temperature:.0f} °C")
    if gpu.uuid:
        facts.append(gpu.uuid)
    return ", ".join(facts) + (f"; {gpu.problem}" if gpu.problem else "")


def _kernels() -> dict[str, Any]:
    try:
        import torch
    except Exception as error:  # any failure to import torch is what the doctor is here to report
        first = next(iter(str(error).splitlines()), "")
        return {"backend": f"none: torch cannot be imported ({type(error).__name__}: {first})"}

    from linftui.certify.conditions import check_arithmetic
    from linftui.errors import CertificationError
    from linftui.ops import backend_name

    try:
        check_arithmetic(torch.device("cpu"))
        arithmetic = "float32 on the CPU rounds and keeps denormals as certificates need"
    except CertificationError as error:
        arithmetic = str(error)
    name = backend_name()
    slow = " (plain PyTorch: correct, slow)" if name == "reference" else ""
    return {
        "backend": f"{name}{slow}",
        "backend on GPUs": _gpu_kernels(),
        "arithmetic": arithmetic,
    }


def _gpu_kernels() -> str:
    import torch

    from linftui.errors import DeviceError
    from linftui.ops import backend_name

    if not torch.cuda.is_available():
        return f"none: torch {torch.__version__} sees no GPU"
    try:
        return ", ".join(sorted({backend_name(f"cuda:{i}") for i in range(torch.cuda.device_count())}))
    except DeviceError as error:
        return f"none: {error}"


def _data() -> dict[str, Any]:
    from linftui.data.download import DATASETS, status
    from linftui.errors import UsageError

    try:
        found = {dataset: status(dataset, None) for dataset in DATASETS if dataset != "digits"}
    except UsageError as error:  # there is no folder to keep them in
        return {"digits": "comes with scikit-learn", "others": str(error)}
    return {
        "digits": "comes with scikit-learn",
        **{name: str(s.path) if s.present else f"not here yet ({s.problem})" for name, s in found.items()},
    }


def _terminal() -> dict[str, Any]:
    size = shutil.get_terminal_size()
    return {
        "stdout": "a terminal" if sys.stdout.isatty() else "not a terminal: plain lines",
        "size": f"{size.columns} x {size.lines}",
        "TERM": os.environ.get("TERM", "not set"),
        "colours": os.environ.get("COLORTERM", "not announced"),
        "encoding": sys.stdout.encoding,
        "sample": "certified ⣀⡠⠤⠒⠉ p → ∞ λ",
    }
