"""The fixed training images that running means are re-estimated on."""

import pytest
import torch

from linftui.data.images import REESTIMATE_IMAGES, ImageSet, images_for_means


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
