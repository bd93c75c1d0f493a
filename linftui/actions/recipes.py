"""The recipes that are known by name."""

from dataclasses import dataclass
from pathlib import Path

from linftui.errors import LinftuiError
from linftui.recipe.load import load_recipe, recipe_folders


@dataclass(frozen=True)
class KnownRecipe:
    """A recipe in the list to choose from; one with a `problem` cannot be used."""

    name: str
    path: Path
    description: str
    problem: str = ""


def known_recipes() -> list[KnownRecipe]:
    """The recipes of this folder, then those installed with linftui; of two with one name, the first."""
    found: dict[str, KnownRecipe] = {}
    for folder in recipe_folders():
        for path in sorted(folder.glob("*.yaml")):
            if path.stem in found:
                continue
            try:
                description, problem = load_recipe(path).recipe.description, ""
            except LinftuiError as error:
                description, problem = "", str(error)
            found[path.stem] = KnownRecipe(path.stem, path, description, problem)
    return list(found.values())
