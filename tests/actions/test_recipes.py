"""Which recipes are known by name."""

from pathlib import Path

import pytest

from linftui.actions.recipes import known_recipes


def test_recipes_of_the_folder_hide_those_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def names() -> list[str]:
        return [recipe.name for recipe in known_recipes()]

    along = names()
    (tmp_path / "recipes").mkdir()
    for name in ("digits", "zebra"):
        (tmp_path / "recipes" / f"{name}.yaml").write_text(tiny_recipe.read_text())
    assert names() == ["digits", "zebra", *(name for name in along if name != "digits")]
    assert "digits" in along and "mnist-small" in along
