"""Measurements of linftui's own speed, each a function that returns seconds."""
