"""One training step of the masked transformer: `t_maskgvt_step.npz`."""

import pytest
import torch

from conformance.arrays import compare_gradient, l2_sum_projection, official_ids
from magvit.interop import official
from magvit.tasks import Vocabulary
from magvit.tasks.commit import commit_losses, cross_entropy, mask_tokens
from magvit.training.optim import gradient_norm

VOCABULARY = Vocabulary(64, num_classes=10, separate_inpainting_token=False)
TASKS = {"frame_prediction": ("frame_prediction", True), "outpainting_c": ("outpainting", False)}  # class-conditional
LOSSES = {"mask+refine+recons": ("refine", "mask", "reconstruct"), "mask+refine": ("refine", "mask")}


@pytest.mark.parametrize("weight_mode", LOSSES)
@pytest.mark.parametrize("task", TASKS)
def test_step(reference, task, weight_mode):
    ref = reference("t_maskgvt_step.npz")
    case = f"{task}/{weight_mode}"
    params = ref.inputs("params/")
    model = official.transformer(params, official.infer_transformer_config(params))

    tokens, cond_tokens = ref.tensor("inputs").long(), ref.tensor("cond_inputs").long()
    masked = mask_tokens(
        tokens,
        cond_tokens,
        ref.tensor(f"{case}/cond_mask").bool().expand_as(tokens),
        ref.tensor("mask_score"),
        ref.tensor(f"{case}/metrics/mask_ratio").expand(len(tokens)),
        mask_token_id=VOCABULARY.mask_token_id,
    )
    labels = ref.tensor("label").flatten().tolist()
    family, class_conditional = TASKS[task]
    prefix = torch.stack([VOCABULARY.prefix(family, label if class_conditional else None) for label in labels])
    uncond_prefix = torch.stack([VOCABULARY.prefix(family) for _ in labels])
    weights = masked.weights(LOSSES[weight_mode])
    for name, before, grid in (
        ("masked_inputs", prefix, masked.inputs),
        ("uncond_masked_inputs", uncond_prefix, masked.uncond_inputs),
        ("targets", prefix, masked.targets),
        ("segment_ids", torch.zeros_like(prefix), masked.segment_ids),
        ("weights", torch.zeros_like(prefix), weights.long()),
    ):
        ids = torch.cat([before, grid.flatten(1)], dim=1)
        ref.exact(f"{case}/{name}", official_ids(ids, VOCABULARY))

    logits = model(torch.cat([prefix, masked.inputs.flatten(1)], dim=1))
    ref.compare(f"{case}/logits", logits)
    codes = logits[:, prefix.shape[1] :, : VOCABULARY.codebook_size].view(*tokens.shape, -1)
    loss = commit_losses(cross_entropy(codes, masked.targets, 1e-4), masked, LOSSES[weight_mode]).total
    ref.compare(f"{case}/metrics/total_loss", loss)
    ref.compare(f"{case}/metrics/token_loss", loss)

    loss.backward()
    ref.relative(f"{case}/grad_norm_unclipped", gradient_norm(model.parameters()))
    compare_gradients(ref, f"{case}/grad_unclipped", model)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    ref.relative(f"{case}/metrics/grad_norm", gradient_norm(model.parameters()))
    compare_gradients(ref, f"{case}/grad_clipped_to_1", model)


def compare_gradients(ref, case, model):
    gradients = official.to_official(model, {name: parameter.grad for name, parameter in model.named_parameters()})
    for path, gradient in gradients.items():
        compare_gradient(ref, f"{case}/l2_sum_proj/{path}", l2_sum_projection(gradient))
