"""The clip after each decoding step, one above the other: `python examples/watch_decoding.py steps.png`."""

import sys

from magvit import MagvitPipeline
from magvit.decoding import DecodingStep
from magvit.video.contact_sheet import contact_sheet


def main(output: str) -> None:
    """Generate a clip of class 0 and draw what is predicted at each step, and how much of it is settled."""
    pipe = MagvitPipeline.from_pretrained("magvit-tiny")
    steps: list[DecodingStep] = []
    pipe("class_generation", label=0, num_steps=8, callback_on_step_end=steps.append)
    rows = []
    for step in steps:
        settled = 1 - step.masked.float().mean().item()
        rows.append((f"step {step.step + 1}\n{settled:.0%} settled", pipe.tokenizer.decode(step.tokens)[0]))
    contact_sheet(rows).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
