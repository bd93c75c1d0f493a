"""A certificate in the making: a draft beside the others, published once it is complete."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from fractions import Fraction

from linftui.certify.subject import Subject
from linftui.rundir.folders import finish_replacements, replace_folder
from linftui.rundir.paths import CertificatePaths
from linftui.rundir.writer import cannot_write

ABANDONED_S = 86400.0  # a draft that was not written to for this long is abandoned


class StoppedEarly(Exception):
    """Certification was asked to stop, and did."""


@contextlib.contextmanager
def drafted(subject: Subject, eps: Fraction) -> Iterator[CertificatePaths]:
    """A folder to make a certificate in; it takes the certificate's name when the context ends without error.

    Otherwise it is removed. An earlier certificate of the same claim stays until then.

    Raises:
        RunDirectoryError: the run was moved or removed, or cannot be written.
    """
    subject.folder.check()
    draft, final = subject.draft(eps), subject.certificate(eps)
    try:
        final.root.parent.mkdir(exist_ok=True)
        draft.root.mkdir()
        _tidy_up(final)
        yield draft
        subject.folder.check()
        replace_folder(draft.root, final.root)
    except OSError as error:
        raise cannot_write(final.root, error) from error
    finally:
        shutil.rmtree(draft.root, ignore_errors=True)


def _tidy_up(final: CertificatePaths) -> None:
    """Removes this certificate's abandoned drafts, and finishes replacements that killed processes began."""
    finish_replacements(final.root.parent)
    for left in final.root.parent.glob(f".{final.root.name}.*.draft"):
        with contextlib.suppress(OSError):  # its owner may be alive, and finishing it now
            if time.time() - left.lstat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
