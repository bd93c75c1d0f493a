"""Bounds of the values in a recipe, so that nothing computed from them overflows or is rounded."""

# This many epochs of up to two million images, one per batch, have no more steps than GREATEST_COUNT.
GREATEST_EPOCHS = 2**32
# Nothing is computed with a seed, and the clock's nanoseconds make a good one: whatever torch takes is
# allowed.
GREATEST_SEED = 2**63 - 1

# They leave float32 room for what is computed from the weights; Adam's first step is lr / (1 - beta1).
GREATEST_WEIGHT, GREATEST_STEP = 1e30, 3e38
