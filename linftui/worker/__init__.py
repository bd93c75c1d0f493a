"""The two programs of `python -m linftui.worker train|certify RUN ...`, which `linftui.launch` starts."""
