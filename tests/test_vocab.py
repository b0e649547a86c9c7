from typing import get_args

import pytest

from magvit.tasks import TaskFamily, Vocabulary


def test_the_released_layouts() -> None:
    assert Vocabulary(1024, num_classes=101, num_special=1).size == 1024 + 102 + 1
    assert Vocabulary(1024, num_special=1).size == 1026
    vocabulary = Vocabulary(1024)
    assert vocabulary.size == 1041
    assert vocabulary.mask_token_id == 1040
    assert vocabulary.sep_token_id == 1039
    assert vocabulary.pad_token_id == 1041 - 15
    assert vocabulary.task_token_id("full_generation") == 1041 - 3
    assert vocabulary.task_token_id("inpainting") == 1041 - 7


@pytest.mark.parametrize("num_special", [1, 16])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_no_id_has_two_meanings(num_special: int, num_classes: int) -> None:
    vocabulary = Vocabulary(5, num_classes, num_special)
    ids = [*range(5), *(vocabulary.class_token_id(label) for label in [*range(num_classes), None])]
    ids.append(vocabulary.mask_token_id)
    if vocabulary.is_multi_task:
        ids += [vocabulary.sep_token_id, vocabulary.pad_token_id]
        ids += [vocabulary.task_token_id(family) for family in get_args(TaskFamily)]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(range(vocabulary.size))
    assert ids[: 5 + num_classes + 1] == list(range(5 + num_classes + 1))


def test_inpainting_token_of_the_paper_and_of_the_release() -> None:
    paper, release = Vocabulary(8), Vocabulary(8, separate_inpainting_token=False)
    assert paper.task_token_id("inpainting") != paper.task_token_id("outpainting")
    assert release.task_token_id("inpainting") == release.task_token_id("outpainting")
    assert release.size == paper.size


def test_prefix() -> None:
    multi, single = Vocabulary(8, num_classes=3), Vocabulary(8, num_classes=3, num_special=1)
    assert multi.prefix("frame_prediction", 2).tolist() == [multi.size - 4, 10]
    assert multi.prefix("frame_prediction").tolist() == [multi.size - 4, 11]
    assert single.prefix("full_generation", 0).tolist() == [8]
    for vocabulary in (multi, single):
        assert len(vocabulary.prefix("full_generation")) == vocabulary.prefix_length


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_out_of_range(label: int) -> None:
    with pytest.raises(ValueError, match=f"label is {label}, expected 0 to 2"):
        Vocabulary(8, num_classes=3).prefix("full_generation", label)
    with pytest.raises(ValueError, match="the model has no classes"):
        Vocabulary(8).class_token_id(label)


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="codebook_size is 0"):
        Vocabulary(0)
    with pytest.raises(ValueError, match="num_classes is -1"):
        Vocabulary(8, -1)
    with pytest.raises(ValueError, match="num_special is 5, expected 16"):
        Vocabulary(8, num_special=5)


def test_a_single_task_vocabulary_has_the_mask_only() -> None:
    """Its separator is the row of the unconditional class, as the official -2 is; nobody sees its padding."""
    single = Vocabulary(8, num_special=1)
    with pytest.raises(ValueError, match="no task token"):
        single.task_token_id("outpainting")
    assert (single.size, single.mask_token_id, single.pad_token_id) == (10, 9, 9)
    assert single.sep_token_id == single.class_token_id(None) == 8
