"""The certificates of a run, each checked against its samples, its weights and its name before it is shown.

A run may come from anyone, and summary.json is a text file. These checks find out whether a certificate's
files agree with each other and with the run, and are quick enough to repeat whenever one is shown. They do
not compute again whether the verdicts follow from the weights and the data.
"""

import errno
import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import msgspec

from linftui.errors import RunDirectoryError
from linftui.files import open_regular
from linftui.recipe.data import known_by
from linftui.recipe.fraction import format_fraction, parse_radius
from linftui.recipe.schema import Recipe
from linftui.rundir.checkpoints import age_of
from linftui.rundir.moments import when_made
from linftui.rundir.paths import CertificatePaths, RunPaths, certificate_name
from linftui.rundir.reader import read_record
from linftui.rundir.records import (
    CertificateSummary,
    ClassCount,
    MetaRecord,
    SampleRecord,
    TrainerRecord,
    decoder,
)
from linftui.rundir.store import read_recipe

MAX_SAMPLES = 1 << 25  # bytes of samples.jsonl: five times what 60,000 images take
MAX_WEIGHTS = 1 << 33  # bytes of model.safetensors: ten times the paper's largest net
PIECE = 1 << 22
UNFINISHED = "it is still being checked"

Identity = tuple[int, int, int, int, int]  # of a file's content, as far as the file system shows


@dataclass(frozen=True)
class Certificate:
    """A certificate as it is on disk; `problem` is why it is unverified, and empty where it is verified."""

    paths: CertificatePaths
    summary: CertificateSummary | None  # None: it cannot be read
    problem: str
    eps_test: Fraction | None = None  # the radius that its run's recipe tests; None: it cannot be read
    age: tuple[int, int] = 0, 0  # attempt and step of its checkpoint

    @property
    def caveats(self) -> tuple[str, ...]:
        """How it differs from one of the run's own network, on the whole test set, at `eps.test`."""
        return tuple(filter(None, self.weighed_caveats))

    @property
    def weighed_caveats(self) -> tuple[str, str, str]:
        """The same, one place for each kind, the weightiest first; empty where it does not apply."""
        if (summary := self.summary) is None:
            return "", "", ""
        partial = elsewhere = ""
        if summary.total < len(_test_images(summary)):
            partial = f"{images_of(summary)} images"
        if self.eps_test not in (None, _exact(summary.eps_exact)):
            own, recipes = summary.eps_exact, format_fraction(self.eps_test)
            elsewhere = f"at eps {own}, not the recipe's {recipes}"
        return partial, elsewhere, "re-estimated means" if summary.means == "re-estimated" else ""

    @property
    def other_name(self) -> str:
        """The run's name when this was made, where the run was copied or renamed since; else empty."""
        own = self.paths.root.parent.parent.name
        return self.summary.run if self.summary is not None and self.summary.run != own else ""


def images_of(summary: CertificateSummary) -> str:
    """How many images a certificate covers, such as "360", or "first 50 of 360" where it is not all."""
    whole = len(_test_images(summary))
    return f"{summary.n:,}" if summary.total >= whole else f"first {summary.n:,} of {whole:,}"


class Certificates:
    """The certificates of one run. Each is checked again only where a file that it rests on has changed."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths, self._root = paths, str(paths.root)
        self._examined: dict[str, tuple[tuple[Identity | None, ...], Certificate]] = {}
        self._weights = _Digests()

    def look(self, seconds: float = math.inf) -> tuple[Certificate, ...]:
        """All of them, the one that counts first.

        Verified ones come first; among these, those of the whole test set; among these, those at the
        recipe's `eps.test`; among these, those of the run's own network, whose means are not re-estimated;
        among these, those of the newest checkpoint; among these, the newest.

        Works for about `seconds`; what is not checked by then is `UNFINISHED`, and the next look continues
        with it.
        """
        budget = _Budget(seconds)
        found = {name: self._check(name, budget) for name in self._names()}
        self._examined = {name: known for name, known in self._examined.items() if name in found}
        return tuple(sorted(found.values(), key=_sort_key))

    def check(self, name: str) -> Certificate:
        """The certificate in the folder of this name."""
        return self._check(name, _Budget(math.inf))

    def _check(self, name: str, budget: "_Budget") -> Certificate:
        signature, known = self._signature(name), self._examined.get(name)
        if known is None or known[0] != signature:
            if budget.is_spent():
                return Certificate(self._paths.certificate(name), None, UNFINISHED)
            known = self._examined[name] = signature, _examine(self._paths, self._paths.certificate(name))
            budget.worked = True
        certificate = known[1]
        problem = certificate.problem or self._doubt_of_weights(certificate, budget)
        return replace(certificate, problem=problem) if problem else certificate

    def _names(self) -> list[str]:
        folder = self._paths.certificates
        try:
            if folder.is_symlink():  # it leads out of the run
                return []
            with os.scandir(folder) as entries:
                return [
                    entry.name
                    for entry in entries
                    if entry.name.startswith("step-")  # the others are drafts
                    and entry.is_dir(follow_symlinks=False)
                    and os.path.lexists(f"{entry.path}/summary.json")
                ]
        except OSError:
            return []

    def _signature(self, name: str) -> tuple[Identity | None, ...]:
        """Which files the certificate of this name rests on now, beside the weights."""
        own, checkpoint = f"certificates/{name}", f"checkpoints/{self._paths.certificate(name).checkpoint}"
        files = (
            f"{own}/summary.json", f"{own}/samples.jsonl", f"{checkpoint}/trainer.json",
            f"{checkpoint}/COMPLETE", "meta.json", "resolved.yaml",
        )  # fmt: skip
        return tuple(_identity(f"{self._root}/{file}") for file in files)

    def _doubt_of_weights(self, certificate: Certificate, budget: "_Budget") -> str:
        summary = certificate.summary
        assert summary is not None
        own = summary.means != "running"
        path = (certificate.paths if own else self._paths.checkpoint(summary.step)).model
        try:
            digest = self._weights.of(path, budget)
        except OSError as error:
            return f"its weights cannot be read: {error.strerror or error}"
        if digest is None:
            return UNFINISHED
        return "" if digest == summary.model_sha256 else "its weights have another SHA-256"


class _Budget:
    """A time limit; some work is done however short it is, so that repeated calls finish it."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self.worked = False

    def is_spent(self) -> bool:
        """Whether the rest must wait."""
        return self.worked and time.monotonic() > self._deadline


