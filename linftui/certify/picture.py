"""The curve of a certificate as a picture.

It is drawn in a separate process (`python -m linftui.certify.picture FOLDER`, the summary on stdin): when it
is imported, matplotlib follows the user's settings and files in the current folder, and none of these may
cost a certificate.
"""

import os
import subprocess
import sys
from pathlib import Path

from linftui.rundir.certificates import images_of
from linftui.rundir.paths import CertificatePaths
from linftui.rundir.records import CertificateSummary, decoder, encode

DRAWING_S = 120.0  # the first time, matplotlib reads every font of the machine


def draw_curve(summary: CertificateSummary, certificate: CertificatePaths) -> str:
    """Draws certified accuracy against eps as curve.png and curve.svg in the certificate's folder.

    Returns:
        Why there is no picture, in a sentence; empty where there is one.
    """
    try:
        drawing = subprocess.run(
            [sys.executable, "-P", "-m", "linftui.certify.picture", str(certificate.root.absolute())],
            input=encode(summary), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=DRAWING_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    else:
        if drawing.returncode == 0:
            return ""
        said = drawing.stderr.decode(errors="replace").splitlines()
        why = said[-1] if said else f"its process ended with exit code {drawing.returncode}"
    for path in (certificate.curve_png, certificate.curve_svg):
        path.unlink(missing_ok=True)
    return f"the curve at eps {summary.eps_exact} could not be drawn: {why}"


def _draw(summary: CertificateSummary, certificate: CertificatePaths) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0))
    axes = figure.add_axes((0.1, 0.13, 0.87, 0.78))
    radii, certified = zip(*summary.curve, strict=True)
    axes.step(radii, certified, where="pre", color="#0072b2", label="certified accuracy (p = inf)")
    axes.axhline(summary.clean_accuracy, color="#999999", linestyle=":", label="clean accuracy")
    axes.plot([summary.eps], [summary.certified_accuracy], "o", color="#d55e00")
    axes.annotate(
        f"{summary.certified_accuracy:.2%} at eps {summary.eps_exact}",
        (summary.eps, summary.certified_accuracy),
        xytext=(8, 8),
        textcoords="offset points",
    )
    axes.set(xlabel="eps (pixel units)", ylabel="accuracy", xlim=(0, radii[-1] or 1), ylim=(0, 1.02))
    title = f"{summary.run} · {summary.checkpoint} · {images_of(summary)} test images"
    axes.set_title(title, fontsize=10, parse_math=False)  # a folder's name may hold dollar signs
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left")
    for path in (certificate.curve_png, certificate.curve_svg):
        figure.savefig(path, format=path.suffix[1:], dpi=150)


def main() -> None:
    """Draws the curve of the summary on stdin, under the library's own settings."""
    summary: CertificateSummary = decoder(CertificateSummary)(sys.stdin.buffer.read())
    certificate = CertificatePaths(Path(sys.argv[1]))
    os.chdir(certificate.root)  # a matplotlibrc in the current folder would take precedence over all others
    os.environ["MATPLOTLIBRC"] = os.devnull  # and this one takes precedence over the user's
    os.environ.pop("MPLBACKEND", None)
    _draw(summary, certificate)


if __name__ == "__main__":
    main()
