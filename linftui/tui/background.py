"""What the dashboard does in the background: threads that do tasks and answer questions, while keys go on."""

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
    """Something done in the background is finished; `finish` shows the result."""

    def __init__(self, finish: Callable[[], None]) -> None:
        super().__init__()
        self.finish = finish


class TaskProgress(Message):
    """A task says how far it is."""

    def __init__(self, task: str, text: str) -> None:
        super().__init__()
        self.task, self.text = task, text

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, TaskProgress) and message.task == self.task


class BackgroundApp(App[None]):
    """An app with tasks under way; a subclass says how they are shown."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way: dict[str, str] = {}  # tasks, the latest last, and how far each says it is

    def toast(self, text: str) -> None:
        """Shows a sentence for some seconds."""
        raise NotImplementedError

    def show_problem(self, error: LinftuiError) -> None:
        """Shows what went wrong."""
        raise NotImplementedError

    def status_changed(self) -> None:
        """Shows what `status` is now."""
        raise NotImplementedError

    def task_done(self) -> None:
        """Looks at what a task may have changed."""
        raise NotImplementedError

    @property
    def status(self) -> str:
        """How far the latest task is that says so."""
        return next((text for text in reversed(self._under_way.values()) if text), "")

    def do(
        self,
        task: str,
        work: Callable[[Report], T],
        then: Callable[[T], None],
        failed: Callable[[LinftuiError], None] | None = None,
    ) -> None:
        """Does to a run what a person asked for; `task` says what in a few words.

        The same task is refused while it is under way: a key that is pressed twice does it once.
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
        """Answers a screen's question; nobody needs the answer any more once that screen is gone."""

        def answer(finish: Callable[[], None]) -> None:
            if asker in self.screen_stack:
                finish()

        self._in_thread(work, then, failed or self.show_problem, answer)

    def post_safely(self, message: Message) -> None:
        """Posts a message from a thread, which may outlive the app."""
        with contextlib.suppress(RuntimeError):  # the event loop has just been closed
            self.post_message(message)

    def _in_thread(
        self,
        work: Callable[[], T],
        then: Callable[[T], None],
        failed: Callable[[LinftuiError], None],
        settle: Callable[[Callable[[], None]], None],
    ) -> None:
        """Does `work` in a thread, which does not keep the dashboard from being left.

        Here again `settle` is called with what is to follow: `then` with the result, `failed` with an error.
        """

        def run() -> None:
            finish: Callable[[], None]
            try:
                finish = partial(then, work())
            except LinftuiError as error:
                finish = partial(failed, error)
            except Exception as error:  # runs go on whatever happens here, and so may whoever watches them
                finish = partial(failed, _unforeseen(error))
            self.post_safely(TaskFinished(partial(settle, finish)))

        threading.Thread(target=run, name="linftui-work", daemon=True).start()

    def _say(self, task: str, text: str | None) -> None:
        """Notes how far something is; None: it is finished."""
        if text is None:
            del self._under_way[task]
        else:
            self._under_way[task] = text
        self.status_changed()

    def on_task_progress(self, message: TaskProgress) -> None:
        """Shows how far a task is."""
        self._say(message.task, message.text)

    def on_task_finished(self, message: TaskFinished) -> None:
        """Goes on with what follows, in the app's own thread, unless its screens are being taken apart."""
        if self.is_running:
            message.finish()


def _unforeseen(error: Exception) -> LinftuiError:
    """An error nobody foresaw, as a sentence."""
    return shortage(error) or LinftuiError(
        f"an unforeseen error, {type(error).__name__}: {error}",
        "this is a defect of linftui, which its makers would like to hear of; runs go on all the same",
    )
