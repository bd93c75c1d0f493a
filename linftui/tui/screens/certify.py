"""The form that certifies a run, and the list of its certificates so far."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from linftui.actions import certify
from linftui.devices import snapshot
from linftui.errors import UsageError
from linftui.recipe.fraction import format_fraction
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import CertifyRequest
from linftui.text import clean
from linftui.tui import commands
from linftui.tui.bindings import commands_of, textual_bindings
from linftui.tui.host import Host
from linftui.tui.live.following import Following
from linftui.tui.live.run_follower import RunNews, Standing
from linftui.tui.screens.form import FormScreen, form_words
from linftui.tui.screens.modal import keys_line
from linftui.tui.widgets.field import Field, fill
from linftui.tui.widgets.lines import LinesWidget, wrapped
from linftui.tui.widgets.run_head import certificate_line, certification_line

SHOWN = 8  # past certificates


class CertificateList(LinesWidget):
    """The running certifications, the last failure, and the certificates, verified ones first."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._standing: Standing | None = None

    def show(self, standing: Standing) -> None:
        """Takes the run's standing."""
        self._standing = standing
        self.redraw()

    def make_lines(self, width: int, height: int) -> list[Content]:
        """One line each."""
        if (standing := self._standing) is None:
            return [Content.empty()]
        lines = [certification_line(each) for each in standing.certifications if each.state == "running"]
        begun = [each for each in standing.certifications if not each.refused]
        if begun and begun[0].state == "failed":
            lines += wrapped(clean(form_words(begun[0].error)), width, "$error")
        lines += map(certificate_line, standing.certificates[:SHOWN])
        if (more := len(standing.certificates) - SHOWN) > 0:
            lines.append(Content.styled(f"and {more} more, which linftui show lists", "$faint"))
        return lines or [Content.styled("nothing has been certified yet", "$faint")]


class CertifyScreen(FormScreen, ModalScreen[None]):
    """A form on top of the run's screen, with the running certifications and the certificates below it."""

    PLACE = "certify"
    BINDINGS = textual_bindings("certify")

    def __init__(self, host: Host, paths: RunPaths, standing: Standing | None = None) -> None:
        super().__init__(host)
        self._paths, self._standing = paths, standing
        self._prefilled = False

    def compose(self) -> ComposeResult:
        """A box with the form."""
        with VerticalScroll(classes="box wide", can_focus=False):
            yield Static(Content.styled(f"Certify {clean(self._paths.id)}", "bold $bright"))
            yield Static(
                Content.styled("at p = ∞ on the test set: a theorem, image by image", "$muted"), id="claim"
            )
            yield Field("eps", "", 'exact radii in pixel units, such as 8/255 or "0.1, 0.2"', id="eps")
            yield Field("checkpoint", "latest", "latest, best or a step", id="checkpoint")
            yield Field("means", "running", "running, or re-estimated: a different network", id="means")
            yield Field("devices", "auto", "auto, cpu or a GPU's number", id="devices")
            yield Static(id="feedback")
            yield CertificateList(id="certificates")
            yield Static(id="certify-keys")

    def on_mount(self) -> None:
        """Fills in the recipe's radius."""
        self.query_one("#eps").focus()
        self._show_keys()
        if self._standing is not None:
            self._show(self._standing)

    def run_grew(self, following: Following, news: RunNews) -> None:
        """Shows the progress of certifications."""
        if news.paths == self._paths:
            self._show(news.standing)

    def _show(self, standing: Standing) -> None:
        if standing.recipe is not None and not self._prefilled:
            self._prefilled = True
            fill(self.query_one("#eps", Input), format_fraction(standing.recipe.eps.test))
        self._standing = standing
        self.query_one(CertificateList).show(standing)
        self._show_keys()

    @property
    def _going_on(self) -> bool:
        known = self._standing.certifications if self._standing else ()
        return any(certification.state == "running" for certification in known)

    def _show_keys(self) -> None:
        known = commands_of("certify")
        shown = [command for command in known if command.name != "stop" or self._going_on]
        self.query_one("#certify-keys", Static).update(keys_line(*shown))

    def _request(self) -> tuple[CertifyRequest, str] | None:
        """The request and the devices; None if a radius is refused."""
        eps, checkpoint, means, devices = (
            self.query_one(f"#{field}", Input).value.strip()
            for field in ("eps", "checkpoint", "means", "devices")
        )
        try:
            return certify.certify_request(self._paths, [eps], checkpoint, means), devices or "auto"
        except UsageError as error:
            self.refuse(error)
            return None

    def check(self) -> None:
        """Checks radii, checkpoint, means and devices."""
        if self._prefilled and (asked := self._request()) is not None:
            request, devices = asked
            machine = self.host.machine
            self.find_out(
                lambda: certify.check(self._paths, request, machine or snapshot(), devices),
                lambda _: Content.empty(),
            )

    def submit(self) -> None:
        """Certifies as the fields say."""
        if (asked := self._request()) is not None:
            commands.certify(self.host, self._paths, *asked, self)

    def stop(self) -> None:
        """Asks whether to stop the certification of this run."""
        if self._going_on:
            commands.ask_stop_certifying(self.host, self._paths)
        else:
            self.notify("nothing is being certified", severity="warning", markup=False)
