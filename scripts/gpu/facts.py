"""The first section: which machine this is, whether kernels were compiled ahead for it, what its units do."""

import json
import os
import platform
from importlib.metadata import version

import torch
from rows import arguments, conclude, gpu, tell

from linftui.bench.cuda_ops import measure_limits
from linftui.ops.cuda.compiler import driver_version, nvrtc_version
from linftui.ops.cuda.launcher import architecture
from linftui.user_folders import cache_folder


def main() -> None:
    rehearse = arguments(__doc__).parse_args().rehearse
    tell("software", python=platform.python_version(), torch=torch.__version__, cores=os.cpu_count())
    device = gpu(rehearse)
    properties = torch.cuda.get_device_properties(device)
    tell(
        "card",
        device=properties.name,
        multiprocessors=properties.multi_processor_count,
        memory=properties.total_memory,
        l2=properties.L2_cache_size,
        driver=driver_version(),
        nvrtc=nvrtc_version(),
        cuda_core=version("cuda-core"),
        arch=architecture(device),
    )
    tell("clocks before", **clocks())
    ahead = compiled_ahead(architecture(device))
    tell("kernels", compiled_ahead=ahead)
    rates = {}
    for name, row in measure_limits(device, 5).items():
        tell(row.name, seconds=row.seconds, rate=row.rate)
        rates[name] = row.rate
    tell("clocks after", **clocks())
    fold = rates["FADD + FMNMX"] / 1e12
    conclude(f"{properties.name}; {ahead}; {fold:.1f} Tel/s at inf, copy {rates['copy'] / 1e12:.2f} TB/s")


def clocks() -> dict[str, int]:
    """MHz and watts at this moment."""
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    return {
        "multiprocessors": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "multiprocessors_at_most": pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "memory": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
        "watts": pynvml.nvmlDeviceGetPowerUsage(handle) // 1000,
    }


def compiled_ahead(arch: str) -> str:
    """Whether what was packed is what this machine looks for; if not, kernels are compiled at first use."""
    packed = cache_folder().parent / "packed.json"
    if not packed.is_file():
        return "no kernel was compiled ahead"
    facts = json.loads(packed.read_text())
    made, here = (facts["arch"], tuple(facts["nvrtc"])), (arch, nvrtc_version())
    if made != here:
        return f"kernels were compiled ahead for {made}, but this machine looks for {here}"
    return f"{facts['kernels']} kernels were compiled ahead"


if __name__ == "__main__":
    main()
