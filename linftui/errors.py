"""Every error a user can meet, in one tree, so that each is rendered in one place.

The message says what is wrong and where; the hint says how to fix it. The command line prints both on
one line to stderr and exits with `exit_code`: 2 if the request is wrong (usage), 1 if carrying it out
failed. A worker process writes the same three facts to its run directory (`rundir.records.ErrorRecord`).
"""


class LinftuiError(Exception):
    """Base of all errors with a sentence for the user."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(LinftuiError):
    """The request cannot be met: an option, a name or a combination is wrong."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe (or an override of one) is missing, malformed or contradicts itself."""


class RunNotFoundError(UsageError):
    """No run of that name, or the path is not a run directory."""


class DeviceError(UsageError):
    """The devices asked for are not there."""


class RunStateError(UsageError):
    """The run's state does not allow the request, such as resuming a running one."""


class RunDirectoryError(LinftuiError):
    """A run directory cannot be written, or holds something that cannot be read."""


class StaleAttemptError(RunDirectoryError):
    """A newer attempt owns the run directory; this writer must stop."""


class DataError(LinftuiError):
    """A data set is missing, damaged or cannot be downloaded."""


class CheckpointError(LinftuiError):
    """A checkpoint is missing, incomplete or damaged."""


class NoSuchCheckpointError(UsageError, CheckpointError):
    """The run has no checkpoint of the requested name."""


class TrainingError(LinftuiError):
    """Training cannot go on, for example because the loss is no longer finite."""


class CertificationError(LinftuiError):
    """A condition that the certificate's proof rests on does not hold here."""


class RankLostError(LinftuiError):
    """Another rank is gone, or does not respond; its own failure is reported elsewhere."""


class WorkerError(LinftuiError):
    """A worker process cannot be started, or ended without explaining its failure."""
