"""Measurements of linftui's own speed."""
