"""Every kernel through the real compiler, without a GPU: registers, spills, instruction mix."""

import re
import subprocess
import sysconfig
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from linftui.ops.cuda import catalogue
from linftui.ops.cuda.catalogue import Kernel, PowerForm, every_kernel
from linftui.ops.cuda.compiler import compile_kernel

nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="no NVRTC here: pip install 'linftui[cuda]'")
pytest.importorskip("cuda.core", reason="no cuda-core here: pip install 'linftui[cuda]'")

KERNELS = list(every_kernel())
EIGHT, ROOTS = PowerForm(power=8), PowerForm(degree=6, squarings=3)
# One of each source, in the paper's sizes; the others differ in a constant.
FEW = [
    catalogue.fold(True, False), catalogue.fold(True, True), catalogue.argmax(True),
    catalogue.scan(True), catalogue.power(True, EIGHT), catalogue.power(True, ROOTS),
    catalogue.finish("scaled"), catalogue.pack("pairs"), catalogue.gradient(EIGHT, 8),
    catalogue.gradient(ROOTS, 8), catalogue.gradient_scan(8), catalogue.scatter(5120),
]  # fmt: skip
# 2 blocks of 256 threads a multiprocessor have 128 registers a thread.
REGISTERS = 128
# The power without a polynomial waits for the special functions anyway. For the newest architectures the
# compiler keeps more addresses, and spills a few outside the inner loop: fold_maxima 144 bytes by NVRTC 13.0,
# 128 by 13.5.
SPILLED_BYTES = {"sum_powers": 32}
SPILLED_BYTES_FROM_SM_100 = {"sum_powers": 64, "fold_maxima": 144, "gradient": 16}


def architectures() -> list[int]:
    """What this compiler knows from sm_80 on (87, 88, 103 and so on are siblings of these)."""
    known = nvrtc.nvrtcGetSupportedArchs()[-1]
    return [arch for arch in (80, 86, 89, 90, 100, 120) if arch in known]


def usage(report: str, entry: str) -> tuple[int, int]:
    """Registers and spilled bytes of an entry, from the assembler's report."""
    part = report.split(f"Compiling entry function '{entry}'")[1]
    registers = re.search(r"Used (\d+) registers", part)
    spills = re.search(r"(\d+) bytes spill stores", part)
    assert registers and spills
    return int(registers[1]), int(spills[1])


def check_all(kernels: list[Kernel], arch: int) -> None:
    with ThreadPoolExecutor(2) as pool:
        built = pool.map(lambda kernel: compile_kernel(kernel, f"sm_{arch}"), kernels)
        for kernel, (code, report) in zip(kernels, built, strict=True):
            registers, spilled = usage(report, kernel.entry)
            assert code[:4] == b"\x7fELF", kernel.name
            assert registers <= REGISTERS, f"{kernel.name}: {registers} registers"
            bounds = SPILLED_BYTES_FROM_SM_100 if arch >= 100 else SPILLED_BYTES
            assert spilled <= bounds.get(kernel.entry, 0), f"{kernel.name}: {spilled} bytes spilled"


@pytest.mark.slow
@pytest.mark.parametrize("arch", architectures())
def test_the_kernels_of_the_paper_compile_within_bounds(arch: int) -> None:
    check_all(FEW, arch)


@pytest.mark.thorough
def test_every_kernel_compiles_within_bounds() -> None:
    check_all([kernel for kernel in KERNELS if kernel not in FEW], 90)


@pytest.mark.slow
def test_rows_that_start_anywhere_compile_for_the_oldest_too() -> None:
    unaligned = [catalogue.fold(False, False), catalogue.fold(False, True), catalogue.argmax(False)]
    check_all([*unaligned, catalogue.scan(False), catalogue.power(False, ROOTS)], 80)


@pytest.mark.thorough
@pytest.mark.parametrize("arch", architectures())
def test_every_kernel_compiles_everywhere(arch: int) -> None:
    check_all(KERNELS, arch)


def test_every_source_is_compiled() -> None:
    sources = {path.name for path in Path(catalogue.__file__).with_name("kernels").glob("*.cu")}
    assert {kernel.source for kernel in FEW} == {kernel.source for kernel in KERNELS} == sources


DISASSEMBLER = Path(sysconfig.get_paths()["purelib"]) / "nvidia/cu13/bin/nvdisasm"


def disassembly(code: bytes, folder: Path) -> str:
    if not DISASSEMBLER.exists():
        pytest.skip("no nvdisasm here: pip install nvidia-cuda-nvdisasm")
    path = folder / "kernel.cubin"
    path.write_bytes(code)
    return subprocess.run([DISASSEMBLER, "-c", path], capture_output=True, text=True, check=True).stdout


