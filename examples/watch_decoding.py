"""The clip after each decoding step, one above the other: `python examples/watch_decoding.py steps.png`."""

from pathlib import Path

import tyro

from magvit import MagvitPipeline
from magvit.decoding import DecodingStep
from magvit.video.contact_sheet import contact_sheet


def main(output: Path, /, model: str = "magvit-tiny", label: int = 0, num_steps: int = 8, seed: int = 0) -> None:
    """Generate a clip of a class and draw what is predicted at each step, and how much of it is settled.

    Args:
        output: a picture.
        model: folder, packaged name or hub id, of a model with classes.
        label: number of the class.
        num_steps: decoding steps.
        seed: another one gives another clip.
    """
    pipe = MagvitPipeline.from_pretrained(model)
    steps: list[DecodingStep] = []
    pipe("class_generation", label=label, num_steps=num_steps, seed=seed, callback_on_step_end=steps.append)
    rows = []
    for step in steps:
        settled = 1 - step.masked.float().mean().item()
        rows.append((f"step {step.step + 1}\n{settled:.0%} settled", pipe.tokenizer.decode(step.tokens)[0]))
    contact_sheet(rows).save(output)


if __name__ == "__main__":
    tyro.cli(main)
