"""The parsers against the real data sets, and against files damaged in the ways that files are."""

import gzip
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from linftui.data.datasets import (
    REESTIMATE_IMAGES,
    Dataset,
    ImageSet,
    images_for_means,
    load_dataset,
    read_cifar10,
    read_idx,
)
from linftui.data.download import DATASETS
from linftui.errors import DataError
from linftui.recipe.data import DataSection, Inputs, known_by

REAL = Path(os.environ.get("LINFTUI_TEST_DATA", Path(__file__).parents[2].parent / "shared/data"))


def real(name: str) -> Path:
    if not (REAL / name).is_dir():
        pytest.skip(f"the real {name} is not here (LINFTUI_TEST_DATA names its parent folder)")
    return REAL / name


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    return load_dataset("mnist", real("mnist"))


@pytest.fixture(scope="session")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("PIL")
    folder = tmp_path_factory.mktemp("cifar10")
    unpack = real("cifar10") / "unpack.py"
    subprocess.run([sys.executable, str(unpack), str(folder)], check=True, capture_output=True)
    return folder


def commonest_class(data: Dataset) -> float:
    """The share of the test images that are of the most frequent class."""
    return float(data.test.labels.bincount().max()) / len(data.test)


class TestDigits:
    def test_the_split_is_the_documented_permutation_of_scikit_learns_array(self) -> None:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        data = load_dataset("digits")
        order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
        assert torch.equal(data.train.indices, order[:1437]) and torch.equal(data.test.indices, order[1437:])
        for part in (data.train, data.test):
            assert part.images.shape[1:] == (1, 8, 8)
            assert np.array_equal(part.images.flatten(1).numpy(), pixels[part.indices])
            assert np.array_equal(part.labels.numpy(), labels[part.indices])

    def test_the_split_is_the_same_on_every_machine(self) -> None:
        data = load_dataset("digits")
        assert data.train.indices[:4].tolist() == [362, 1568, 1440, 1761]
        assert data.sha256 == "31acfd2dc7ed23f73f15f80f454b0433d88f55d0f510f2708f4a882d5f8d791c"
        name, images = known_by(data.sha256)
        assert (name, list(images)) == ("digits", data.test.indices.tolist())
        assert set(DataSection.registry.kinds) == set(DATASETS)
        assert DataSection.registry.kinds["digits"].facts.commonest_class == commonest_class(data)

    def test_pixels_go_to_16_and_normalise_to_about_zero_and_one(self) -> None:
        data = load_dataset("digits")
        assert (data.levels, data.inputs) == (16, Inputs((1, 8, 8), 10, (0.3,), 0.376))
        assert int(data.train.images.max()) == 16
        assert_normalised(data)


class TestHoldout:
    def test_nothing_is_held_out_by_default(self) -> None:
        assert load_dataset("digits").holdout is None

    def test_held_out_and_kept_images_are_the_training_set_in_order(self) -> None:
        whole, data = load_dataset("digits").train, load_dataset("digits", holdout=237)
        assert data.holdout is not None
        assert (len(data.train), len(data.holdout), len(data.test)) == (1200, 237, 360)
        place = {index: k for k, index in enumerate(whole.indices.tolist())}
        kept, held = ([place[i] for i in part.indices.tolist()] for part in (data.train, data.holdout))
        assert kept == sorted(kept) and held == sorted(held)
        assert sorted(kept + held) == list(range(1437))
        assert torch.equal(data.train.images, whole.images[kept])
        assert torch.equal(data.holdout.labels, whole.labels[held])

    def test_it_is_a_random_part_and_the_same_each_time(self) -> None:
        held = [load_dataset("digits", holdout=100).holdout for _ in range(2)]
        assert held[0] is not None and held[1] is not None
        assert torch.equal(held[0].indices, held[1].indices)
        last = load_dataset("digits").train.indices[-100:]
        assert len(set(held[0].indices.tolist()) & set(last.tolist())) < 30

    def test_a_smaller_one_is_part_of_a_larger_one(self) -> None:
        small, large = (load_dataset("digits", holdout=n).holdout for n in (50, 200))
        assert small is not None and large is not None
        assert set(small.indices.tolist()) < set(large.indices.tolist())

    def test_it_does_not_change_the_data_sets_hash(self) -> None:
        assert load_dataset("digits", holdout=9).sha256 == load_dataset("digits").sha256

    @pytest.mark.parametrize("holdout", [1437, 5000, -1])
    def test_one_that_leaves_no_image_is_an_error(self, holdout: int) -> None:
        with pytest.raises(DataError, match=f"hold out {holdout} of digits's 1437.*choose 0 to 1436"):
            load_dataset("digits", holdout=holdout)


