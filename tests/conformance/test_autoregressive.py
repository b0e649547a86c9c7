"""The autoregressive baseline: `f_transformer_lm.npz`."""

import pytest
import torch

from conformance.arrays import positive_ids
from magvit.interop import official


@pytest.mark.parametrize("prefix", ["", "positive/"])
def test_teacher_forcing_and_cached_steps(reference, prefix):
    ref = reference("f_transformer_lm.npz")
    params = ref.inputs("params/")
    model = official.autoregressive(params, official.infer_autoregressive_config(params))
    official_ids = ref.tensor(f"{prefix}input_ids")
    ids = positive_ids(official_ids, model.config.vocab_size)

    ref.compare(f"{prefix}logits_teacher_forcing", model(ids, padding=official_ids <= 0))
    ref.compare(f"{prefix}logits_cached", model(ids))
    cache = model.new_cache()
    ref.compare(f"{prefix}logits_cached", torch.cat([model.step(part, cache) for part in ids.split(1, dim=1)], dim=1))
