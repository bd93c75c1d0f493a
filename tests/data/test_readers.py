"""The parsers of official files: what they read, and what they refuse by name."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from linftui.data.readers import read_cifar10, read_idx
from linftui.errors import DataError


class TestIdx:
    """Every kind of damage is an error that names the file."""

    SHAPE = (5, 2, 3)
    PIXELS = bytes(range(30))

    def write(self, folder: Path, content: bytes) -> Path:
        path = folder / "images.gz"
        path.write_bytes(gzip.compress(content))
        return path

    def header(self, kind: int = 8, shape: tuple[int, ...] = SHAPE) -> bytes:
        return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape)

    def test_a_good_file_is_read_row_by_row(self, tmp_path: Path) -> None:
        images = read_idx(self.write(tmp_path, self.header() + self.PIXELS), self.SHAPE)
        assert np.array_equal(images, np.arange(30).reshape(self.SHAPE))

    def test_another_element_type_is_refused(self, tmp_path: Path) -> None:
        self.refused(self.write(tmp_path, self.header(kind=0x0D) + self.PIXELS), "idx file of bytes")

    def test_another_number_of_dimensions_is_refused(self, tmp_path: Path) -> None:
        self.refused(self.write(tmp_path, self.header(shape=(30,)) + self.PIXELS), "3 dimensions")

    def test_another_shape_of_the_same_size_is_refused(self, tmp_path: Path) -> None:
        self.refused(self.write(tmp_path, self.header(shape=(5, 3, 2)) + self.PIXELS), r"shape \(5, 2, 3\)")

    @pytest.mark.parametrize("pixels", [PIXELS[:-1], PIXELS + b"\0", b""], ids=["short", "long", "none"])
    def test_too_few_or_too_many_pixels_are_refused(self, tmp_path: Path, pixels: bytes) -> None:
        self.refused(self.write(tmp_path, self.header() + pixels), f"holds {16 + len(pixels)} bytes, not 46")

    @pytest.mark.parametrize(("length", "why"), [(0, "does not start"), (3, "does not start"), (9, "shape")])
    def test_a_file_that_ends_in_its_header_is_refused(self, tmp_path: Path, length: int, why: str) -> None:
        self.refused(self.write(tmp_path, self.header()[:length]), why)

    def test_a_truncated_gzip_is_refused(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, self.header() + self.PIXELS)
        path.write_bytes(path.read_bytes()[:-9])
        self.refused(path, "cannot be unpacked")

    def test_a_gzip_with_any_byte_changed_is_refused(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, self.header() + self.PIXELS)
        good = path.read_bytes()
        for place in range(10, len(good)):  # behind the gzip header, which holds a date and such
            path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
            self.refused(path, "cannot be unpacked")

    def test_a_file_that_is_no_gzip_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "images.gz").write_bytes(self.header() + self.PIXELS)
        self.refused(tmp_path / "images.gz", "cannot be unpacked")

    def test_a_pipe_is_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "images.gz")
        self.refused(tmp_path / "images.gz", "not a regular file")

    def test_a_file_too_large_to_be_the_shape_is_not_unpacked(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, self.header() + self.PIXELS)
        size = path.stat().st_size
        os.truncate(path, 4 << 40)  # zeros behind a gzip file are padding, which is read to its end
        self.refused(path, f"has {4 << 40} bytes, too many")
        os.truncate(path, size)
        assert read_idx(path, self.SHAPE).shape == self.SHAPE

    def test_of_what_unpacks_to_far_more_little_is_unpacked(self, tmp_path: Path) -> None:
        shape = (1000, 1000)
        with gzip.open(tmp_path / "images.gz", "wb", compresslevel=1) as file:
            file.write(self.header(shape=shape))
            for _ in range(100):
                file.write(bytes(1 << 20))
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=r"images\.gz holds far more than 1000012 bytes"):
                read_idx(tmp_path / "images.gz", shape)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 5e6

    def refused(self, path: Path, why: str) -> None:
        with pytest.raises(DataError, match=rf"images\.gz .*{why}"):
            read_idx(path, self.SHAPE)


class TestCifar10Batch:
    def test_records_are_a_label_and_three_planes(self, tmp_path: Path) -> None:
        planes = np.arange(2 * 3072, dtype=np.int64).astype(np.uint8).reshape(2, 3, 32, 32)
        path = tmp_path / "batch.bin"
        path.write_bytes(b"\x07" + planes[0].tobytes() + b"\x00" + planes[1].tobytes())
        images, labels = read_cifar10(path, count=2)
        assert np.array_equal(images, planes) and labels.tolist() == [7, 0]

    @pytest.mark.parametrize("length", [0, 3072, 3074, 2 * 3073])
    def test_another_length_is_refused(self, tmp_path: Path, length: int) -> None:
        (tmp_path / "batch.bin").write_bytes(bytes(length))
        with pytest.raises(DataError, match=rf"batch\.bin holds {length} bytes, not 1 records of 3073"):
            read_cifar10(tmp_path / "batch.bin", count=1)

    def test_a_label_above_nine_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "batch.bin").write_bytes(b"\x0a" + bytes(3072))
        with pytest.raises(DataError, match=r"batch\.bin holds the label 10"):
            read_cifar10(tmp_path / "batch.bin", count=1)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"batch\.bin cannot be read"):
            read_cifar10(tmp_path / "batch.bin")

    def test_a_pipe_and_terabytes_of_nothing_are_not_read(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "batch.bin")
        with pytest.raises(DataError, match=r"batch\.bin cannot be read \(it is not a regular file\)"):
            read_cifar10(tmp_path / "batch.bin")
        (tmp_path / "batch.bin").unlink()
        (tmp_path / "batch.bin").touch()
        os.truncate(tmp_path / "batch.bin", 4 << 40)
        with pytest.raises(DataError, match=f"holds {4 << 40} bytes, not 10000 records"):
            read_cifar10(tmp_path / "batch.bin")
