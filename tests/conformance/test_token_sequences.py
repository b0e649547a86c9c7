"""`i_tokens.npz`: whole sequences, prefix and masked tokens, in the official numbering."""

import torch

from conformance.arrays import official_ids, positive_ids
from conformance.reference import Reference, References
from magvit.tasks import MaskedTokens, TaskFamily, Vocabulary, lay_out, mask_tokens, shift_right

CODEBOOK_SIZE, NUM_CLASSES = 64, 10
MULTI_TASK = Vocabulary(CODEBOOK_SIZE, NUM_CLASSES, separate_inpainting_token=False)
SINGLE_TASK = Vocabulary(CODEBOOK_SIZE, NUM_CLASSES, num_special=1)
FAMILIES: dict[str, TaskFamily] = {
    "frame_prediction": "frame_prediction",
    "frame_interpolation": "frame_interpolation",
    "outpainting": "outpainting",
    "inpainting": "inpainting",
}
CLASS_CONDITIONAL = ("frame_prediction", "class_conditional")


def mask(ref: Reference, cond_mask: torch.Tensor, vocabulary: Vocabulary) -> MaskedTokens:
    tokens = ref.tensor("inputs")
    return mask_tokens(
        tokens,
        ref.tensor("cond_inputs"),
        cond_mask.bool().expand_as(tokens),
        ref.tensor("mask_score"),
        ref.tensor("mask_ratio").expand(len(tokens)),
        mask_token_id=vocabulary.mask_token_id,
    )


def compare(
    ref: Reference, name: str, vocabulary: Vocabulary, family: TaskFamily, conditional: bool, masked: MaskedTokens
) -> None:
    labels = ref.tensor("label").flatten().tolist()
    families, nothing = [family] * len(labels), torch.zeros_like(masked.refine)
    layout = lay_out(vocabulary, families, [label if conditional else None for label in labels], masked.inputs, nothing)
    uncond_layout = lay_out(vocabulary, families, [None] * len(labels), masked.inputs, nothing)
    sequences = {
        "masked_inputs": layout.fill(masked.inputs),
        "uncond_masked_inputs": uncond_layout.fill(masked.uncond_inputs),
        "targets": layout.fill(masked.targets),
        "segment_ids": layout.segments(masked.segment_ids),
        "weights": layout.segments(masked.weights().long()),
    }
    for part, ids in sequences.items():
        ref.exact(f"{name}/{part}", official_ids(ids, vocabulary))
        if f"{name}/prefix/{part}" in ref:
            ref.exact(f"{name}/prefix/{part}", official_ids(ids[:, : vocabulary.prefix_length], vocabulary))


def test_multi_task_sequences(reference: References) -> None:
    ref = reference("i_tokens.npz")
    for key in ref.keys("multi_task/*/cond_mask"):
        name = key.removesuffix("/cond_mask")
        task = name.removeprefix("multi_task/")
        family = next(family for start, family in FAMILIES.items() if task.startswith(start))
        masked = mask(ref, ref.tensor(key), MULTI_TASK)
        compare(ref, name, MULTI_TASK, family, task in CLASS_CONDITIONAL, masked)


def test_single_task_sequences(reference: References) -> None:
    ref = reference("i_tokens.npz")
    nothing = torch.zeros(1, 1, 1, 1)
    for key in ref.keys("full_generation/*/targets"):
        name = key.removesuffix("/targets")
        conditional = name.rsplit("/", 1)[1] in CLASS_CONDITIONAL
        masked = mask(ref, nothing, SINGLE_TASK)
        compare(ref, name, SINGLE_TASK, "full_generation", conditional, masked)


def test_autoregressive_sequences(reference: References) -> None:
    ref = reference("i_tokens.npz")
    prefixes = [SINGLE_TASK.prefix("full_generation", label) for label in ref.tensor("label").flatten().tolist()]
    targets = torch.cat([torch.stack(prefixes), ref.tensor("inputs").flatten(1)], dim=1)
    ref.exact("lm/inputs", official_ids(shift_right(SINGLE_TASK, targets), SINGLE_TASK))
    ref.exact("lm/targets", targets)
    ref.exact("lm/weights", torch.ones_like(targets))
    ref.exact("lm/cond_lengths", 1 + SINGLE_TASK.prefix_length)  # start symbol and class


def test_autoregressive_frame_prediction(reference: References) -> None:
    """Official `generate_tokens_for_lm` with a prefix, of which there are no stored numbers, written out: behind BOS -1
    and the class the tokens of the first latent frame and SEP -2. For a single task -2 is the row of no class.
    """
    ref = reference("i_tokens.npz")
    tokens, cond_tokens = ref.tensor("inputs"), ref.tensor("cond_inputs")
    no_class = torch.full((len(tokens), 1), CODEBOOK_SIZE + NUM_CLASSES)
    given, separator = cond_tokens[:, :1].flatten(1), torch.full((len(tokens), 1), -2)
    targets = torch.cat([no_class, given, separator, tokens.flatten(1)], dim=1)
    inputs = torch.cat([torch.full((len(tokens), 1), -1), targets[:, :-1]], dim=1)

    shown = torch.zeros_like(tokens, dtype=torch.bool)
    shown[:, :1] = True
    families: list[TaskFamily] = ["frame_prediction"] * len(tokens)
    layout = lay_out(SINGLE_TASK, families, [None] * len(tokens), cond_tokens, shown, "prefix")
    ours = layout.fill(tokens)
    assert torch.equal(ours, positive_ids(targets, SINGLE_TASK.size))
    assert torch.equal(shift_right(SINGLE_TASK, ours), positive_ids(inputs, SINGLE_TASK.size))
    cond_length = 1 + 1 + given.shape[1] + 1  # the official `cond_lengths`: where the latents begin, BOS counted
    assert (layout.latents[:, 0] + 1).tolist() == [cond_length] * len(tokens)
