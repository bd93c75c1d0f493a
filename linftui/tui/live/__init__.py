"""The reading half of the dashboard: what becomes known of runs and of the machine while it is watched.

One thread (`poller`) reads, and posts plain frozen values (`messages`). Nothing here knows of a terminal, so
that it serves whatever shows runs.
"""
