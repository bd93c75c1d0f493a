"""Training: the objective, the loop, the evaluation beside it, and checkpoints it can go on from."""
