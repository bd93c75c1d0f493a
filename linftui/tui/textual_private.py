"""The only place in linftui that uses private parts of Textual."""

from textual.app import App
from textual.notifications import Notification


def make_room_for(app: App[None], coming: Notification, most: int) -> None:
    """Removes toasts with the message of `coming`, and the oldest, so that at most `most` are shown.

    This has to happen after the toast is posted and before it is shown, so that nothing is painted twice. The
    public API can clear all toasts, but cannot put any back.
    """
    others = [shown for shown in app._notifications if shown.message != coming.message]
    app._notifications.clear()
    for shown in others[1 - most :]:
        app._notifications.add(shown)
