"""The chart: curves of any length, drawn in characters.

Everything from samples to cells is plain numpy; only the widget, in `chart`, uses Textual.
"""
