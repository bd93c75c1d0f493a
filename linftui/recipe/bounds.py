"""The bounds of what a recipe may hold, so that nothing that is computed from it overflows or is rounded."""

# So many epochs of up to two million images, one a batch, have no more steps than GREATEST_COUNT.
GREATEST_EPOCHS = 2**32
# A seed is not computed with, and the clock's nanoseconds make a good one: whatever torch takes is allowed.
GREATEST_SEED = 2**63 - 1

# float32 has room above it for what is computed from such weights; and Adam's first step is lr / (1 - beta1).
GREATEST_WEIGHT, GREATEST_STEP = 1e30, 3e38
