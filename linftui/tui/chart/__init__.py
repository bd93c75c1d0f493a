"""The chart: curves of any length, drawn in characters.

From samples to cells it is plain numpy; only the widget, in `chart`, knows of Textual.
"""
