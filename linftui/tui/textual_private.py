"""What the dashboard needs of Textual that is not public: nothing else in linftui reaches into it."""

from textual.app import App
from textual.notifications import Notification


def make_room_for(app: App[None], coming: Notification, most: int) -> None:
    """Takes away what says the same as a sentence that is about to be shown, and the oldest beyond `most`.

    It has to happen once the sentence is posted and before it is shown, so that nothing is painted twice. In
    public all of them can be cleared, but none can be put back.
    """
    others = [shown for shown in app._notifications if shown.message != coming.message]
    app._notifications.clear()
    for shown in others[1 - most :]:
        app._notifications.add(shown)
