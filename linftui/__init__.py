"""linftui: train, watch, manage and certify l-infinity-distance nets.

Importing this package imports nothing heavy; the library's tensor API is in
`linftui.ops` and `linftui.nn`.
"""

__version__ = "0.1.0"
