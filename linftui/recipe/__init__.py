"""Recipes: one YAML file that fully describes a run.

`schema` defines what a recipe may hold, `load` reads and checks one, `schedule` turns it into numbers.
Nothing here imports torch: the command line checks a recipe before anything heavy is loaded.
"""
