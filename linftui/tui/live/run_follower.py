"""Following one run: everything in it that grows or changes, read in pieces that never take long."""

import os
import time
from dataclasses import dataclass, field, replace

from linftui.errors import LinftuiError
from linftui.files import open_regular
from linftui.launch.certification import CertificationProgress, certifications
from linftui.recipe.load import MAX_BYTES
from linftui.recipe.schema import Recipe
from linftui.rundir.certificates import UNFINISHED, Certificate, Certificates
from linftui.rundir.follow import CHUNK, LineFollower
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import DeviceRecord, EventRecord, ExitRecord, MetaRecord, Metric, decoder
from linftui.rundir.stopping import StopStages, stop_stages
from linftui.rundir.store import read_meta, read_recipe
from linftui.tui.live.log_tail import LogTail
from linftui.tui.live.run_facts import checkpoint_steps
from linftui.tui.live.run_list import RunRow, cannot_look, read_row

SLOWLY_S = 2.0  # how often the parts that rarely change are read
CHECK_S = 0.1  # how long certificates are checked at a time: large weights take seconds


@dataclass(frozen=True)
class Standing:
    """Everything known of a run except its records, complete in every message."""

    row: RunRow
    meta: MetaRecord | None = None
    recipe: Recipe | None = None
    recipe_text: str = ""
    ended: ExitRecord | None = None
    stop: StopStages | None = None  # None: the current attempt was not asked to stop
    checkpoints: tuple[int, ...] = ()  # steps
    certifications: tuple[CertificationProgress, ...] = ()  # newest first
    certificates: tuple[Certificate, ...] = ()  # the one that counts first
    bad_lines: int = 0
    problem: str = ""
    gone: bool = False  # the directory is no longer there


@dataclass(frozen=True)
class RunNews:
    """The records since the previous news, and the run's standing now."""

    paths: RunPaths
    standing: Standing
    first: bool = False  # read from the beginning: earlier news no longer counts
    metrics: list[Metric] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    devices: list[DeviceRecord] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    log_written: float = 0.0  # when the log was last written to, in seconds since 1970
    behind: bool = False  # more is already there, and follows at once

    def __bool__(self) -> bool:
        return bool(self.metrics or self.events or self.devices or self.log)


class RunFollower:
    """Reads one run from its beginning, then what is appended to it.

    If the run is replaced by another one of the same name, that is read from its beginning too.
    """

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self._begin()

    def _begin(self) -> None:
        paths = self.paths
        self._metrics: LineFollower[Metric] = LineFollower(paths.metrics, decoder(Metric))
        self._events: LineFollower[EventRecord] = LineFollower(paths.events, decoder(EventRecord))
        self._devices: LineFollower[DeviceRecord] = LineFollower(paths.devices, decoder(DeviceRecord))
        self._certificates = Certificates(paths)
        self._log = LogTail(paths)
        self._history: list[EventRecord] = []
        self._standing: Standing | None = None
        self._listed = -SLOWLY_S

    def poll(self) -> RunNews | None:
        """The news, or None if there is none."""
        news = self._poll()
        if self._metrics.restarts or self._events.restarts or self._devices.restarts:
            self._begin()
            news = self._poll()
        return news

    def _poll(self) -> RunNews | None:
        offset, problem = self._metrics.offset, ""
        metrics, events, devices = list[Metric](), list[EventRecord](), list[DeviceRecord]()
        try:
            metrics = self._metrics.poll(CHUNK)
            events = self._events.poll(CHUNK)
            devices = self._devices.poll(CHUNK)
        except LinftuiError as error:
            problem = str(error)
        self._history += events
        behind = self._metrics.offset - offset == CHUNK
        before = self._standing  # None: no news yet
        if before is None or not behind:  # while catching up, the standing is not read for every piece
            self._standing = self._stand(problem, eventful=bool(events))
        assert self._standing is not None
        attempt = self._standing.row.summary.attempt
        log = self._log.poll(attempt) if attempt is not None else []
        news = RunNews(
            self.paths, self._standing, before is None, metrics, events, devices, log,
            self._log.written, behind,
        )  # fmt: skip
        return news if news or before != self._standing else None

    def _stand(self, problem: str, *, eventful: bool) -> Standing:
        """Reads the standing; its parts that rarely change are kept from the last time for SLOWLY_S.

        `eventful`: an event was just written, perhaps about a checkpoint, so those parts are read too.
        """
        row = read_row(self.paths)
        problem = problem or row.summary.problem
        standing = replace(self._standing, row=row) if self._standing else Standing(row)
        if not os.path.isdir(self.paths.root):
            return replace(standing, gone=True, problem=f"{self.paths.root} is no longer there")
        try:
            if eventful or time.monotonic() - self._listed > SLOWLY_S or self._hurries():
                standing = self._look_slowly(standing)
                self._listed = time.monotonic()
            standing = replace(
                standing,
                ended=read_record(self.paths.exit, ExitRecord),
                stop=stop_stages(self.paths, self._history),
            )
        except LinftuiError as error:
            problem = problem or str(error)
        except OSError as error:
            problem = problem or cannot_look(self.paths, error)
        bad_lines = self._metrics.bad_lines + self._events.bad_lines + self._devices.bad_lines
        return replace(standing, bad_lines=bad_lines, problem=problem, gone=False)

    def _hurries(self) -> bool:
        """Whether a certification is running, or a certificate is still being checked."""
        if self._standing is None:
            return False
        certifying = any(known.state == "running" for known in self._standing.certifications)
        return certifying or any(known.problem == UNFINISHED for known in self._standing.certificates)

    def _look_slowly(self, standing: Standing) -> Standing:
        if standing.recipe is None:
            standing = replace(standing, recipe=read_recipe(self.paths), recipe_text=_recipe_text(self.paths))
        return replace(
            standing,
            meta=read_meta(self.paths),
            checkpoints=checkpoint_steps(self.paths),
            certifications=tuple(certifications(self.paths)),
            certificates=self._certificates.look(CHECK_S),
        )


def _recipe_text(paths: RunPaths) -> str:
    try:
        with open_regular(paths.resolved) as file:
            return file.read(MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
