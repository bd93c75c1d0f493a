"""The reading half of the dashboard: it reads runs and samples the machine while the dashboard is open.

One thread (`poller`) reads, and posts plain frozen values (`messages`). Nothing here needs a terminal, so any
other viewer of runs can use it.
"""
