"""Reading recipes: what the YAML means, where an error points, overrides, hostile files, and back to text."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import yaml
from example import TEXT, error_of, parse
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from linftui.errors import RecipeError
from linftui.recipe.data import Augment, Cifar10, Digits, Mnist
from linftui.recipe.fraction import read_fraction
from linftui.recipe.load import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    dump_recipe,
    find_recipe,
    load_recipe,
    parse_recipe,
    resolved,
    to_builtins,
)
from linftui.recipe.model import MLP
from linftui.recipe.objective import Lam, Mixture
from linftui.recipe.schema import Checkpoint, Eps, Evaluation, Log, Optimizer, P, Recipe

RECIPES = Path(__file__).parents[2] / "recipes"


class TestPlaces:
    def test_a_wrong_value_is_told_with_file_line_and_column(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("recipes").mkdir()
        Path("recipes/x.yaml").write_text(TEXT.replace("lr: 0.03", "lr: -1"))
        with pytest.raises(RecipeError) as refused:
            load_recipe("recipes/x.yaml")
        assert str(refused.value) == "recipes/x.yaml:12:8: optimizer.lr must be > 0, got -1"

    @pytest.mark.parametrize(
        ("before", "after", "message"),
        [
            ("width: 8", "width: 8.5", "x.yaml:7:16: model.width must be a whole number, got 8.5"),
            ("digits", "[a]", "x.yaml:6:12: data.dataset must be text, got a list"),
            ("start: 0.1", "start: 0", "x.yaml:10:26: objective.lam.start must be > 0, got 0"),
            ("end_epoch: 9", "end_epoch: 1", "x.yaml:9:32: p.end_epoch must be > p.begin_epoch (1), got 1"),
            ("{width: 8, depth: 2}", "", "x.yaml:7:7: model must be a section of keys, got nothing"),
            (", depth: 2", "", "x.yaml:7:8: model.depth is missing"),
            ("lam: {start: 0.1, end: 0.001}", "", "x.yaml:10:12: objective.lam is missing"),
            ("epochs: 10\n", "", "x.yaml:2:1: epochs is missing"),
        ],
    )
    def test_an_error_points_at_the_value_or_at_the_section_that_lacks_it(
        self, before: str, after: str, message: str
    ) -> None:
        assert TEXT.count(before) == 1
        assert error_of(TEXT.replace(before, after)) == message

    def test_an_error_in_an_aliased_value_points_at_its_anchor_or_at_the_alias(self) -> None:
        text = TEXT.replace("epochs: 10", "epochs: &n 10").replace("width: 8", "width: *n")
        assert parse(text).model.width == 10
        assert error_of(text.replace("&n 10", "&n 0.5")).startswith("x.yaml:3:9: epochs must be ")
        text = TEXT.replace("example", "&words example").replace("lr: 0.03", "lr: *words")
        assert error_of(text) == "x.yaml:12:4: optimizer.lr must be a number, got 'example'"


class TestKeys:
    @pytest.mark.parametrize(
        ("known", "wrong", "place", "near"),
        [
            ("lr:", "lrr:", "12:4: unknown key optimizer.lrr", "optimizer.lr"),
            ("adam_eps:", "adam-eps:", "13:4: unknown key optimizer.adam-eps", "optimizer.adam_eps"),
            ("optimizer:", "optimiser:", "11:1: unknown key optimiser", "optimizer"),
            ("width:", "witdh:", "7:9: unknown key model.witdh", "model.width"),
            ("start:", "strat:", "10:19: unknown key objective.lam.strat", "objective.lam.start"),
        ],
    )
    def test_a_misspelt_key_is_told_with_the_nearest_known_one(
        self, known: str, wrong: str, place: str, near: str
    ) -> None:
        assert TEXT.count(known) == 1
        assert error_of(TEXT.replace(known, wrong)) == f"x.yaml:{place}; did you mean {near}?"

    def test_a_key_like_no_other_is_told_with_those_that_are_known(self) -> None:
        message = error_of(TEXT.replace("width: 8", "width: 8, zzz: 1"))
        assert message == "x.yaml:7:19: unknown key model.zzz; known here: kind, width, depth, identity"

    @pytest.mark.parametrize(
        ("wrong", "near"), [("mnsit", "mnist"), ("cifar-10", "cifar10"), ("digit", "digits")]
    )
    def test_a_misspelt_data_set_is_told_with_the_nearest_known_one(self, wrong: str, near: str) -> None:
        rule = "data.dataset must be one of digits, mnist, cifar10"
        message = error_of(TEXT.replace("digits", wrong))
        assert message == f"x.yaml:6:12: {rule}, got '{wrong}'; did you mean {near}?"

    def test_a_key_given_twice_is_refused_in_any_section(self) -> None:
        assert error_of(TEXT + "epochs: 20\n") == "x.yaml:14:1: epochs is given twice"
        assert error_of(TEXT + "   lr: 0.1\n") == "x.yaml:14:4: optimizer.lr is given twice"
        assert (
            error_of(TEXT.replace("width: 8", "width: 8, width: 8"))
            == "x.yaml:7:19: model.width is given twice"
        )

    def test_merging_sections_is_not_offered(self) -> None:
        text = TEXT.replace("model: {", "model: {<<: {width: 3}, ")
        assert error_of(text).startswith("x.yaml:7:9: unknown key model.<<")

    def test_a_key_must_be_text(self) -> None:
        assert error_of(TEXT + "? [a, b]\n: 1\n") == "x.yaml:14:3: a key must be plain text"
        assert error_of(TEXT + "1: 2\n").startswith("x.yaml:14:1: unknown key 1; known here: name, ")


class TestScalars:
    def test_numbers_without_a_point_are_numbers(self) -> None:
        recipe = parse(TEXT, "optimizer.lr=3E-2", "optimizer.scalar_lr=.5", "model.identity=1.", "epochs=+10")
        assert recipe.optimizer.adam_eps == 1e-10
        assert recipe.optimizer.lr == 0.03
        assert (recipe.optimizer.scalar_lr, recipe.model.identity, recipe.epochs) == (0.5, 1.0, 10)

    @pytest.mark.parametrize(
        "word", ["no", "yes", "on", "off", "y", "N", "2001-01-01", "12:30", "0x10", "1_000"]
    )
    def test_words_that_yaml_1_1_made_something_of_are_text(self, word: str) -> None:
        assert parse(TEXT, f"description={word}").description == word

    @pytest.mark.parametrize("word", ["1e400", "-1e400", ".inf", ".nan", "inf", "nan", "٣"])
    def test_what_is_not_a_finite_number_is_text(self, word: str) -> None:
        assert parse(TEXT, f"description={word}").description == word
        assert error_of(TEXT, f"optimizer.lr={word}").endswith(f"must be a number, got {word!r}")

    def test_true_false_and_null_are_what_they_say(self) -> None:
        assert parse(TEXT, "data.augment.flip=true").data.augment.flip
        assert not parse(TEXT, "data.augment.flip=False").data.augment.flip
        for nothing in ("null", "~", ""):
            assert parse(TEXT, f"data.root={nothing}").data.root is None

    @pytest.mark.parametrize("quoted", ["'10'", '"10"', "|\n  10\n"])
    def test_quoted_text_stays_text(self, quoted: str) -> None:
        assert "epochs must be a whole number, got '10" in error_of(
            TEXT.replace("epochs: 10", f"epochs: {quoted}")
        )

    def test_fractions_are_exact(self) -> None:
        assert parse(TEXT).eps == Eps(train=Fraction(24, 255), test=Fraction(8, 255))
        assert parse(TEXT, "eps.test=0.1").eps.test == Fraction(1, 10)


class TestStrangersFiles:
    def test_a_billion_laughs_are_bounded(self) -> None:
        laughs = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
        laughs += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
        assert "too large or too deep for a recipe (aliases count in full)" in error_of("\n".join(laughs))

    def test_many_values_are_bounded(self) -> None:
        many = f"x: [{'1,' * (MAX_NODES + 1)}]"
        assert len(many) < MAX_BYTES
        assert "too large or too deep" in error_of(TEXT + many)

    def test_a_value_that_holds_itself_is_refused(self) -> None:
        assert "too large or too deep" in error_of(TEXT + "x: &x {y: *x}\n")

    @pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("- ", "")])
    def test_deep_nesting_is_refused(self, opening: str, closing: str) -> None:
        assert "nested too deeply" in error_of(TEXT + "x:\n  " + opening * 20_000)
        deep = opening * (MAX_DEPTH + 1) + "1" + closing * (MAX_DEPTH + 1)
        assert "too deep for a recipe" in error_of(TEXT + "x:\n  " + deep)

    @pytest.mark.parametrize(
        "tagged",
        [
            "!!python/object/apply:os.system [id]",
            "!!python/name:os.system",
            "!local x",
            "!!binary aGk=",
            "!!set {a}",
            "!!omap [a: 1]",
            "!!str 12",
            "!!int '3'",
        ],
    )
    def test_tags_are_refused(self, tagged: str) -> None:
        message = error_of(TEXT.replace("name: example", f"name: {tagged}"))
        assert message.startswith("x.yaml:2:7: ") and "tags such as " in message

    def test_nul_bytes_are_refused(self) -> None:
        assert error_of(TEXT + "\0") == (
            "x.yaml: not valid YAML: unacceptable character #x0000: special characters are not allowed"
        )

    def test_half_a_surrogate_pair_is_refused(self) -> None:
        message = error_of(TEXT.replace("name: example", 'name: "\\ud800"'))
        assert message == "x.yaml:2:7: half a surrogate pair is not text"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", ":1:1: a recipe is a mapping of sections, got nothing"),
            ("- a\n", ":1:1: a recipe is a mapping of sections, got a list"),
            ("hello\n", ":1:1: a recipe is a mapping of sections, got 'hello'"),
            ("a: 1\n---\nb: 1\n", ":2:1: not valid YAML: expected a single document in the stream but found"),
            ("a: *nobody\n", ":1:4: not valid YAML: found undefined alias 'nobody'"),
            ("a: }\n", ":1:4: not valid YAML: while parsing a block node expected the node content, but"),
        ],
    )
    def test_what_is_no_recipe_at_all_is_told_in_a_sentence(self, text: str, message: str) -> None:
        assert error_of(text).startswith(f"x.yaml{message}")

    def test_a_long_value_is_shown_in_part(self) -> None:
        message = error_of(TEXT.replace("name: example", f"name: {'a' * 10_000}"))
        assert message.endswith("aaa...") and len(message) < 250

    def test_text_that_is_not_utf_8_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "latin.yaml"
        path.write_bytes(b"name: caf\xe9\n")
        with pytest.raises(RecipeError, match=r"latin\.yaml: byte 9 is not UTF-8 text; a recipe is YAML$"):
            load_recipe(path)

    def test_an_oversized_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "big.yaml"
        path.write_text("#" * (MAX_BYTES + 1))
        with pytest.raises(
            RecipeError, match=r"big\.yaml is too large for a recipe \(at most 262,144 bytes\)"
        ):
            load_recipe(path)


class TestFiles:
    def test_a_missing_recipe_is_told_with_those_known_by_name(self) -> None:
        with pytest.raises(RecipeError, match=r"^nosuch: no such recipe; recipes known by name: .*digits"):
            load_recipe("nosuch")
        with pytest.raises(RecipeError, match=r"^recipes/nosuch\.yaml: no such recipe"):
            load_recipe("recipes/nosuch.yaml")

    @pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
    def test_what_has_no_end_is_no_recipe(self, tmp_path: Path, put: Callable[[Path], object]) -> None:
        put(tmp_path / "x.yaml")
        with pytest.raises(RecipeError, match=r"x\.yaml: cannot be read: it is not a regular file"):
            load_recipe(tmp_path / "x.yaml")

    def test_a_folder_is_no_recipe(self, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
            load_recipe(tmp_path)

    def test_a_name_too_long_for_a_file_is_an_error_in_a_sentence(self) -> None:
        with pytest.raises(RecipeError, match="cannot be read: File name too long"):
            load_recipe("a" * 300)

    def test_a_bare_name_is_looked_for_here_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert load_recipe("digits").recipe.name == "digits"
        Path("recipes").mkdir()
        Path("recipes/digits.yaml").write_text(TEXT)
        assert find_recipe("digits") == Path("recipes/digits.yaml")
        assert load_recipe("digits").recipe.name == "example"


TEXTS = st.text(max_size=40) | st.sampled_from(
    ["no", "1e5", "nULL", "tRuE", "- a", "a: b", "# c", " ", "\x85", "~"]
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True) | st.sampled_from(
    ["1e5", "null", "007"]
)
COUNTS = st.integers(1, 10**9)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
BELOW_1 = st.floats(min_value=0, max_value=1, exclude_max=True)
RADII = (
    st.fractions(min_value=Fraction(1, 10**9), max_value=1)
    | st.integers(1, 255).map(lambda k: Fraction(k, 255))
    | st.from_regex(r"0\.[0-9]{1,29}[1-9]", fullmatch=True).map(read_fraction)
    | st.floats(min_value=1e-20, max_value=1).map(lambda value: read_fraction(repr(value)))
)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Any recipe that a file could describe."""
    start, final = sorted(draw(st.tuples(st.floats(1, 1e4), st.floats(1, 1e4))))
    end, begin = sorted(draw(st.tuples(POSITIVE, POSITIVE)))
    begin_epoch = draw(st.floats(0, 1e6))
    return Recipe(
        name=draw(NAMES),
        description=draw(TEXTS),
        seed=draw(st.integers(0, 2**63 - 1)),
        epochs=draw(COUNTS),
        batch_size=draw(COUNTS),
        data=draw(st.sampled_from([Digits, Mnist, Cifar10]))(
            root=draw(st.none() | TEXTS),
            holdout=draw(st.integers(0, 1000)),
            augment=Augment(crop_padding=draw(st.integers(0, 16)), flip=draw(st.booleans())),
        ),
        model=MLP(width=draw(COUNTS), depth=draw(COUNTS), identity=draw(st.floats(0, 1e30))),
        eps=Eps(train=draw(RADII), test=draw(RADII)),
        p=P(
            start=start,
            final=final,
            begin_epoch=begin_epoch,
            end_epoch=math.nextafter(begin_epoch, math.inf) + draw(st.floats(0, 1e6)),
        ),
        objective=Mixture(lam=Lam(start=begin, end=end)),
        optimizer=Optimizer(
            lr=draw(st.floats(1e-300, 1e6)),
            scalar_lr=draw(st.floats(1e-300, 1e6)),
            beta1=draw(BELOW_1),
            beta2=draw(BELOW_1),
            adam_eps=draw(POSITIVE),
        ),
        evaluation=Evaluation(
            every_epochs=draw(COUNTS), batch_size=draw(COUNTS), reestimate_means=draw(st.booleans())
        ),
        checkpoint=Checkpoint(every_epochs=draw(COUNTS), keep=draw(COUNTS)),
        log=Log(every_steps=draw(COUNTS)),
    )


