"""Training: the objective, the loop, the evaluations, and checkpoints to resume from."""
