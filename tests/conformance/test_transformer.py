"""The masked transformer: `f_bert.npz`."""

import numpy as np
import pytest

from conformance.arrays import compare_gradient, official_gradients, positive_ids, recorded_outputs
from magvit.interop import official
from magvit.tasks.commit import cross_entropy, sequence_loss

FILE = "f_bert.npz"
NUM_CODES = 64


@pytest.mark.parametrize("case", ["plain", "segments"])
def test_activations_loss_and_gradients(reference, case):
    ref = reference(FILE)
    params = ref.inputs(f"{case}/params/")
    model = official.transformer(params, official.infer_transformer_config(params))
    segment_ids = ref.tensor(f"{case}/segment_ids").long()
    with recorded_outputs(model) as outputs:
        logits = model(
            positive_ids(ref.tensor(f"{case}/input_ids"), model.config.vocab_size),
            segment_ids if model.config.num_segments else None,
        )
    ref.compare(f"{case}/embeddings", outputs["BertEmbed_0/embeddings_ln"])
    ref.compare(f"{case}/layer_0_attention_block", outputs["BertLayer_0/BertAttention_0/attention_output_ln"])
    for key in ref.keys(f"{case}/layer_?"):
        ref.compare(key, outputs[f"BertLayer_{key[-1]}"])
    ref.compare(f"{case}/logits", logits)

    targets, weights = (ref.tensor(f"{case}/loss_{name}") for name in ("targets", "weights"))
    loss = sequence_loss(cross_entropy(logits[..., :NUM_CODES], targets.long()), weights)
    ref.compare(f"{case}/loss", loss)
    for path, gradient in official_gradients(loss, model).items():
        compare_gradient(ref, f"{case}/grad_l2/{path}", np.linalg.norm(gradient))
