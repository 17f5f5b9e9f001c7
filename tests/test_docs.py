"""README and docs/: commands exist and run, links lead somewhere, pictures are what the code draws, the site builds."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer
from PIL import Image

from talking_points.cli import app, main
from tests.bases.tiny_qwen import write_tiny
from tests.endpoint_server import Reply, completion, serving
from tests.shared import SHARED

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAPER = DOCS / "paper.md"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
OTHER_PROGRAMS = ("accelerate", "curl", "cvat-cli", "echo", "export", "make", "ollama", "pip", "vllm", ".ci/run")
"""Of other people or of make: what follows them is not looked at."""
FEWER = {"train": {"--steps": "2"}}
"""Of a tutorial's options, when it is run here."""
FEWER_PHOTOS = ("range(120)", "range(16)")
"""That a tutorial draws."""

pytestmark = pytest.mark.skipif(not (ROOT / "mkdocs.yml").is_file(), reason="docs/ is not beside the tests")


def blocks(page: Path) -> list[tuple[str, str]]:
    """A page's fenced blocks in order, each with its language."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [(language, body) for _, language, body in found]


def commands(block: str) -> list[list[str]]:
    """The words of each command of a shell block, the variables that it sets put in."""
    variables: dict[str, str] = {}
    found, line = [], ""
    for part in re.sub(r"\\\n", " ", block).splitlines():
        line += part
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quotation goes on
            line += "\n"
            continue
        for name, value in variables.items():
            words = [piece for word in words for piece in (shlex.split(value) if word == f"${name}" else [word])]
        while words and (set_here := re.fullmatch(r"([A-Z_0-9]+)=(.*)", words[0], re.DOTALL)):
            variables[set_here[1]] = set_here[2]
            words = words[1:]
        if words:
            found.append(words)
        line = ""
    return found


def until(words: list[str], *ends: str) -> list[str]:
    """The words of the first of several commands in one line."""
    for index, word in enumerate(words):
        if word in ends:
            return words[:index]
    return words


def check_against_cli(words: list[str]) -> None:
    """Parse a command with the real command line, without running it."""
    command: Any = typer.main.get_command(app)
    elided = "..." in words
    rest = [word for word in words if word != "..."]
    name = "talking-points"
    context = click.Context(command, info_name=name)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"no command {name!r}"
        command = command.commands[name]
    with contextlib.suppress(typer.Exit):  # --help and --version
        given = command.make_context(name, rest, parent=context, resilient_parsing=elided).params
        if not elided and given.get("config") is None:
            # Settings that a file may give instead are not required by the parser.
            lacking = [
                one.name for one in command.params if (one.help or "").endswith("Required.") and not given[one.name]
            ]
            assert not lacking, f"{name} lacks {', '.join(lacking)}"


def test_shell_blocks_can_be_typed() -> None:
    """The shell itself reads them, which sees what a quotation mark too many makes of the lines after it."""
    for page in PAGES:
        for language, block in blocks(page):
            if language == "sh":
                read = subprocess.run(["sh", "-n"], input=block, text=True, capture_output=True, check=False)
                assert read.returncode == 0, f"{page}: {read.stderr}\n{block}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for language, block in blocks(page):
        if language != "sh":
            continue
        for words in commands(block):
            first, said = words[0], " ".join(words)
            if first == "talking-points":
                try:
                    check_against_cli(until(words[1:], "||", "&&", "|", ">"))
                except Exception as error:
                    raise AssertionError(f"{said}: {error}") from error
            elif said.startswith("python -m recipes.") or (
                first in ("python", "python3", "sh") and not words[1].startswith("-")
            ):
                script = ROOT / (f"{words[2].replace('.', '/')}.py" if words[1] == "-m" else words[1])
                assert script.is_file(), said
                for option in (word for word in words[2:] if word.startswith("--")):
                    assert f'"{option}"' in script.read_text(), said
            else:
                assert first in OTHER_PROGRAMS, f"{said}: name it in OTHER_PROGRAMS or mend it"
            if first == "make":
                assert set(until(words[1:], "&&")) <= set(targets), said


@pytest.mark.parametrize(
    ("script", "settings", "count"),
    [
        ("table_2.sh", {"AP10K": "ap-10k", "MODEL": "mini", "OUT": "out"}, 4),
    ],
)
def test_the_commands_of_a_script_exist(
    script: str,
    settings: dict[str, str],
    count: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ap_10k_writer: Callable[..., None],
) -> None:
    """The script runs whole, with a program in place of ours that writes down how it was called."""
    program = tmp_path / "talking-points"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\nopen('calls', 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    )
    program.chmod(0o755)
    ap_10k_writer(tmp_path / "ap-10k", {"train": ["1"], "val": ["2"], "test": ["3"]})
    for name, value in {"PATH": f"{tmp_path}:{os.environ['PATH']}", **settings}.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["sh", str(ROOT / "examples" / script)], cwd=tmp_path, check=True)
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert len(calls) == count
    joined = json.loads((tmp_path / "ap-10k" / "annotations" / "ap10k-all.json").read_text())
    assert [one["id"] for one in joined["images"]] == [1, 2, 3] and len(joined["annotations"]) == 15
    for words in calls:
        check_against_cli(words)


def test_a_command_that_does_not_exist_is_seen() -> None:
    for wrong in (
        "describe photo.jpg --pont 1,2",
        "evaluates --out scores/",
        "train base --out runs/base",
        "evaluate --data set/",
    ):
        with pytest.raises((AssertionError, click.ClickException, typer.BadParameter.__mro__[2])):
            check_against_cli(wrong.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """MkDocs checks docs/ as a site; this is how the pages are read in the repository."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    made = {"contributing.md", "changelog.md"}
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target and target not in made:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_what_the_papers_page_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.(?:py|txt|toml|sh))(?::(\w+))?`", PAPER.read_text(encoding="utf-8"))
    assert len(named) > 60
    for path, name in named:
        file = next((f for f in (ROOT / "src" / "talking_points" / path, ROOT / path) if f.is_file()), None)
        assert file is not None, path
        assert not name or re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")), f"{path}:{name}"


def claims() -> list[tuple[str, str, str]]:
    """The rows of the paper's page: what the paper says, the verdict, and what is here."""
    tables = re.findall(r"^\| the paper \| \| here \|\n\|[-|]+\n((?:\|.*\n)+)", PAPER.read_text("utf-8"), re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for table in tables for line in table.splitlines()]
    assert all(len(row) == 3 for row in rows), [row for row in rows if len(row) != 3]
    return [(row[0], row[1], row[2]) for row in rows]


def test_every_claim_of_the_paper_has_a_verdict() -> None:
    found = claims()
    assert len(found) > 80
    assert {verdict for _, verdict, _ in found} == {"same", "ours", "not here"}
    for said, verdict, here in found:
        assert here, said
        # What is the same is somewhere.
        assert verdict != "same" or "`" in here or "[" in here or here == "no other points are drawn", said


def test_what_the_paper_is_said_to_say_it_says() -> None:
    paper = SHARED / "paper" / "talking_points.txt"
    if not paper.is_file():
        pytest.skip("needs ../shared/paper")

    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9.^-]+", " ", re.sub(r"[${}*]", "", text.lower().replace("\\n", " ")))

    text = plain(paper.read_text(encoding="utf-8"))
    quotes = [quote for said, _, _ in claims() for quote in re.findall(r'"([^"]+)"', said)]
    assert len(quotes) > 60
    assert not [quote for quote in quotes if plain(quote).strip(" .") not in text]


