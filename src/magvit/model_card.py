"""The model card of a folder: a README.md for people, with the metadata that the Hugging Face hub reads at its head."""

import re
from collections.abc import Sequence

from torch import nn

from magvit.markdown import plain


def model_card(name: str, license: str, facts: Sequence[str], example: str, tags: Sequence[str] = ()) -> str:
    """What can be told of any model from what it is.

    Args:
        name: a folder's name or a hub id, by which the example finds it.
        license: as the hub calls it, `apache-2.0`, or `unknown`.
        facts: one a line, as plain text.
        example: Python lines behind `import magvit`, with the name as `NAME`.
        tags: what the hub finds it by, beside those of all models.

    Raises:
        ValueError: the licence is none of the hub's words.
    """
    if not re.fullmatch(r"[\w.+-]+", license):
        raise ValueError(f"license is {license!r}, expected one of the hub's words such as apache-2.0 or unknown")
    return f"""---
license: {license}
library_name: magvit
tags: [{", ".join(["magvit", "video", *tags])}]
---

# {plain(name)}

A MAGVIT model ([arXiv 2212.05199](https://arxiv.org/abs/2212.05199)) in the format of the PyTorch package `magvit`.

{chr(10).join(f"* {plain(fact)}" for fact in facts)}

## Use

```python
import magvit

{example.strip().replace("NAME", name)}
```

## Training

Not told yet: what it was trained on, how well it does, and what it is of no use for.
"""


def millions(network: nn.Module) -> str:
    """How many parameters a network has, in words."""
    return f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.2f} million parameters"