def instructions(kernel: Kernel, folder: Path) -> list[str]:
    """The opcodes of the kernel's innermost loop over elements."""
    return hot_loop(disassembly(compile_kernel(kernel, "sm_90")[0], folder))


def hot_loop(text: str) -> list[str]:
    """The shortest loop with at least half of the subtractions that the largest holds."""
    code: list[tuple[int, str]] = []
    labels: dict[str, int] = {}
    waiting: list[str] = []
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            waiting.append(label[1])
        if instruction := re.search(r"/\*([0-9a-f]{4,5})\*/\s+(.*?);", line):
            address = int(instruction[1], 16)
            labels.update(dict.fromkeys(waiting, address))
            waiting.clear()
            code.append((address, instruction[2]))
    loops = []
    for address, instruction in code:
        jump = re.search(r"BRA.*(\.L_x_\d+)", instruction)
        if jump and labels.get(jump[1], address + 1) < address:
            body = [opcode(text) for at, text in code if labels[jump[1]] <= at <= address]
            loops.append(body)
    most = max(body.count("FADD") for body in loops)
    return min((body for body in loops if body.count("FADD") >= 0.45 * most), key=len)


def opcode(instruction: str) -> str:
    return re.sub(r"^@!?U?P\w+ ", "", instruction).split()[0].split(".")[0]


# Elements in the loop, and the most instructions of each kind that do the arithmetic. Everything else (shared
# memory, addresses, the loop) stays under the share given last.
MIXES = [
    (catalogue.fold(True, False), 256, {"FADD": 256, "FMNMX": 256}, 0.06),
    (catalogue.fold(True, True), 128, {"FADD": 256, "FMNMX": 512}, 0.05),
    (catalogue.argmax(True), 128, {"FADD": 128, "FMNMX": 128}, 0.08),
    (catalogue.power(True, EIGHT), 128, {"FADD": 128, "FMUL": 256, "FFMA": 128}, 0.06),
    (catalogue.power(True, ROOTS), 128, {"FADD": 192, "FMUL": 256, "FFMA": 512, "MUFU": 128}, 0.05),
    (catalogue.gradient(EIGHT, 8), 128, {"FADD": 137, "FMUL": 512, "FFMA": 256}, 0.24),
    (catalogue.gradient(ROOTS, 8), 128,
     {"FADD": 137, "FMUL": 256, "FFMA": 768, "MUFU": 128, "LOP3": 140}, 0.16),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "elements", "most", "rest"), MIXES, ids=lambda value: getattr(value, "name", "")
)
def test_the_inner_loop_holds_the_arithmetic_and_little_else(
    kernel: Kernel, elements: int, most: dict[str, int], rest: float, tmp_path: Path
) -> None:
    counts = Counter(instructions(kernel, tmp_path))
    assert {name: counts[name] for name in most if counts[name] > most[name]} == {}
    assert counts["FADD"] >= elements
    others = counts.total() - sum(counts[name] for name in most)
    assert others <= rest * counts.total(), counts


@pytest.mark.slow
def test_the_scan_compares_once_an_element(tmp_path: Path) -> None:
    """One subtraction and one comparison an element; chained comparisons cost no branch."""
    counts = Counter(instructions(catalogue.scan(True), tmp_path))
    assert counts["FADD"] == counts["FSETP"] == 128
    assert counts["BRA"] == 1 and counts.total() <= 340, counts


CERTIFICATE = {
    "fold_maxima": catalogue.fold(True, False), "fold_maxima of boxes": catalogue.fold(True, True),
    "argmax_slabs": catalogue.argmax(True), "finish_maxima": catalogue.finish("maxima"),
    "finish_argmax": catalogue.finish("argmax"), "finish_bounds": catalogue.finish("bounds"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("entry", CERTIFICATE)
def test_what_certificates_rest_on_keeps_denormals_and_contracts_nothing(entry: str, tmp_path: Path) -> None:
    """A fused multiply-add stands in one place only: 0 v + c, which tells whether v is finite."""
    text = disassembly(compile_kernel(CERTIFICATE[entry], "sm_90")[0], tmp_path)
    body = text.split(f".text.{entry.split()[0]}:")[1].split(".section")[0]
    code = [line[2].strip() for line in re.finditer(r"/\*([0-9a-f]{4,5})\*/\s+(.*?);", body)]
    # F2I belongs to the division of an output's number by M.
    assert len(code) > 100 and not [line for line in code if ".FTZ" in line and not line.startswith("F2I")]
    fused = [line for line in code if "FFMA" in line]
    assert all(re.fullmatch(r"FFMA R\d+, (RZ, R\d+|R\d+, RZ), R\d+", line) for line in fused), fused
