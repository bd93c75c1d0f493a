"""The dashboard: screens over run directories, and the keys that launch, stop, resume and certify.

One thread reads (`live`). The app passes what it posts to the screens, whose widgets only draw and read no
files; `chart` draws the curves. A key that changes a run calls one of `linftui.actions` in a thread of its
own. Nothing here imports torch, and `live` does not import Textual either.
"""

import os

# Textual reads these when it is imported. Nothing here is animated, and 20 frames a second are enough for a
# person to read and type, and few enough for a terminal behind SSH.
os.environ.setdefault("TEXTUAL_FPS", "20")
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