def test_pictures_are_what_the_code_draws() -> None:
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    assert spec is not None and spec.loader is not None
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    for name, draw in figures.PICTURES.items():
        assert (DOCS / name).read_text(encoding="utf-8") == draw(), f"docs/{name} is old: python docs/figures.py"


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the [docs] extra is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= 20
    for page in pages:
        html = page.read_text(encoding="utf-8")
        loads = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=[\"']?(?:https?:)?//[^>]*>", html)
        loads += [tag for tag in re.findall(r"<link[^>]*>", html) if re.search(r"href=[\"']?(?:https?:)?//", tag)]
        assert not loads, f"{page.name}: {loads[0]}"


def answer(request: dict[str, Any], number: int) -> Reply:
    """Of a model that both describes and points."""
    points = "point" in json.dumps(request["messages"]).lower() and request["model"].startswith("Molmo")
    return completion('<point x="50.0" y="50.0" alt="it">it</point>' if points else "the coat of the person")


def small(words: list[str]) -> list[str]:
    """A tutorial's command with so few steps that a test can wait for it."""
    given = list(words)
    if given[0] == "train":
        for option, value in FEWER["train"].items():
            if option in given:
                given[given.index(option) + 1] = value
        if given[1] in ("descriptor", "localizer"):
            given += ["--photos", "2", "--points", "2", "--lora-rank", "4"]
        if given[1] == "grpo":
            given += ["--photos", "1", "--points", "1", "--group-size", "2", "--held-out-points", "3"]
    return given


