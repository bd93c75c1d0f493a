"""What the host and the kernels must agree on stands in both: each number is compared with the other one."""

import re

import pytest

from linftui.ops.cuda import catalogue, powers
from linftui.ops.cuda.compiler import SOURCES


def constants(source: str) -> dict[str, int]:
    """The whole-number constants of a kernel source, but for those that are computed from others."""
    text = (SOURCES / source).read_text()
    lists = re.findall(r"^constexpr int ([^;]*);", text, re.MULTILINE)
    named = [part.split("=") for each in lists for part in each.split(",") if part.count("=") == 1]
    return {name.strip(): int(value) for name, value in named if value.strip().isdecimal()}


TILES, COLUMNS = constants("tiles.cuh"), constants("columns.cuh")


def test_threads_slabs_and_steps() -> None:
    assert (TILES["THREADS"], TILES["SLAB"]) == (catalogue.THREADS, catalogue.SLAB)
    assert (COLUMNS["ROWS"], COLUMNS["STEP"]) == (catalogue.BACKWARD_ROWS, catalogue.GROUP)
    assert constants("finish.cu") == {"FINISH_THREADS": catalogue.THREADS, "ARGMAX_SLAB": catalogue.SLAB}
    assert constants("pack.cu") == {"PACK_THREADS": catalogue.THREADS}
    assert constants("scatter.cu") == {"THREADS": catalogue.THREADS, "WINDOW": catalogue.WINDOW}


def test_the_shared_memory_of_a_fold_holds_both_stages_of_its_tile() -> None:
    stage = 2 * constants("fold.cu")["TILE"] * TILES["PITCH"]
    assert catalogue.fold(aligned=True, bounds=False).shared_bytes == 2 * stage * 4


@pytest.mark.parametrize("source", ["power.cu", "argmax.cu", "scan.cu"])
def test_the_shared_memory_of_a_tile_holds_both_of_its_stages(source: str) -> None:
    tile = constants(source)
    stages = 2 * (tile["TILE_Y"] + tile["TILE_X"]) * TILES["PITCH"]
    outputs = tile["OUTPUTS_Y"] * tile["OUTPUTS_X"] * TILES["THREADS"]
    beside = {"power.cu": 0, "argmax.cu": outputs, "scan.cu": 2 * outputs}[source]
    kernel = {
        "power.cu": catalogue.power(True, catalogue.PowerForm()),
        "argmax.cu": catalogue.argmax(True),
        "scan.cu": catalogue.scan(True),
    }[source]
    assert kernel.shared_bytes == (stages + beside) * 4


def test_the_numbers_of_an_exponent_lie_where_the_kernels_read_them() -> None:
    places = constants("powers.cuh")
    assert places["FORWARD"] == 2 and places["BACKWARD"] == 2 + powers._BLOCK
    assert powers._LENGTH == places["BACKWARD"] + powers._BLOCK
