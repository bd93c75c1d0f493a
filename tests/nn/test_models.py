"""Whole nets: their structure, the Lipschitz bound, and re-estimated means."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from linftui.nn import AT_INFINITY, DistanceMLP, Moment
from linftui.nn.boxes import to_pixels

INF = math.inf


def net(depth: int = 3, width: int = 7, seed: int = 0, identity: float = 10.0) -> DistanceMLP:
    return DistanceMLP(
        in_shape=(2, 2, 2), classes=9, width=width, depth=depth, identity=identity, mean=(0.3, 0.4), std=0.25,
        seed=seed,
    )  # fmt: skip


def with_random_state(model: DistanceMLP) -> DistanceMLP:
    """Biases and running means other than their zeros, in evaluation."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        model.last.bias.copy_(torch.randn(9, generator=generator))
        for shift in model.shifts:
            shift.running_mean.copy_(torch.randn(shift.running_mean.shape, generator=generator))
    return model.eval()


def pixels(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 2, 2, 2, generator=torch.Generator().manual_seed(seed))


def image_bytes(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 2, 2, 2), generator=generator, dtype=torch.uint8)


class TestStructure:
    def test_logits_are_minus_the_last_distance_and_bias_over_shifted_layers(self) -> None:
        model, x = with_random_state(net()), pixels(5)
        state = {name: value.double() for name, value in model.state_dict().items()}
        for p in (8.0, INF):
            z = ((x.double() - torch.tensor([0.3, 0.4])[:, None, None]) / 0.25).flatten(1)
            for layer in range(2):
                z = torch.cdist(z, state[f"hidden.{layer}.weight"], p=p)
                z = z - state[f"shifts.{layer}.running_mean"]
            logits = -(torch.cdist(z, state["last.weight"], p=p) + state["last.bias"])
            torch.testing.assert_close(model(x, Moment(p=p)).double(), logits, atol=1e-4, rtol=1e-6)

    @pytest.mark.parametrize(("depth", "hidden"), [(1, 0), (2, 1), (5, 4)])
    def test_depth_counts_the_last_layer(self, depth: int, hidden: int) -> None:
        model = net(depth)
        assert len(model.hidden) == len(model.shifts) == hidden
        assert model(pixels(4), AT_INFINITY).shape == (4, 9)

    def test_hidden_layers_that_do_not_narrow_start_with_the_identity_and_the_last_never(self) -> None:
        model = net(depth=3, width=8)  # 8 pixels -> 8 -> 8 -> 9 classes: only the last may not
        for layer in model.hidden:
            assert (layer.weight.diagonal() == -10).all()
        assert not (model.last.weight == -10).any()
        narrow = net(depth=2, width=7)
        assert not (narrow.hidden[0].weight == -10).any()

    def test_only_the_last_layer_has_a_bias(self) -> None:
        names = [name for name, _ in net().named_parameters()]
        assert names == ["hidden.0.weight", "hidden.1.weight", "last.weight", "last.bias"]

    def test_a_seed_decides_every_weight_whatever_the_global_generator_did(self) -> None:
        first = net(seed=3).state_dict()
        torch.manual_seed(99)
        again, other = net(seed=3).state_dict(), net(seed=4).state_dict()
        for name, value in first.items():
            assert torch.equal(value, again[name])
        assert not torch.equal(first["hidden.0.weight"], other["hidden.0.weight"])
        assert not torch.equal(first["last.weight"], other["last.weight"])


def test_a_batch_without_an_image_changes_nothing_in_training() -> None:
    model = net()
    model(pixels(5), Moment(p=8.0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for p in (8.0, INF):
        logits = model(pixels(0), Moment(p=p))
        assert logits.shape == (0, 9)
        logits.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(not parameter.grad.any() for parameter in model.parameters())


class TestLipschitz:
    @pytest.mark.parametrize("seed", range(3))
    def test_at_inf_no_logit_moves_more_than_the_normalised_pixels(self, seed: int) -> None:
        model = with_random_state(net(seed=seed)).double()
        x = pixels(20_000, seed).double()
        step = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        scale = torch.logspace(-9, 0, len(x), dtype=torch.float64)[:, None, None, None]
        y = x + scale * step
        with torch.no_grad():
            moved = (model(x, AT_INFINITY) - model(y, AT_INFINITY)).abs().amax(1)
        allowed = (x - y).abs().flatten(1).amax(1) / model.normalize.std
        assert (moved <= allowed + 1e-13).all()
        assert (moved > 0.99 * allowed).any()  # the bound is attained, so the test could see it broken


class TestReestimatedMeans:
    def test_they_are_the_means_of_each_layer_behind_the_shifted_one_before(self) -> None:
        model, images = with_random_state(net()), image_bytes(200)
        copy = model.with_reestimated_means(images, 255)
        z = (images.numpy() / 255 - np.array([0.3, 0.4])[:, None, None]) / 0.25
        z = z.reshape(200, 8)
        for layer, shift in zip(model.hidden, copy.shifts, strict=True):
            differences = np.abs(z[:, None, :] - layer.weight.detach().double().numpy())
            z = differences.max(2)
            mean = z.mean(0)
            np.testing.assert_allclose(shift.running_mean.numpy(), mean, rtol=1e-5)
            z = z - mean

    def test_the_model_itself_stays_as_it_was(self) -> None:
        model = with_random_state(net()).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        copy = model.with_reestimated_means(image_bytes(50), 255)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert model.training and not copy.training
        assert all(map(torch.equal, copy.parameters(), model.parameters()))

    def test_in_evaluation_the_copy_does_what_training_mode_does_on_these_images(self) -> None:
        model, images = net(), image_bytes(50)
        copy = model.with_reestimated_means(images, 255)
        x = to_pixels(images, 255)
        torch.testing.assert_close(copy(x, AT_INFINITY), model(x, AT_INFINITY))

    def test_without_an_image_there_is_no_mean(self) -> None:
        with pytest.raises(ValueError, match="at least one image"):
            net().with_reestimated_means(image_bytes(0), 255)
