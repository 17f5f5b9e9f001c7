"""Settings: a dataclass to TOML, flags and help, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from talking_points.cli.options import takes
from talking_points.settings import argument, flag, make, settings_of, to_toml


@dataclass(frozen=True, kw_only=True)
class Shared:
    device: str | None = None
    """Where: 'cpu' or 'cuda'."""


@dataclass(frozen=True, kw_only=True)
class Settings(Shared):
    photo: Path = field(metadata=argument("PHOTO"))
    """To look at."""
    steps: int = 300
    """Of the optimiser."""
    rate: float = 1e-5
    engine: Literal["local", "ray"] = "local"
    objects: tuple[str, ...] = field(default=(), metadata=flag("--object"))
    """Only these;
    repeatable."""
    balance: bool = True
    blind: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; allowed: at least 1")


def test_the_text_beneath_a_field_is_its_help() -> None:
    helps = {one.name: one.help for one in settings_of(Settings)}
    assert helps["device"] == "Where: 'cpu' or 'cuda'." and helps["objects"] == "Only these; repeatable."
    assert helps["rate"] == ""


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('photo = "a.jpg"\nsteps = 10\nrate = 1\nobjects = ["dog", "cat"]\n')
    found = make(Settings, {"steps": 20, "objects": [], "device": None}, config=file)
    assert found == Settings(photo=Path("a.jpg"), steps=20, rate=1.0, objects=("dog", "cat"))


def test_toml_and_back(tmp_path: Path) -> None:
    one = Settings(photo=Path('é "a".jpg'), objects=("🐕", "a\tb"), rate=1e-05, blind=True)
    (tmp_path / "a.toml").write_text(to_toml(Settings, asdict(one)), encoding="utf-8")
    assert make(Settings, {}, config=tmp_path / "a.toml") == one
    assert '# Only these; repeatable.\nobjects = ["🐕", "a\\tb"]' in to_toml(Settings, asdict(one))
    assert "# photo = (a path)" in to_toml(Settings) and "steps = 300" in to_toml(Settings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stepz = 1", "a.toml: unknown key 'stepz'; known: device, photo, steps, rate"),
        ("steps = 1.5", "a.toml: steps is 1.5; allowed: a whole number"),
        ("steps = true", "steps is True; allowed: a whole number"),
        ("steps = 99999999999999999999", "steps is 99999999999999999999; allowed: a whole number of 64 bits"),
        ("seed = -1", "seed is -1; allowed: 0 to 2**63 - 1"),
        (f"seed = {2**63}", "seed is 9223372036854775808; allowed: 0 to 2**63 - 1"),
        ("rate = nan", "rate is nan; allowed: a number"),
        ('blind = "no"', "blind is 'no'; allowed: true or false"),
        ('engine = "spark"', "engine is 'spark'; allowed: local, ray"),
        ('objects = "dog"', "objects is 'dog'; allowed: a list"),
        ("steps =", "a.toml is not TOML: "),
        ("steps = 1", "PHOTO is missing: To look at."),
        ('photo = "a"\nsteps = 0', "steps is 0; allowed: at least 1"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ValueError) as error:
        make(Settings, {}, config=tmp_path / "a.toml")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_recipe_stands_beneath_what_is_given(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Cooked(Settings):
        @classmethod
        def beneath(cls, given: Mapping[str, object]) -> Mapping[str, object]:
            return {"steps": 5, "rate": 0.5} if given.get("device") == "cpu" else {}

    (tmp_path / "a.toml").write_text('rate = 0.25\nphoto = "a"\n')
    found = make(Cooked, {"device": "cpu"}, config=tmp_path / "a.toml")
    assert (found.steps, found.rate) == (5, 0.25)
    assert make(Cooked, {}, config=tmp_path / "a.toml").steps == 300


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file of settings"):
        make(Settings, {}, config=tmp_path / "a.toml")


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @takes(Settings, shown=("photo", "steps", "objects", "balance"))
    def look(settings: Settings, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        """Look at a photo."""
        typer.echo(f"{settings} {loud}")

    return app


def test_a_command_of_settings(app: typer.Typer, tmp_path: Path) -> None:
    run = CliRunner().invoke
    (tmp_path / "a.toml").write_text("blind = true\nsteps = 7\n")
    given = ["p.jpg", "--object", "a", "--object", "b", "--no-balance", "--rate", "2", "--config", tmp_path / "a.toml"]
    expected = Settings(photo=Path("p.jpg"), objects=("a", "b"), balance=False, rate=2.0, blind=True, steps=7)
    assert run(app, [*map(str, given), "--loud"]).output == f"{expected} True\n"
    text = run(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "Look at a photo." in text and "Only these; repeatable." in text and "300" in text
    assert "--rate" not in text and "--config" in text
    shown = run(app, ["p.jpg", "--steps", "9", "--show-config"]).output
    assert 'photo = "p.jpg"' in shown and "steps = 9" in shown and "rate = 1e-05" in shown
