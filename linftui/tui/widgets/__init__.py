"""Widgets of the dashboard. They draw what they are given and do no I/O."""