def people_and_set(folder: Path) -> None:
    """What the first tutorial of data leaves for the others."""
    page = DOCS / "tutorials" / "own-dataset.md"
    code = next(body for language, body in blocks(page) if language == "python")
    exec(compile(code, str(page), "exec"), {})
    with pytest.raises(SystemExit) as ended:
        main(["build-dataset", "--source", "label-map=people/", "--out", "set/"])
    assert not ended.value.code


def run_page(page: Path, url: str, namespace: dict[str, Any]) -> None:
    """Everything on a page, in order: Python in one namespace, commands in this process."""
    for language, block in blocks(page):
        if language == "python":
            exec(compile(block.replace(*FEWER_PHOTOS), str(page), "exec"), namespace)
        elif language == "sh":
            for words in commands(block):
                line = " ".join(words)
                if words[0] == "echo":
                    text, way, name = words[1:]
                    with open(name, "a" if way == ">>" else "w") as file:
                        file.write(text + "\n")
                    continue
                if words[0] in ("export", "make"):
                    continue
                assert words[0] == "talking-points", line
                arguments = [re.sub(r"http://localhost:\d+/v1", url, word) for word in small(until(words[1:], "||"))]
                with pytest.raises(SystemExit) as ended:
                    main(arguments)
                assert (ended.value.code or 0) == (2 if "||" in words else 0), line


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    if page.stem == "reinforcement":
        people_and_set(tmp_path)
    with serving(answer) as server:
        run_page(page, server.url, {"__name__": page.stem})
    said = capsys.readouterr()
    if page.stem == "describe-and-find":
        assert "error: point 1 [5000.0, 10.0] is outside the 512x600 photo" in said.err
        assert Image.open("out.png").size[0] > 100 and len(Path("trips.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *(DOCS / f"{name}.md" for name in ("index", "coordinates", "shell", "datasets"))],
    ids=lambda p: p.stem,
)
def test_python_and_the_first_commands_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (500, 520, 3), dtype=np.uint8)).save("street.jpg")
    if page.stem == "datasets":
        people_and_set(tmp_path)
    stock = {"Qwen/Qwen3-VL-4B-Instruct": str(write_tiny(tmp_path / "tiny"))}
    with serving(answer) as server:
        for language, block in blocks(page):
            if language == "python":
                exec(compile(block, str(page), "exec"), {"photo": Image.open("street.jpg")})
            elif language == "sh":
                for words in commands(block):
                    if words[0] == "talking-points" and "street.jpg" in words:
                        asked = [stock.get(w, w).replace("http://localhost:8000/v1", server.url) for w in words[1:]]
                        with pytest.raises(SystemExit) as ended:
                            main(asked)
                        assert not ended.value.code, words


def test_the_merged_language_model_of_the_vllm_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from talking_points.model.hugging_face import lora_config
    from tests.tiny import tiny_tokenizer

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    language = LlamaForCausalLM(LlamaConfig(vocab_size=50, tie_word_embeddings=False, **sizes))
    language.save_pretrained("7b/language_model")
    tiny_tokenizer().save_pretrained("7b/language_model")
    adapted = get_peft_model(language, lora_config("descriptor", rank=4, alpha=8, dropout=0.0)).eval()
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapted.save_pretrained("7b/descriptor", save_embedding_layers=False)
    ids = torch.arange(10)[None]
    with torch.no_grad():
        expected = adapted(ids).logits
        with adapted.disable_adapter():
            plain = adapted(ids).logits
    [code] = [body for language, body in blocks(DOCS / "vllm.md") if language == "python"]
    exec(compile(code, "vllm.md", "exec"), {})
    merged = AutoModelForCausalLM.from_pretrained("7b-merged")
    assert len(AutoTokenizer.from_pretrained("7b-merged")) == len(tiny_tokenizer())
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, expected, atol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-2)
