"""Modelled time: whole coefficients from the shapes of models."""

from __future__ import annotations

import numpy as np
import pytest

from workers.packing.profile import COSTS, Profile, profiles


def test_without_a_tower_it_is_the_constant_of_verl() -> None:
    # volcengine/verl seqlen_balancing.py: 24576 t + t^2 for 7B, 9216 t + t^2 for 1.5B
    for name, constant in (("7b", 24576), ("1.5b", 9216)):
        found = profiles()[name].coefficients
        assert (found.tokens, found.attention) == (constant, 1)
        assert (found.patches, found.vit_attention) == (0, 0)


@pytest.mark.parametrize("name", profiles())
def test_times_are_the_operations_of_the_shapes_up_to_a_factor(name: str) -> None:
    profile = profiles()[name]
    costs = {"tokens": 1000, "attention": 1000**2, "patches": 3600, "vit_attention": 3600**2}
    operations = 0
    for shape, length in ((profile.language, 1000), (profile.vision, 3600)):
        if shape:
            h = shape.hidden_size
            operations += shape.layers * (24 * h * h * length + 4 * h * length**2)
    arrays = [np.array([costs[cost]], np.int64) for cost in COSTS]
    [time] = profile.coefficients.time(*arrays).tolist()
    assert operations % time == 0


def test_coefficients_share_no_factor() -> None:
    one = Profile.model_validate({"language": {"layers": 2, "hidden_size": 64}})
    assert one.coefficients.as_json() == {
        "tokens": 6 * 64,
        "attention": 1,
        "patches": 0,
        "vit_attention": 0,
    }