class TestMnist:
    def test_the_official_files_give_the_official_images(self, mnist: Dataset) -> None:
        assert mnist.train.images.shape == (60_000, 1, 28, 28) and mnist.test.images.shape == (
            10_000,
            1,
            28,
            28,
        )
        assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
        assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
        assert mnist.train.labels.bincount().tolist()[:3] == [5923, 6742, 5958]
        assert torch.equal(mnist.test.indices, torch.arange(10_000))
        # The first training image, a five: its topmost stroke, as every MNIST tutorial shows it.
        assert mnist.train.images[0, 0, 5, 12:16].tolist() == [3, 18, 18, 18]

    def test_the_constants_normalise_it(self, mnist: Dataset) -> None:
        assert (mnist.levels, mnist.inputs) == (255, Inputs((1, 28, 28), 10, (0.1307,), 0.3081))
        assert_normalised(mnist)

    def test_its_hash_is_known(self, mnist: Dataset) -> None:
        assert mnist.sha256 == "2edad8764efab7a0d9f88935d1a5179814ed944ec7ab65377fea543b692f103a"
        name, images = known_by(mnist.sha256)
        assert (name, list(images)) == ("mnist", mnist.test.indices.tolist())
        assert DataSection.registry.kinds["mnist"].facts.commonest_class == commonest_class(mnist)

    def test_fashion_mnist_is_not_taken_for_mnist(self) -> None:
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz .*has 26421880 bytes, not 9912422"):
            load_dataset("mnist", real("fashion-mnist"))


@pytest.mark.slow
class TestCifar10:
    def test_the_official_batches_give_the_official_images(self, cifar10: Path) -> None:
        data = load_dataset("cifar10", cifar10)
        assert data.train.images.shape == (50_000, 3, 32, 32) and data.test.images.shape == (
            10_000,
            3,
            32,
            32,
        )
        assert data.train.labels[:8].tolist() == [6, 9, 9, 4, 1, 1, 2, 7]
        assert data.test.labels[:8].tolist() == [3, 8, 8, 0, 6, 6, 1, 6]
        assert data.train.labels.bincount().tolist() == [5000] * 10
        assert data.train.images[0, :, 0, 0].tolist() == [59, 62, 63]
        assert (data.levels, data.inputs.mean) == (255, (0.4914, 0.4822, 0.4465))
        pixels = data.test.images.float() / 255
        assert pixels.mean((0, 2, 3)).tolist() == pytest.approx(data.inputs.mean, abs=0.01)
        # The published constant is the mean over images of their own std, which is smaller than the set's.
        assert float(pixels.std((2, 3)).mean()) == pytest.approx(data.inputs.std, abs=0.01)
        assert data.sha256 == "c52ba1b2a0c0856836680a91a668694237309c99647f5b6338ab9f5253423b7f"
        name, images = known_by(data.sha256)
        assert (name, list(images)) == ("cifar10", data.test.indices.tolist())
        assert DataSection.registry.kinds["cifar10"].facts.commonest_class == commonest_class(data)

    def test_a_flipped_byte_is_noticed(self, cifar10: Path, tmp_path: Path) -> None:
        for path in cifar10.rglob("*.bin"):
            (tmp_path / path.name).symlink_to(path)
        content = bytearray((tmp_path / "data_batch_3.bin").read_bytes())
        content[1234567] ^= 1
        (tmp_path / "data_batch_3.bin").unlink()
        (tmp_path / "data_batch_3.bin").write_bytes(content)
        with pytest.raises(DataError, match=r"data_batch_3\.bin .*wrong sha256 checksum"):
            load_dataset("cifar10", tmp_path)


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


def test_every_data_set_that_can_be_downloaded_can_be_loaded() -> None:
    from linftui.data.datasets import _READERS

    assert set(_READERS) == set(DATASETS)


def test_an_unknown_data_set_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(DataError, match="'minst'.*digits, mnist, cifar10"):
        load_dataset("minst")


def assert_normalised(data: Dataset) -> None:
    pixels = data.test.images.float() / data.levels
    assert float(pixels.mean()) == pytest.approx(data.inputs.mean[0], abs=0.01)
    assert float(pixels.std()) == pytest.approx(data.inputs.std, abs=0.01)


class TestImagesForMeans:
    def numbered(self, n: int) -> ImageSet:
        images = torch.arange(n).remainder(251).to(torch.uint8).view(n, 1, 1, 1)
        return ImageSet(images, torch.zeros(n, dtype=torch.int64), torch.arange(n))

    @pytest.mark.parametrize("n", [1, 100, REESTIMATE_IMAGES])
    def test_of_few_images_all_are_taken(self, n: int) -> None:
        train = self.numbered(n)
        assert torch.equal(images_for_means(train), train.images)

    def test_of_many_a_fixed_number_is_spread_evenly_over_them(self) -> None:
        train = self.numbered(3 * REESTIMATE_IMAGES)
        picked = images_for_means(train)
        assert torch.equal(picked, train.images[::3]) and len(picked) == REESTIMATE_IMAGES
