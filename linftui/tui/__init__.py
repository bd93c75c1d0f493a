"""The dashboard: screens over run directories, and the keys that launch, stop, resume and certify.

One thread reads (`live`); the app hands what it posts to the screens, whose widgets draw what they were given
and read no files; curves are drawn by `chart`. What a key does to a run is one of `linftui.actions`, called
in a thread of its own. Nothing here imports torch, and `live` not even Textual.
"""

import os

# Textual reads these when it is imported. Nothing here moves by itself, and a terminal behind SSH should not
# be sent more frames than eyes and keys need.
os.environ.setdefault("TEXTUAL_FPS", "20")
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
