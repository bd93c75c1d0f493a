"""The data sets as they are loaded: their facts, their splits, and the part that is held out."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from linftui.data.datasets import load_dataset
from linftui.data.download import DATASETS
from linftui.data.images import Dataset
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


def test_every_data_set_that_can_be_downloaded_can_be_loaded() -> None:
    from linftui.data.readers import READERS

    assert set(READERS) == set(DATASETS)


def test_an_unknown_data_set_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(DataError, match="'minst'.*digits, mnist, cifar10"):
        load_dataset("minst")


def assert_normalised(data: Dataset) -> None:
    pixels = data.test.images.float() / data.levels
    assert float(pixels.mean()) == pytest.approx(data.inputs.mean[0], abs=0.01)
    assert float(pixels.std()) == pytest.approx(data.inputs.std, abs=0.01)
