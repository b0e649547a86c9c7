"""`h_mask.npz`: mask schedules, Eq. 2 in every official mode, loss weights; and the token losses of `e_losses.npz`."""

import pytest
import torch

from conformance.reference import Reference, References
from magvit.tasks import (
    LossRegion,
    MaskedTokens,
    MaskMode,
    Vocabulary,
    apply_mask,
    cross_entropy,
    mask_tokens,
    shift_right,
)
from magvit.tasks.commit import maskable_positions, masked_count, select_lowest, sequence_loss
from magvit.tasks.schedule import mask_ratio

VOCABULARY = Vocabulary(codebook_size=64, num_special=1)
MODES: dict[str, MaskMode] = {
    "None": "commit",  # with nothing given
    "prefix": "prefix",
    "cond->input": "commit",
    "input->input": "latent_input",
    "cond->cond": "latent_condition",
}
WEIGHTS: dict[str, tuple[LossRegion, ...]] = {
    "mask+refine": ("mask", "refine"),
    "mask+refine+recons": ("mask", "refine", "reconstruct"),
}


class Batch:
    """The batch all of the file's masks are made from."""

    def __init__(self, ref: Reference, official_mode: str) -> None:
        self.mode = MODES[official_mode]
        self.tokens, self.cond_tokens = ref.tensor("inputs"), ref.tensor("cond_inputs")
        given = ref.tensor("cond_mask").bool().expand_as(self.tokens)
        self.given = torch.zeros_like(given) if official_mode == "None" else given

    def mask(self, score: torch.Tensor, ratio: torch.Tensor) -> MaskedTokens:
        ratio = ratio.expand(len(self.tokens))
        return mask_tokens(
            self.tokens,
            self.cond_tokens,
            self.given,
            score,
            ratio,
            mask_token_id=VOCABULARY.mask_token_id,
            mask_mode=self.mode,
        )

    def apply(self, masked: torch.Tensor) -> MaskedTokens:
        return apply_mask(
            self.tokens,
            masked,
            self.cond_tokens,
            self.given,
            mask_token_id=VOCABULARY.mask_token_id,
            mask_mode=self.mode,
        )


def official(ids: torch.Tensor) -> torch.Tensor:
    """Our ids in the official numbering, where MASK is -1."""
    return torch.where(ids == VOCABULARY.mask_token_id, -1, ids)


def compare(ref: Reference, name: str, ours: MaskedTokens, weight_mode: str, segments: bool = True) -> None:
    ref.exact(f"{name}/masked_inputs", official(ours.inputs))
    ref.exact(f"{name}/uncond_masked_inputs", official(ours.uncond_inputs))
    ref.exact(f"{name}/targets", ours.targets)
    ref.exact(f"{name}/weights", ours.weights(WEIGHTS[weight_mode]))
    if segments:
        ref.exact(f"{name}/segment_ids", ours.segment_ids)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weight_mode", WEIGHTS)
def test_masks(reference: References, mode: str, weight_mode: str) -> None:
    ref = reference("h_mask.npz")
    batch = Batch(ref, mode)
    score, ratios = ref.tensor("mask_score"), ref.tensor("ratios")
    for i, ratio in enumerate(ratios):
        compare(ref, f"{mode}/{weight_mode}/ratio{i}", batch.mask(score, ratio), weight_mode)
    for key in ref.keys(f"{mode}/{weight_mode}/per_sample_*/targets"):
        name = key.removesuffix("/targets")
        ratio = torch.tensor([float(r) for r in name.rsplit("/")[-1].removeprefix("per_sample_").split("_")])
        compare(ref, name, batch.mask(score, ratio), weight_mode)


@pytest.mark.parametrize("mode", MODES)
def test_masks_of_tied_scores_and_within_limits(reference: References, mode: str) -> None:
    ref = reference("h_mask.npz")
    batch = Batch(ref, mode)
    tied = batch.mask(ref.tensor("mask_score_ties"), torch.tensor([0.4]))
    compare(ref, f"{mode}/ties_ratio0.4", tied, weight_of(ref, f"{mode}/ties_ratio0.4", tied))

    maskable = maskable_positions(batch.given, batch.mode)
    num_maskable = maskable.flatten(1).sum(1)
    count = masked_count(num_maskable, torch.tensor([0.9]), torch.tensor([10, 40]).minimum(num_maskable))
    limited = batch.apply(select_lowest(ref.tensor("mask_score"), maskable, count))
    name = f"{mode}/limits_1_[10,40]_ratio0.9"
    compare(ref, name, limited, weight_of(ref, name, limited))


def weight_of(ref: Reference, name: str, ours: MaskedTokens) -> str:
    """The index does not say which weights these cases use; they are one of the two for all of a case."""
    stored = torch.from_numpy(ref.arrays[f"{name}/weights"])
    return next((mode for mode, losses in WEIGHTS.items() if torch.equal(ours.weights(losses), stored.float())), "")


def test_helpers(reference: References) -> None:
    ref = reference("h_mask.npz")
    batch = Batch(ref, "cond->input")
    everywhere = torch.ones_like(batch.given)
    compare(ref, "all_mask", batch.apply(everywhere), "mask+refine+recons", segments=False)
    compare(ref, "no_mask", batch.apply(~everywhere), "mask+refine")

    ids = batch.tokens.flatten(1)
    ref.exact("lm_tokens/inputs", official(shift_right(VOCABULARY, ids)))
    ref.exact("lm_tokens/targets", ids)
    ref.exact("lm_tokens/weights", torch.ones_like(ids))

    score, half = ref.tensor("mask_score"), torch.tensor([0.5])
    masked = batch.mask(score, half)
    ref.exact("weight_True/weights", masked.weights(WEIGHTS["mask+refine"]))
    ref.exact("weight_False/weights", masked.weights(WEIGHTS["mask+refine+recons"]))


def test_schedules(reference: References) -> None:
    ref = reference("h_mask.npz")
    progress = ref.tensor("schedule/ratio")
    for key in ref.keys("schedule/*/total*"):
        _, method, total = key.split("/")
        ref.compare(key, mask_ratio(method, progress, int(total.removeprefix("total"))), atol=1e-6)
    steps = torch.arange(1, 13, dtype=torch.float32) / 12
    for key in ref.keys("schedule12/*/ratio"):
        ratio = mask_ratio(key.split("/")[1], steps, 1024)
        ref.compare(key, ratio, atol=1e-6)
        ref.exact(key.replace("/ratio", "/floor_1024"), (1024 * ratio).floor().int())


def test_token_losses(reference: References) -> None:
    ref = reference("e_losses.npz")
    logits, labels, weights = ref.tensor("ce/logits"), ref.tensor("ce/labels"), ref.tensor("ce/weights")
    for key in ref.keys("ce/trainer_per_token/*"):
        case = key.rsplit("/", 1)[1]
        token_loss = cross_entropy(logits, labels, float(case.removeprefix("smoothing_")))
        ref.compare(key, token_loss)
        ref.compare(f"ce/trainer/{case}", sequence_loss(token_loss, weights))
        ref.compare(f"ce/losses_lib/{case}", sequence_loss(token_loss, weights))  # differs in its epsilon only
    ref.compare("ce/sequence_cross_entropy_loss", cross_entropy(logits, labels).mean())
