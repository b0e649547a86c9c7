"""Parallel decoding through the real transformer, with and without guidance: `j_fast_decode_bert.npz`."""

import pytest
import torch

from conformance.arrays import official_ids, score_gap
from magvit.decoding import Decoding, decode, guide
from magvit.interop import official
from magvit.tasks import Vocabulary

CODEBOOK_SIZE = 64
VOCABULARIES = {
    "class_conditional": Vocabulary(CODEBOOK_SIZE, num_classes=10, num_special=1),
    "multi_task_outpainting_c": Vocabulary(CODEBOOK_SIZE, num_classes=0, separate_inpainting_token=False),
}
CASES = [name + guidance for name, guidance in zip(VOCABULARIES, ("_guidance1.5", "_guidance0.7"), strict=True)]


@pytest.mark.parametrize("case", [*VOCABULARIES, *CASES])
def test_decoding_with_the_transformer(reference, case):
    ref = reference("j_fast_decode_bert.npz")
    vocabulary = VOCABULARIES[case.split("_guidance")[0]]
    params = ref.inputs(f"{case}/params/")
    model = official.transformer(params, official.infer_transformer_config(params))
    assert model.config.vocab_size == vocabulary.size

    labels = ref.tensor(f"{case}/label").flatten().tolist()
    if vocabulary.is_multi_task:  # this task is not class-conditional
        prefix = uncond_prefix = vocabulary.prefix("outpainting").expand(len(labels), -1)
    else:
        prefix = torch.stack([vocabulary.prefix("full_generation", label) for label in labels])
        uncond_prefix = vocabulary.prefix("full_generation").expand(len(labels), -1)

    ref.exact(f"{case}/prefix_masked_inputs", official_ids(prefix, vocabulary))
    ref.exact(f"{case}/prefix_uncond_masked_inputs", official_ids(uncond_prefix, vocabulary))
    ref.exact(f"{case}/prefix_segment_ids", torch.zeros_like(prefix))  # the model has no segments

    scale = ref.input(f"{case}/guidance_scale").item()
    gaps = []

    def logits_fn(inputs, uncond_inputs, guidance_scale):
        def logits(before, grid):
            sequence = torch.cat([before, grid.flatten(1)], dim=1)
            return model(sequence)[:, before.shape[1] :, :CODEBOOK_SIZE].view(*grid.shape, CODEBOOK_SIZE)

        conditional = logits(prefix, inputs)
        best = conditional.topk(2).values
        gaps.append((best[..., 0] - best[..., 1]).min())
        if not guidance_scale:
            return conditional
        return guide(conditional, logits(uncond_prefix, uncond_inputs), guidance_scale)

    shape = ref.arrays[f"{case}/final_tokens"].shape
    cond_tokens, cond_mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
    if f"{case}/cond_mask" in ref:
        cond_tokens, cond_mask = ref.tensor(f"{case}/cond_inputs").long(), ref.tensor(f"{case}/cond_mask").bool()
    steps = []
    tokens = decode(
        logits_fn,
        cond_tokens,
        cond_mask,
        Decoding(mask_temperature=0.0, temperature=0.0, guidance_scale=scale),
        mask_token_id=vocabulary.mask_token_id,
        callback=steps.append,
        reproduce_last_token_bug=True,
    )

    ref.exact(f"{case}/final_tokens", tokens)
    ref.exact(f"{case}/repredict_after_step", torch.stack([step.masked for step in steps], dim=1))
    # What the official state holds after a step is what the next step reads, written out by hand after the last.
    read = [step.inputs for step in steps[1:]]
    unknown = torch.where(cond_mask, cond_tokens, vocabulary.mask_token_id)
    read.append(torch.where(steps[-1].masked, unknown, steps[-1].tokens))
    ref.exact(f"{case}/masked_inputs_after_step", official_ids(torch.stack(read, dim=1), vocabulary))

    ref.compare(f"{case}/min_top2_logit_gap", torch.stack(gaps).min())
    ref.compare(f"{case}/min_score_gap", min(score_gap(step) for step in steps))