class _Digests:
    """SHA-256 of large files, each computed once, in as many calls as it takes."""

    def __init__(self) -> None:
        self._known: dict[Identity | None, str] = {}
        self._begun: tuple[Identity, hashlib._Hash, int] | None = None

    def of(self, path: Path, budget: _Budget) -> str | None:
        """The digest (hex), or None where time runs out first; the next call continues. Raises OSError."""
        if (seen := _identity(path)) in self._known:
            return self._known[seen]
        with open_regular(path) as file:
            identity = _identity_of(os.fstat(file.fileno()))
            if identity[2] > MAX_WEIGHTS:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            if budget.is_spent():  # checked first, so that one file is finished before another is begun
                return None
            if self._begun is None or self._begun[0] != identity:
                self._begun = identity, hashlib.sha256(), 0
            _, digest, offset = self._begun
            file.seek(offset)
            while piece := file.read(min(PIECE, identity[2] - offset)):
                digest.update(piece)
                offset += len(piece)
                budget.worked = True
                if budget.is_spent():
                    self._begun = identity, digest, offset
                    return None
            self._begun = None
            if _identity_of(os.fstat(file.fileno())) != identity:  # the file was written to meanwhile
                return None
            return self._known.setdefault(identity, digest.hexdigest())


def _identity(path: Path | str) -> Identity | None:
    try:
        return _identity_of(os.lstat(path))
    except OSError:
        return None


def _identity_of(status: os.stat_result) -> Identity:
    # The change time as well, since the modification time can be set to anything.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sort_key(certificate: Certificate) -> tuple[bool, list[bool], tuple[int, int], float]:
    """Puts the one that counts first, see `Certificates.look`."""
    summary = certificate.summary
    created = None if summary is None else when_made(summary.created, certificate.paths.summary)
    attempt, step = certificate.age
    caveats = list(map(bool, certificate.weighed_caveats))
    return bool(certificate.problem), caveats, (-attempt, -step), -(created or 0.0)


def _test_images(summary: CertificateSummary) -> Sequence[int]:
    """The numbers of the images in its test set; empty where linftui does not know the set."""
    return known_by(summary.data_sha256)[1]


def _examine(paths: RunPaths, certificate: CertificatePaths) -> Certificate:
    """The certificate with the first problem found, apart from its weights."""
    try:
        summary = read_record(certificate.summary, CertificateSummary)
    except RunDirectoryError as error:
        return Certificate(certificate, None, error.message.removeprefix(f"{certificate.root}/"))
    if summary is None:
        return Certificate(certificate, None, "summary.json is missing")
    try:
        recipe = read_recipe(paths)
    except RunDirectoryError:
        recipe = None
    problem = next(_doubts(paths, recipe, certificate, summary), "")
    eps_test = recipe.eps.test if recipe is not None else None
    return Certificate(certificate, summary, problem, eps_test, age_of(paths.checkpoint(summary.step)))


def _doubts(
    paths: RunPaths, recipe: Recipe | None, certificate: CertificatePaths, summary: CertificateSummary
) -> Iterator[str]:
    if not summary.complete:
        yield f"it was stopped after {summary.n:,} of {summary.total:,} images"
    yield from _doubts_of_figures(summary)
    yield from _doubts_of_claim(paths, recipe, certificate.root.name, summary)
    yield from _doubts_of_samples(certificate, summary)
    if summary.means == "running":  # else it holds its own network
        yield from _doubts_of_checkpoint(paths, summary)


