"""Every policy that a recipe may name: the discriminated union is the registry."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import Field

from workers.policies.aria import Aria
from workers.policies.aya_vision import AyaVision
from workers.policies.cohere2_vision import Cohere2Vision
from workers.policies.deepseek_ocr2 import DeepSeekOCR2
from workers.policies.deepseek_vl import DeepSeekVL
from workers.policies.deepseek_vl2 import DeepSeekVL2
from workers.policies.docowl1_5 import DocOwl15
from workers.policies.emu3 import Emu3
from workers.policies.ernie4_5_vl import Ernie45VL
from workers.policies.fixed import Fixed
from workers.policies.gemma3 import Gemma3
from workers.policies.gemma4 import Gemma4
from workers.policies.glm4v import Glm4v
from workers.policies.hunyuan_vl import HunYuanVL
from workers.policies.idefics3 import Idefics3
from workers.policies.internvl import InternVL
from workers.policies.kimi_k25 import KimiK25
from workers.policies.kimi_vl import KimiVL
from workers.policies.lfm2_vl import Lfm2VL
from workers.policies.llama4 import Llama4
from workers.policies.llava15 import Llava15
from workers.policies.llava_hr import LlavaHR
from workers.policies.llava_next import LlavaNext
from workers.policies.llava_next_interleave import LlavaNextInterleave
from workers.policies.llava_next_video import LlavaNextVideo
from workers.policies.llava_onevision import LlavaOneVision
from workers.policies.llava_uhd import LlavaUHD
from workers.policies.minicpmv4_6 import MiniCPMV46
from workers.policies.mllama import Mllama
from workers.policies.molmo2 import Molmo2
from workers.policies.navit import NaViT
from workers.policies.nemotron_h_omni import NemotronHOmni
from workers.policies.nvlm_d import NVLMD
from workers.policies.oryx import Oryx
from workers.policies.ovis2 import Ovis2
from workers.policies.ovis2_5 import Ovis25
from workers.policies.paddleocr_vl import PaddleOCRVL
from workers.policies.perception_lm import PerceptionLM
from workers.policies.phi4_multimodal import Phi4Multimodal
from workers.policies.pixtral import Pixtral
from workers.policies.points1_0 import Points10
from workers.policies.points1_5 import Points15
from workers.policies.qwen2_vl import Qwen2VL
from workers.policies.siglip2_naflex import SigLIP2NaFlex
from workers.policies.video_llama_3 import VideoLlama3
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
    | SigLIP2NaFlex
    | Aria
    | AyaVision
    | Cohere2Vision
    | DeepSeekOCR2
    | Emu3
    | Ernie45VL
    | Gemma3
    | Gemma4
    | Glm4v
    | HunYuanVL
    | Idefics3
    | KimiK25
    | KimiVL
    | Lfm2VL
    | Llama4
    | MiniCPMV46
    | Mllama
    | Molmo2
    | NemotronHOmni
    | Ovis2
    | Ovis25
    | PaddleOCRVL
    | PerceptionLM
    | Phi4Multimodal
    | Pixtral
    | VideoLlama3,
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
