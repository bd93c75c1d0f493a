"""What is certified: the network of one checkpoint, with the images and the conditions of the claim."""

import os
import time
from dataclasses import dataclass, field
from fractions import Fraction

import torch

from linftui.build import build_dataset, build_net
from linftui.certify.conditions import check_conditions
from linftui.checkpoint import LoadedCheckpoint, find_checkpoint, restore_model
from linftui.data.images import Dataset, ImageSet, images_for_means
from linftui.errors import CheckpointError
from linftui.nn.net import Net
from linftui.rundir.fence import HeldFolder
from linftui.rundir.paths import CertificatePaths, RunPaths, certificate_name
from linftui.rundir.records import Means
from linftui.rundir.store import read_resolved


@dataclass(frozen=True)
class Subject:
    """What is certified: the network of one checkpoint, over the first images of the test set."""

    paths: RunPaths
    dataset: Dataset
    checkpoint: LoadedCheckpoint
    means: Means
    net: Net
    images: ImageSet
    limit: int | None
    device: torch.device
    folder: HeldFolder  # of the run: another run that takes its place gets no certificate of these weights
    token: str = field(default_factory=lambda: f"{os.getpid()}-{time.time_ns()}")  # unique to this process

    def certificate(self, eps: Fraction) -> CertificatePaths:
        """Where the certificate at this radius goes; different claims have different folders."""
        first = None if self.limit is None else len(self.images.labels)
        return self.paths.certificate(
            certificate_name(self.checkpoint.paths.root.name, eps, self.means, first)
        )

    def draft(self, eps: Fraction) -> CertificatePaths:
        """Where this process makes the certificate at this radius."""
        return self.paths.certificate(f".{self.certificate(eps).root.name}.{self.token}.draft")


def load_subject(
    paths: RunPaths, which: str, means: Means, limit: int | None, device: torch.device
) -> tuple[Subject, list[str]]:
    """Loads what is to be certified, and checks the conditions of the theorem.

    Returns:
        The subject, and warnings about damaged checkpoints that were skipped.

    Raises:
        LinftuiError: a recipe, checkpoint or data set cannot be used, or a condition fails.
    """
    folder = HeldFolder(paths.root)
    resolved = read_resolved(paths)
    recipe = resolved.recipe
    dataset = build_dataset(recipe, device)
    net = build_net(recipe, dataset, device)
    checkpoint, warnings = find_checkpoint(paths, which, device, net)
    if checkpoint.record.recipe_hash != resolved.hash:
        raise CheckpointError(f"checkpoint {checkpoint.paths.root.name} belongs to another recipe")
    restore_model(net, checkpoint)
    if means == "re-estimated":
        net = net.with_reestimated_means(images_for_means(dataset.train), dataset.levels)
    net.eval()
    check_conditions(net, device)
    test = dataset.test
    limit = None if limit is None or limit >= len(test.labels) else limit
    images = ImageSet(test.images[:limit], test.labels[:limit], test.indices[:limit])
    return Subject(paths, dataset, checkpoint, means, net, images, limit, device, folder), warnings
