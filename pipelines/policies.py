"""Every policy that a recipe may name: the discriminated union is the registry."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import Field

from workers.policies.deepseek_vl import DeepSeekVL
from workers.policies.deepseek_vl2 import DeepSeekVL2
from workers.policies.docowl1_5 import DocOwl15
from workers.policies.fixed import Fixed
from workers.policies.internvl import InternVL
from workers.policies.llava15 import Llava15
from workers.policies.llava_hr import LlavaHR
from workers.policies.llava_next import LlavaNext
from workers.policies.llava_next_interleave import LlavaNextInterleave
from workers.policies.llava_next_video import LlavaNextVideo
from workers.policies.llava_onevision import LlavaOneVision
from workers.policies.llava_uhd import LlavaUHD
from workers.policies.navit import NaViT
from workers.policies.nvlm_d import NVLMD
from workers.policies.oryx import Oryx
from workers.policies.points1_0 import Points10
from workers.policies.points1_5 import Points15
from workers.policies.qwen2_vl import Qwen2VL
from workers.policies.siglip2_naflex import SigLIP2NaFlex
from workers.policies.xcomposer_hd import XComposerHD

PolicyConfig = Annotated[
    Fixed
    | Llava15
    | LlavaHR
    | DeepSeekVL
    | InternVL
    | NVLMD
    | LlavaNext
    | LlavaNextVideo
    | LlavaNextInterleave
    | LlavaOneVision
    | Oryx
    | Qwen2VL
    | NaViT
    | Points10
    | Points15
    | LlavaUHD
    | DocOwl15
    | XComposerHD
    | DeepSeekVL2
    | SigLIP2NaFlex,
    Field(discriminator="kind"),
]
"""Every policy that a recipe may name: a new one is a file in `workers/policies/` and a name here.
"""


def policy_kinds() -> dict[str, type[Any]]:
    """Each kind of the union and its model, in the order of the union."""
    members = get_args(get_args(PolicyConfig)[0])
    return {
        kind: model for model in members for kind in get_args(model.model_fields["kind"].annotation)
    }
