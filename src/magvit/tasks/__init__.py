"""The tasks: what they show of a clip, how tokens are masked, which ids the sequence uses."""

from magvit.tasks.commit import (
    ALL_LOSSES,
    CommitLosses,
    LossRegion,
    MaskedTokens,
    MaskMode,
    apply_mask,
    commit_losses,
    cross_entropy,
    mask_tokens,
    sample_mask_ratio,
    sample_mask_score,
    sequence_loss,
)
from magvit.tasks.conditions import Condition
from magvit.tasks.registry import EIGHT_TASKS, TASKS, TEN_TASKS, Task, get_task, without_class
from magvit.tasks.schedule import mask_ratio
from magvit.tasks.sequence import SequenceLayout, lay_out, sequence_length, shift_right
from magvit.tasks.vocab import TaskFamily, Vocabulary

__all__ = [
    "ALL_LOSSES",
    "EIGHT_TASKS",
    "TASKS",
    "TEN_TASKS",
    "CommitLosses",
    "Condition",
    "LossRegion",
    "MaskMode",
    "MaskedTokens",
    "SequenceLayout",
    "Task",
    "TaskFamily",
    "Vocabulary",
    "apply_mask",
    "commit_losses",
    "cross_entropy",
    "get_task",
    "lay_out",
    "mask_ratio",
    "mask_tokens",
    "sample_mask_ratio",
    "sample_mask_score",
    "sequence_length",
    "sequence_loss",
    "shift_right",
    "without_class",
]
