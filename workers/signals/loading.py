"""Loading a model of transformers for a signal: faults are told in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.errors import RecipeError

PIL: Mapping[str, Any] = {"backend": "pil"}
"""Of processors of pictures: the backend that is there everywhere."""


def loaded(key: str, directory: str, kind: Any, settings: Mapping[str, Any]) -> Any:
    """`kind.from_pretrained`, never with code that comes with a checkpoint.

    Raises RecipeError naming `key` where the files do not fit.
    """
    from safetensors import SafetensorError

    faults = (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError)
    try:
        return kind.from_pretrained(directory, trust_remote_code=False, **settings)
    except faults as error:
        why = " ".join(str(error).split())[:300]
        raise RecipeError(f"{key}: {directory}: {why}") from error


def loaded_model(key: str, directory: str, kind: Any, settings: Mapping[str, Any]) -> Any:
    """The same of a model, with every weight from the files: transformers fills what is missing, as
    the head of a checkpoint that is a tower alone, with random numbers.
    """
    wanted = {"use_safetensors": True, "output_loading_info": True}
    model, told = loaded(key, directory, kind, {**wanted, **settings})
    if missing := sorted(told["missing_keys"]):
        what = f"{len(missing)} weights of {type(model).__name__} are not in its files"
        raise RecipeError(f"{key}: {directory}: {what}: {missing[0]}, …")
    return model


def on_device(key: str, model: Any, device: str) -> Any:
    """The model there, in evaluation mode. Raises RecipeError for a device that is not."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RecipeError(f'{key}: there is no cuda here; device = "cpu" needs none')
    return model.to(device).eval().requires_grad_(requires_grad=False)
