"""Background tasks of the dashboard: threads do what takes long, so that keys keep working."""

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from textual.app import App
from textual.message import Message

from linftui.actions.telling import Report
from linftui.errors import LinftuiError
from linftui.memory import shortage

T = TypeVar("T")


class TaskFinished(Message):
    """A task is finished; `finish` shows the result."""

    def __init__(self, finish: Callable[[], None]) -> None:
        super().__init__()
        self.finish = finish


class TaskProgress(Message):
    """A task reports its progress."""

    def __init__(self, task: str, text: str) -> None:
        super().__init__()
        self.task, self.text = task, text

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, TaskProgress) and message.task == self.task


class BackgroundApp(App[None]):
    """An app with background tasks; a subclass shows them."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way: dict[str, str] = {}  # each task's latest progress, the newest task last

    def toast(self, text: str) -> None:
        """Shows a sentence for a few seconds."""
        raise NotImplementedError

    def show_problem(self, error: LinftuiError) -> None:
        """Shows what went wrong."""
        raise NotImplementedError

    def status_changed(self) -> None:
        """Shows the new `status`."""
        raise NotImplementedError

    def task_done(self) -> None:
        """Looks for what a task may have changed."""
        raise NotImplementedError

    @property
    def status(self) -> str:
        """The progress of the latest task that has reported any."""
        return next((text for text in reversed(self._under_way.values()) if text), "")

    def do(
        self,
        task: str,
        work: Callable[[Report], T],
        then: Callable[[T], None],
        failed: Callable[[LinftuiError], None] | None = None,
    ) -> None:
        """Does `work` in a thread; `task` names it in a few words.

        A second task of the same name is refused while the first one runs: a key pressed twice acts once.
        """
        if task in self._under_way:
            self.toast(f"{task} already")
            return

        def settle(finish: Callable[[], None]) -> None:
            self._say(task, None)
            self.task_done()
            finish()

        def report(text: str) -> None:
            self.post_safely(TaskProgress(task, text))

        self._say(task, "")
        self._in_thread(lambda: work(report), then, failed or self.show_problem, settle)

    def find_out(
        self,
        asker: object,
        work: Callable[[], T],
        then: Callable[[T], None],
        failed: Callable[[LinftuiError], None] | None = None,
    ) -> None:
        """Does `work` for a screen, `asker`, in a thread; drops the result if it is closed by then."""

        def answer(finish: Callable[[], None]) -> None:
            if asker in self.screen_stack:
                finish()

        self._in_thread(work, then, failed or self.show_problem, answer)

    def post_safely(self, message: Message) -> None:
        """Posts a message from a thread, which may outlive the app."""
        with contextlib.suppress(RuntimeError):  # the event loop has just closed
            self.post_message(message)

    def _in_thread(
        self,
        work: Callable[[], T],
        then: Callable[[T], None],
        failed: Callable[[LinftuiError], None],
        settle: Callable[[Callable[[], None]], None],
    ) -> None:
        """Does `work` in a daemon thread, which does not keep the dashboard from exiting.

        Afterwards `settle` is called in the app's own thread with what to do next: `then` with the result, or
        `failed` with the error.
        """

        def run() -> None:
            finish: Callable[[], None]
            try:
                finish = partial(then, work())
            except LinftuiError as error:
                finish = partial(failed, error)
            except Exception as error:  # a bug in a task must not end the dashboard
                finish = partial(failed, _unforeseen(error))
            self.post_safely(TaskFinished(partial(settle, finish)))

        threading.Thread(target=run, name="linftui-work", daemon=True).start()

    def _say(self, task: str, text: str | None) -> None:
        """Notes a task's progress; None: it is finished."""
        if text is None:
            del self._under_way[task]
        else:
            self._under_way[task] = text
        self.status_changed()

    def on_task_progress(self, message: TaskProgress) -> None:
        """Shows a task's progress."""
        self._say(message.task, message.text)

    def on_task_finished(self, message: TaskFinished) -> None:
        """Shows a task's result, in the app's own thread, unless the app is exiting."""
        if self.is_running:
            message.finish()


def _unforeseen(error: Exception) -> LinftuiError:
    """An unexpected error, as a sentence."""
    return shortage(error) or LinftuiError(
        f"an unexpected error, {type(error).__name__}: {error}",
        "this is a bug in linftui, please report it; runs are not affected",
    )
