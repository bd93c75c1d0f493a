"""A recipe to change and to spoil, for tests."""

import pytest

from linftui.errors import RecipeError
from linftui.recipe.load import parse_recipe
from linftui.recipe.schema import Recipe

TEXT = """\
# a comment
name: example
epochs: 10
batch_size: 32
data:
  dataset: digits
model: {width: 8, depth: 2}
eps: {train: 24/255, test: 8/255}
p: {begin_epoch: 1, end_epoch: 9}
objective: {lam: {start: 0.1, end: 0.001}}
optimizer:
   lr: 0.03
   adam_eps: 1e-10
"""


def parse(text: str, *overrides: str) -> Recipe:
    return parse_recipe(text, "x.yaml", overrides).recipe


def error_of(text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as refused:
        parse(text, *overrides)
    assert refused.value.exit_code == 2
    return str(refused.value)
