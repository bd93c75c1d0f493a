"""Sampling and augmentation: reproducible from their arguments alone, uniform, and exact to the pixel."""

import pytest
import torch
from torch import Tensor

from linftui.data.loader import _hash, augment, batch_indices, batches_per_epoch, epoch_order


def images(n: int, channels: int = 3, height: int = 8, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)


def augmented(
    batch: Tensor, sample: Tensor, *, seed: int = 0, epoch: int = 0, padding: int = 2, flip: bool = True
) -> Tensor:
    return augment(batch, sample, seed=seed, epoch=epoch, crop_padding=padding, flip=flip)


def seen_crops(n: int, padding: int, flip: bool, epoch: int = 0) -> Tensor:
    """What happened to each of `n` images, read off images that show their own coordinates: [n, 3] of row
    offset, column offset and whether mirrored."""
    side = 4 * padding + 3
    rows = torch.arange(side, dtype=torch.uint8)[:, None].expand(side, side)
    batch = torch.stack([rows, rows.T])[None].repeat(n, 1, 1, 1)
    result = augmented(batch, torch.arange(n), epoch=epoch, padding=padding, flip=flip).long()
    middle = side // 2
    mirrored = result[:, 1, 0, middle + 1] < result[:, 1, 0, middle]
    offsets = result[:, :, middle, middle] - middle + padding
    return torch.cat([offsets, mirrored[:, None]], dim=1)


class TestOrder:
    def test_an_epoch_visits_every_image_once(self) -> None:
        assert torch.equal(epoch_order(0, 3, 1000).sort().values, torch.arange(1000))

    def test_it_depends_on_seed_and_epoch_alone(self) -> None:
        first = epoch_order(5, 9, 100)
        torch.manual_seed(1)
        torch.rand(10)
        assert torch.equal(epoch_order(5, 9, 100), first)

    def test_every_seed_and_epoch_has_another(self) -> None:
        orders = {tuple(epoch_order(s, e, 20).tolist()) for s in range(20) for e in range(20)}
        assert len(orders) == 400

    def test_it_is_the_same_on_every_machine(self) -> None:
        assert epoch_order(0, 0, 8).tolist() == [0, 5, 1, 4, 7, 3, 6, 2]
        assert epoch_order(2**40, 1299, 8).tolist() == [5, 2, 3, 0, 7, 4, 1, 6]

    def test_drawing_it_leaves_the_global_generator_alone(self) -> None:
        before = torch.get_rng_state()
        epoch_order(0, 0, 10)
        assert torch.equal(torch.get_rng_state(), before)


class TestBatches:
    @pytest.mark.parametrize(("n", "size", "batches"), [(50_000, 512, 98), (60_000, 512, 118), (512, 512, 1)])
    def test_the_last_partial_batch_counts(self, n: int, size: int, batches: int) -> None:
        assert batches_per_epoch(n, size) == batches

    def test_together_they_are_the_epoch(self) -> None:
        order = epoch_order(0, 0, 103)
        batches = [batch_indices(order, k, 25) for k in range(batches_per_epoch(103, 25))]
        assert [len(batch) for batch in batches] == [25, 25, 25, 25, 3]
        assert torch.equal(torch.cat(batches), order)


class TestAugment:
    def test_each_image_is_a_crop_of_its_edge_padded_self(self) -> None:
        batch = images(40)
        padded = torch.nn.functional.pad(batch.float(), (2, 2, 2, 2), mode="replicate").to(torch.uint8)
        for source, result in zip(padded, augmented(batch, torch.arange(40), flip=False), strict=True):
            crops = [source[:, y : y + 8, x : x + 6] for y in range(5) for x in range(5)]
            assert any(torch.equal(result, crop) for crop in crops)

    def test_the_mirrored_ones_are_the_crops_mirrored(self) -> None:
        batch, sample = images(200), torch.arange(200)
        plain, result = augmented(batch, sample, flip=False), augmented(batch, sample)
        mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(result, plain, strict=True)])
        same = torch.tensor([torch.equal(a, b) for a, b in zip(result, plain, strict=True)])
        assert (mirrored ^ same).all() and 60 < int(mirrored.sum()) < 140

    def test_without_padding_and_flip_nothing_changes(self) -> None:
        assert torch.equal(augmented(images(9), torch.arange(9), padding=0, flip=False), images(9))

    def test_an_images_augmentation_does_not_depend_on_its_batch(self) -> None:
        batch, sample = images(64), torch.arange(1000, 1064)
        whole = augmented(batch, sample)
        some = torch.tensor([63, 5, 5, 20])
        assert torch.equal(augmented(batch[some], sample[some]), whole[some])
        assert torch.equal(augmented(batch[:1], sample[:1]), whole[:1])

    def test_it_changes_with_seed_epoch_and_image(self) -> None:
        batch, sample = images(64), torch.arange(64)
        results = [
            augmented(batch, sample),
            augmented(batch, sample, seed=1),
            augmented(batch, sample, epoch=1),
            augmented(batch, sample + 1),
        ]
        assert not any(torch.equal(a, b) for k, a in enumerate(results) for b in results[:k])

    def test_it_is_the_same_on_every_machine(self) -> None:
        expected = [[5, 5, 1], [0, 4, 0], [6, 3, 0], [0, 5, 0], [4, 5, 1], [1, 2, 0]]
        assert seen_crops(6, padding=3, flip=True).tolist() == expected

    @pytest.mark.parametrize("padding", [1, 3, 4])
    def test_every_crop_and_flip_is_equally_likely(self, padding: int) -> None:
        n, places = 60_000, 2 * padding + 1
        rows, columns, mirrored = seen_crops(n, padding, flip=True).unbind(1)
        counts = ((rows * places + columns) * 2 + mirrored).bincount(minlength=2 * places**2)
        expected = n / (2 * places**2)
        chi_squared = float(((counts - expected) ** 2 / expected).sum())
        freedom = 2 * places**2 - 1
        assert len(counts) == freedom + 1
        assert abs(chi_squared - freedom) < 4 * (2 * freedom) ** 0.5

    def test_an_images_crops_in_successive_epochs_are_independent(self) -> None:
        now, then = (seen_crops(20_000, padding=1, flip=False, epoch=e)[:, 0] for e in (10, 11))
        counts = (3 * now + then).bincount(minlength=9)
        assert float(((counts - 20_000 / 9) ** 2 / (20_000 / 9)).sum()) < 30

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
    def test_a_gpu_gives_the_same_bytes(self) -> None:
        batch, sample = images(300), torch.arange(300)
        assert torch.equal(augmented(batch.cuda(), sample.cuda()).cpu(), augmented(batch, sample))


def test_the_hash_is_splitmix64() -> None:
    # The published generator's first three outputs from state 0: each step adds the increment.
    increment = 0x9E3779B97F4A7C15
    states = torch.tensor([0, increment - 2**64, (2 * increment) % 2**64])
    outputs = [value % 2**64 for value in _hash(states).tolist()]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