class TestThereAndBack:
    @pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
    def test_a_shipped_recipe_written_out_reads_back_equal(self, path: Path) -> None:
        recipe = load_recipe(path).recipe
        written = dump_recipe(recipe)
        assert parse(written) == recipe
        assert dump_recipe(parse(written)) == written

    # Without shrinking, which takes minutes for so many fields; the text of a recipe is readable as it is.
    @settings(max_examples=100, deadline=None, phases=set(Phase) - {Phase.shrink, Phase.explain})
    @given(recipes())
    def test_any_recipe_written_out_reads_back_equal(self, recipe: Recipe) -> None:
        again = parse(dump_recipe(recipe))
        assert again == recipe
        assert hash_of(again) == hash_of(recipe)

    def test_every_value_is_written_out(self) -> None:
        values = to_builtins(parse(TEXT))
        assert values["eps"] == {"train": "24/255", "test": "8/255"}
        assert values["p"] == {"start": 8.0, "final": 1000.0, "begin_epoch": 1.0, "end_epoch": 9.0}
        assert values["checkpoint"] == {"every_epochs": 1, "keep": 2}


def hash_of(recipe: Recipe) -> str:
    """That of the resolved recipe which a run would keep."""
    return resolved(recipe).hash


class TestHash:
    def test_it_does_not_depend_on_how_the_file_is_written(self) -> None:
        head, body = TEXT.split("epochs: 10\n")
        moved = head + body + "epochs: 10\n"
        spelt = TEXT.replace("8/255", "0.0313725490196078431372549019607843").replace("0.03\n", "3e-2 # x\n")
        assert hash_of(parse(moved)) == hash_of(parse(TEXT))
        assert hash_of(parse(spelt, "eps.test=8/255")) == hash_of(parse(TEXT))
        assert hash_of(parse(TEXT, "optimizer.beta1=0.9")) == hash_of(parse(TEXT))  # the default

    def test_it_is_the_same_in_another_process(self) -> None:
        program = (
            "import sys; from linftui.recipe.load import *;"
            "print(resolved(parse_recipe(sys.stdin.read(), 'x').recipe).hash)"
        )
        other = subprocess.run(
            [sys.executable, "-c", program], input=TEXT, capture_output=True, text=True, check=True
        )
        assert other.stdout.strip() == hash_of(parse(TEXT))

    def test_every_change_of_a_value_changes_it(self) -> None:
        changes = ["name=b", "description=b", "seed=1", "epochs=11", "batch_size=33", "data.dataset=mnist"]
        changes += [
            "data.holdout=1",
            "data.augment.flip=true",
            "model.width=9",
            "model.depth=3",
        ]
        changes += [
            "eps.train=25/255",
            "eps.test=0.03137",
            "p.start=9",
            "p.end_epoch=8.5",
            "objective.lam.end=0.002",
        ]
        changes += ["optimizer.lr=0.031", "optimizer.adam_eps=1e-11", "evaluation.reestimate_means=true"]
        hashes = {hash_of(parse(TEXT, *change)) for change in [(), *((change,) for change in changes)]}
        assert len(hashes) == len(changes) + 1
        assert all(len(value) == 64 for value in hashes)

    def test_it_is_what_it_has_always_been(self) -> None:
        """Checkpoints of every run that people have kept name it."""
        assert hash_of(parse(TEXT)) == "c429dcd47205e7401ae7291c4693cbc9a2b8213eeabab9f5d200ecdb5508b7ad"

    @pytest.mark.parametrize(
        ("section", "newer"),
        [("checkpoint", "keep"), ("model", "identity"), ("p", "start"), ("optimizer", "beta2"), ("", "seed")],
    )
    def test_fields_that_were_not_there_when_a_run_was_made_do_not_count(
        self, section: str, newer: str
    ) -> None:
        """As if a later version had brought one, with its default, in any section."""
        values = to_builtins(parse(TEXT))
        del (values[section] if section else values)[newer]
        old = parse_recipe(yaml.safe_dump(values), "x")
        assert old.recipe == parse(TEXT)
        assert old.hash == sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()
        assert old.hash != hash_of(parse(TEXT))

    def test_where_the_data_lie_does_not_change_it(self) -> None:
        assert hash_of(parse(TEXT, "data.root=x")) == hash_of(parse(TEXT))