def _doubts_of_figures(summary: CertificateSummary) -> Iterator[str]:
    if summary.p != math.inf:
        yield f"it is about p = {summary.p:g}, and only p = inf is certified"
    if not 0 < summary.n == summary.total:
        yield f"it is about {summary.n:,} of {summary.total:,} images"
    attacked = summary.clean_accuracy if summary.pgd_accuracy is None else summary.pgd_accuracy
    if not summary.certified_accuracy <= attacked <= summary.clean_accuracy:
        yield "more images are certified than are classified right"
    if not all(0 <= value < math.inf for value in (summary.seconds, summary.images_per_s, summary.created)):
        yield "its times are not possible"
    radii, shares = [radius for radius, _ in summary.curve], [-share for _, share in summary.curve]
    headline = (summary.eps, summary.certified_accuracy)
    falls = radii == sorted(radii) and shares == sorted(shares)
    if headline not in summary.curve or not falls or -shares[0] > summary.clean_accuracy:
        yield "its curve does not fit its certified accuracy"


def _doubts_of_claim(
    paths: RunPaths, recipe: Recipe | None, name: str, summary: CertificateSummary
) -> Iterator[str]:
    """Whether it claims what its folder's name says, about this run."""
    eps = _exact(summary.eps_exact)
    if eps is None or float(eps) != summary.eps:
        yield "its eps is not a radius in [0, 1], or not the same as eps_exact"
        return
    dataset, images = known_by(summary.data_sha256)
    if not dataset:
        yield "it is about data that linftui does not know"
    if recipe is None:
        yield "its run's recipe cannot be read"
    elif dataset != recipe.data.dataset:
        yield f"it is about {dataset}, and its run is not"
    first = None if summary.total == len(images) else summary.total
    if name != certificate_name(summary.checkpoint, eps, summary.means, first):
        yield "its folder has the name of another claim"
    if summary.checkpoint != paths.checkpoint(summary.step).root.name:
        yield f"it is about step {summary.step:,}, and not about its checkpoint's"
    # A run that its user copies or renames keeps its meta.json, and everything a claim rests on with it.
    if summary.run not in (paths.id, _first_name(paths)):
        yield f"it is about another run, {summary.run}"


def _exact(text: str) -> Fraction | None:
    try:
        return parse_radius(text)
    except ValueError:
        return None


def _first_name(paths: RunPaths) -> str | None:
    """The name that the run was made under."""
    try:
        meta = read_record(paths.meta, MetaRecord)
    except RunDirectoryError:
        return None
    return meta.id if meta is not None else None


def _doubts_of_samples(certificate: CertificatePaths, summary: CertificateSummary) -> Iterator[str]:
    try:
        with open_regular(certificate.samples) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_SAMPLES:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            lines = file.read(size).split(b"\n")
    except OSError as error:
        yield f"its samples cannot be read: {error.strerror or error}"
        return
    if len(lines) != summary.n + 1 or lines.pop():
        yield f"its samples are not those of {summary.n:,} images"
    decode, samples = decoder(SampleRecord), list[SampleRecord]()
    for number, line in enumerate(lines, start=1):
        try:
            samples.append(decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            yield f"line {number:,} of its samples cannot be read"
    _, images = known_by(summary.data_sha256)
    if [sample.index for sample in samples] != list(images[: summary.n]):
        yield "its samples are not those of the first test images"
    if any(s.certified and not (s.margin >= 0 and s.prediction == s.label) for s in samples):
        yield "a sample is certified that is classified wrong or has no margin"
    if _counted(samples) != _counts(summary):
        yield "its figures are not those of its samples"


def _counts(summary: CertificateSummary) -> tuple[object, ...]:
    accuracies = (summary.clean_accuracy, summary.certified_accuracy, summary.pgd_accuracy)
    return (*accuracies, summary.non_finite, summary.per_class)


def _counted(samples: list[SampleRecord]) -> tuple[object, ...]:
    """What a summary of these samples says, in the order of `_counts`."""
    n, attacks = len(samples), [sample.attacked for sample in samples]
    images = Counter(sample.label for sample in samples)
    clean = Counter(sample.label for sample in samples if sample.prediction == sample.label)
    certified = Counter(sample.label for sample in samples if sample.certified)
    pgd = None if None in attacks else attacks.count(True) / n
    per_class = [
        ClassCount(label=label, n=images[label], clean=clean[label], certified=certified[label])
        for label in sorted(images)
    ]
    non_finite = sum(math.isnan(sample.margin) for sample in samples)
    return clean.total() / n, certified.total() / n, pgd, non_finite, per_class


def _doubts_of_checkpoint(paths: RunPaths, summary: CertificateSummary) -> Iterator[str]:
    checkpoint = paths.checkpoint(summary.step)
    try:
        record = read_record(checkpoint.trainer, TrainerRecord)
    except RunDirectoryError:
        yield "its checkpoint is damaged"
        return
    if record is None or checkpoint.root.is_symlink() or not checkpoint.complete.is_file():
        yield "its checkpoint is gone"
    elif record.step != summary.step:
        yield "its checkpoint is damaged"
    elif record.sha256.get(checkpoint.model.name) != summary.model_sha256:
        yield "it is about other weights than its checkpoint's"
