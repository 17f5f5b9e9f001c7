"""The frozen localizer as the reward of TRL's GRPOTrainer, on a tiny random language model and one photo.

    pip install trl
    python examples/trl_grpo.py runs/trl [STEPS]

The model is told where a point is ("x 3 y 7", tenths of the photo) and does not see the photo; what it may learn is in
which words the localizer finds the place. A model that sees it takes the same reward: its data has a column `image`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from talking_points.demo import demo_photos
from talking_points.photos import open_photo

WORDS = "the cap face coat left right hand collar tie upper lower middle of near edge man background"


def save_tiny_model(folder: Path) -> None:
    """Random weights, and a word a token: TRL reads the model from here twice, the second time as the reference."""
    # Imports that take seconds are where they are used: --help answers at once.
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = ["<pad>", "<end>", "x", "y", *map(str, range(10)), *WORDS.split()]
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(vocabulary)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def points_of(photo: Path) -> dict[str, list]:
    """The centres of the squares of a grid, ten by ten, as prompts."""
    width, height = open_photo(photo).size
    tenths = [(x, y) for y in range(10) for x in range(10)]
    return {
        "prompt": [f"x {x} y {y}" for x, y in tenths],
        "photo": [str(photo)] * len(tenths),
        "point": [[(x + 0.5) * width / 10, (y + 0.5) * height / 10] for x, y in tenths],
    }


def train(out: Path, steps: int) -> None:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from talking_points.training.rewards import PAPER_SETTINGS, LocalizerReward

    save_tiny_model(out / "start")
    settings = {
        **PAPER_SETTINGS,
        # A model that knows nothing needs larger steps, more texts of each point, and no tie to what it was.
        "learning_rate": 3e-3,
        "num_generations": 6,
        "beta": 0.0,
        "max_completion_length": 6,
        "max_steps": steps,
        "bf16": False,
        "gradient_checkpointing": False,
    }
    trainer = GRPOTrainer(
        model=str(out / "start"),
        args=GRPOConfig(
            **settings, output_dir=str(out), logging_steps=max(1, steps // 10), save_strategy="no", report_to="none"
        ),
        reward_funcs=LocalizerReward("mini"),
        train_dataset=Dataset.from_dict(points_of(demo_photos()[0].path)),
    )
    trainer.train()
    logged = [(one["step"], one["rewards/localizer/mean"]) for one in trainer.state.log_history if "reward" in one]
    for step, reward in logged:
        print(f"step {step}: reward {reward:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder for what the trainer writes")
    parser.add_argument("steps", type=int, nargs="?", default=30)
    train(**vars(parser.parse_args()))
