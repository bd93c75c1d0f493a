"""The two programs behind `python -m linftui.worker train|certify RUN ...`, which `linftui.launch` starts."""
