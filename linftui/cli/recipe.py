"""`linftui recipe ...`: check, show and list recipes, and their JSON Schema for editors."""

import typer

from linftui.cli.options import AsJson, Overrides, RecipeName, RecipeNames
from linftui.cli.render import aligned, print_json, warn
from linftui.text import clean

app = typer.Typer(help="Check, show and list recipes.", rich_markup_mode=None)


@app.command()
def check(
    recipes: RecipeNames,
    set_: Overrides = [],  # noqa: B006 - typer copies it
) -> None:
    """Check recipes without running them."""
    from linftui.recipe.load import load_recipe

    for name in recipes:
        loaded = load_recipe(name, set_)
        for caution in loaded.recipe.cautions():
            warn(f"{loaded.source}: {caution}")
        print(clean(f"{loaded.source}: ok"))


@app.command()
def show(recipe: RecipeName, set_: Overrides = [], as_json: AsJson = False) -> None:  # noqa: B006
    """Show a recipe with every value written out."""
    from linftui.recipe.load import dump_recipe, load_recipe, to_builtins

    loaded = load_recipe(recipe, set_)
    if as_json:
        print_json(to_builtins(loaded.recipe))
    else:
        print(dump_recipe(loaded.recipe), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe."""
    import json

    from linftui.recipe.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the recipes that are known by name."""
    from linftui.actions.recipes import known_recipes

    rows = [["RECIPE", "DESCRIPTION", "FILE"]]
    for known in sorted(known_recipes(), key=lambda known: known.name):
        description = f"cannot be used: {known.problem}" if known.problem else known.description
        if as_json:
            print_json({"name": known.name, "description": description, "path": str(known.path)})
        rows.append([clean(known.name), clean(description), clean(str(known.path))])
    if not as_json:
        print(aligned(rows))
