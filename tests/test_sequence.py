"""What a transformer reads, and that a shorter sequence in a batch is what it is alone."""

import pytest
import torch

from magvit.tasks import SequenceLayout, Vocabulary, lay_out, sequence_length, shift_right
from magvit.transformer import MaskedTransformer, TransformerConfig

VOCABULARY = Vocabulary(codebook_size=8, num_classes=3)
MASK, SEP, PAD = VOCABULARY.mask_token_id, VOCABULARY.sep_token_id, VOCABULARY.pad_token_id
TOKENS = torch.arange(8).view(1, 2, 2, 2).repeat(2, 1, 1, 1)
GIVEN = torch.stack([TOKENS[0] % 3 == 0, TOKENS[0] < 0])  # tokens 0, 3, 6 of the first, none of the second
FP, CG = VOCABULARY.task_token_id("frame_prediction"), VOCABULARY.task_token_id("full_generation")


def layout(mode="commit", labels=(None, 2)) -> SequenceLayout:
    return lay_out(VOCABULARY, ["frame_prediction", "full_generation"], labels, TOKENS, GIVEN, mode)


@pytest.mark.parametrize("mode", ["commit", "latent_input", "latent_condition"])
def test_task_and_class_stand_before_the_latents(mode):
    made = layout(mode)
    assert made.ids.tolist() == [[FP, 11, *[MASK] * 8], [CG, 10, *[MASK] * 8]]
    assert made.fill(TOKENS + 1).tolist() == [[FP, 11, *range(1, 9)], [CG, 10, *range(1, 9)]]
    assert made.segments(torch.ones_like(TOKENS)).tolist() == [[0, 0, *[1] * 8]] * 2
    assert made.visible is None
    assert made.ids.shape[1] == sequence_length(VOCABULARY, 8, mode)


def test_a_condition_prefix_holds_the_given_tokens_alone():
    made = layout("prefix")
    assert made.fill(TOKENS).tolist() == [
        [FP, 11, 0, 3, 6, SEP, *range(8)],
        [CG, 10, SEP, *range(8), PAD, PAD, PAD],
    ]
    assert made.visible.tolist() == [[True] * 14, [True] * 11 + [False] * 3]
    assert made.ids.shape[1] == sequence_length(VOCABULARY, 8, "prefix", num_given=3)
    values = made.fill(TOKENS)[..., None]
    assert torch.equal(made.of_latents(values)[..., 0], TOKENS.flatten(1))


def test_equally_long_prefixes_need_no_filling():
    made = lay_out(VOCABULARY, ["outpainting"] * 2, [None] * 2, TOKENS, GIVEN[:1].expand(2, -1, -1, -1), "prefix")
    assert made.visible is None
    assert torch.equal(made.of_latents(made.fill(TOKENS)[..., None])[..., 0], TOKENS.flatten(1))


def test_bair_makes_sequences_of_the_papers_lengths():
    """1,024 latent tokens, and up to 768 of the condition (Table 5)."""
    vocabulary = Vocabulary(1024)
    assert sequence_length(vocabulary, 1024, "prefix", 768) - vocabulary.prefix_length - 1 == 1792
    assert sequence_length(vocabulary, 1024, "commit") == 1026


def test_a_shorter_sequence_is_what_it_is_alone():
    """Nothing attends to what fills it up, and its positions do not move; in float64, where rounding hides nothing."""
    torch.manual_seed(0)
    network = (
        MaskedTransformer(
            TransformerConfig(
                vocab_size=VOCABULARY.size, max_length=14, hidden_size=16, num_layers=2, num_heads=2, mlp_size=32
            )
        )
        .eval()
        .double()
    )
    for parameter in network.parameters():
        parameter.data.mul_(10)
    together = layout("prefix")
    found = together.of_latents(network(together.fill(TOKENS), None, together.visible))
    for sample, (family, label) in enumerate((("frame_prediction", None), ("full_generation", 2))):
        one = slice(sample, sample + 1)
        alone = lay_out(VOCABULARY, [family], [label], TOKENS[one], GIVEN[one], "prefix")
        assert alone.visible is None
        torch.testing.assert_close(found[one], alone.of_latents(network(alone.fill(TOKENS[one]))), rtol=0, atol=1e-10)


def test_sequences_of_a_single_task_begin_with_the_class():
    single = Vocabulary(8, num_special=1)
    assert lay_out(single, ["frame_prediction"] * 2, [None] * 2, TOKENS, GIVEN).ids[:, 0].tolist() == [8, 8]
    made = lay_out(single, ["frame_prediction"] * 2, [None] * 2, TOKENS, GIVEN, "prefix")
    assert made.fill(TOKENS).tolist() == [[8, 0, 3, 6, 8, *range(8)], [8, 8, *range(8), 9, 9, 9]]


def test_shift_right():
    shifted = shift_right(Vocabulary(8, num_special=1), torch.tensor([[3, 4, 5], [6, 7, 0]]))
    assert shifted.tolist() == [[9, 3, 4], [9, 6, 7]]
