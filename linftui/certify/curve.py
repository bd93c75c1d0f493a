"""Certified accuracy against the radius: each of its points is as much a theorem as the headline."""

import itertools
from collections.abc import Callable
from fractions import Fraction

import torch

from linftui.certify.draft import StoppedEarly
from linftui.certify.subject import Subject
from linftui.nn.boxes import pixel_boxes
from linftui.rundir.records import SampleRecord

BATCH = 512
CURVE_POINTS = 16  # from 0 to eps, and as many beyond


@torch.no_grad()
def certified_curve(
    subject: Subject, eps: Fraction, samples: list[SampleRecord], should_stop: Callable[[], bool]
) -> list[tuple[float, float]]:
    """Certified accuracy at radii from 0 to 2 eps (at most 1), by searching that grid for each image.

    The search begins at the radius where the margin would be used up: in a 1-Lipschitz network it shrinks by
    at most 2 / std for every unit of the radius. Then it tries the neighbour, then bisects.

    Boxes of growing radius are nested and so are their bounds, so an image certified at one radius is
    certified at every smaller one; each point of the curve is as much a theorem as the headline.
    """
    grid = [eps * k / CURVE_POINTS for k in range(2 * CURVE_POINTS + 1)]
    grid = [radius for radius in grid if radius <= max(eps, Fraction(1))]
    images, levels = subject.images, subject.dataset.levels
    certified = torch.tensor([sample.certified for sample in samples], device=subject.device)
    right = torch.tensor([sample.prediction == sample.label for sample in samples], device=subject.device)
    # `best` is certified, `worst` is not; wrong images are certified nowhere.
    best = torch.where(certified, CURVE_POINTS, -1)
    worst = torch.where(certified, len(grid), torch.where(right, CURVE_POINTS, 0))
    margins = torch.tensor([sample.margin for sample in samples], device=subject.device).nan_to_num(0.0)
    step = max(subject.net.radius(float(eps / CURVE_POINTS)), 1e-30)  # of the grid, in the margins' units
    left = margins / (2 * step)
    middle = (CURVE_POINTS + left).clamp(0, len(grid)).floor().long()
    for round_ in itertools.count():
        if not bool((open_ := worst - best > 1).any()):
            break
        if round_ > 1:
            middle = (best + worst) // 2
        elif round_ == 1:
            middle = torch.where(best == middle, best + 1, worst - 1)
        middle = torch.minimum(torch.maximum(middle, best + 1), worst - 1)
        for rows in open_.nonzero()[:, 0].split(BATCH):
            if should_stop():
                raise StoppedEarly("stopped while the curve was being computed")
            k = middle[rows]
            boxes = pixel_boxes(images.images[rows], grid, k, levels)
            holds = subject.net.margins(boxes, images.labels[rows]).certified
            best[rows] = torch.where(holds, k, best[rows])
            worst[rows] = torch.where(holds, worst[rows], k)
    n = len(samples)
    return [(float(radius), int((best >= k).sum()) / n) for k, radius in enumerate(grid)]
