"""`[[caption]]`: one pass over the samples that stay, asking a vision-language model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Task = Literal["caption", "transcribe", "questions", "needle", "translate"]

REPLACES: tuple[Task, ...] = ("caption", "transcribe", "translate")
"""Tasks whose answer takes the place of a text, where the others add turns."""

OPERATION = (
    "endpoint",
    "api_key_env",
    "concurrency",
    "timeout_s",
    "retries",
    "device",
    "batch",
    "num_gpus",
    "min_actors",
    "max_actors",
    "cpus",
)
"""Settings that say where and how fast, and so are no part of any digest."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WhenSignal(_Section):
    """Samples whose signal is below a value; a sample that lacks the signal is left alone."""

    signal: str
    below: float = Field(allow_inf_nan=False)

    @property
    def clause(self) -> str:
        """What fails for samples that are asked about."""
        return f"{self.signal} >= {self.below!r}"


class Caption(_Section):
    """Whom to ask about which samples, what, and what to do with the answers."""

    task: Task = "caption"
    sources: tuple[str, ...] = ()
    """Names of sources; by default all."""
    when: Literal["missing", "always"] | WhenSignal | None = None
    """`missing`: samples from which nothing is learned yet; by default so for `caption` and
    `transcribe`, and `always` for the others.
    """
    model: str = Field(min_length=1)
    """With an `endpoint` the name that it knows the model by, else the directory or hub id of a
    transformers image-text-to-text model, which runs in actors of the cluster.
    """
    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    """Of an OpenAI-compatible server, up to and with `/v1`."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the key; servers that want none need none."""
    prompt: str | None = None
    """A prompt file; by default the task's own in `workers/captioning/prompts`."""
    language: str | None = Field(default=None, pattern=r"^[a-z]{2}$")
    """ISO 639-1 code of the language to translate to."""
    max_tokens: int = Field(default=512, ge=1, le=2**17)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    max_pixels: int | None = Field(default=None, ge=28 * 28, le=2**26)
    """Of a picture as it is sent, which is never made larger; by default as many as the recipe's
    policy gives it.
    """
    frames: int = Field(default=8, ge=1, le=256)
    """Of a video, spread evenly over its clip."""
    length_ratio: tuple[float, float] = (0.2, 5.0)
    """Characters of a translation over those of its text, fewest and most."""
    keep: Literal["new", "better"] = "new"
    """`better`: of the old text and the new one that with the higher `score`, as CapFilt does."""
    score: str | None = None
    """A `[[signal]]` of the kind `similarity`."""
    rejected: Literal["original", "drop"] = "original"
    """What becomes of a sample whose answer is rejected, where it has a text of its own."""
    blank_share: float = Field(default=0.02, ge=0.0, le=1.0)
    """Share of the requests that are sent again with blank pictures."""
    max_blank_agreement: float = Field(default=0.1, ge=0.0, le=1.0)
    """The build fails if more than this share of them gives the same answer."""

    concurrency: int = Field(default=32, ge=1, le=4096)
    """Requests that wait for the endpoint at the same time."""
    timeout_s: float = Field(default=120.0, gt=0.0, le=86_400.0)
    """Of a request, from its start to the last byte of the answer."""
    retries: int = Field(default=6, ge=0, le=100)
    """Of a request that failed for reasons that may pass."""
    device: Literal["cuda", "cpu"] = "cuda"
    """Of a model in the cluster."""
    batch: int = Field(default=8, ge=1, le=1024)
    """Requests that it answers together."""
    num_gpus: float = Field(default=1.0, gt=0.0, le=8.0)
    min_actors: int = Field(default=1, ge=1, le=4096)
    max_actors: int = Field(default=1, ge=1, le=4096)
    cpus: int | None = Field(default=None, ge=1, le=1024)
    """Of an actor; by default an equal share of those that the cluster has."""

    @model_validator(mode="after")
    def _agrees(self) -> Caption:
        if self.max_actors < self.min_actors:
            raise ValueError("max_actors is below min_actors")
        if (self.task == "translate") != (self.language is not None):
            raise ValueError('task = "translate" and language belong together')
        if (self.task, self.when) == ("translate", "missing"):
            raise ValueError('when = "missing": without a text there is nothing to translate')
        if (self.keep == "better") != (self.score is not None):
            raise ValueError('keep = "better" and score belong together')
        if self.keep == "better" and self.task != "caption":
            raise ValueError(f'keep = "better" is for captions, not task = "{self.task}"')
        low, high = self.length_ratio
        if not 0.0 <= low < high:
            raise ValueError("length_ratio: the fewest are not below the most")
        return self

    @property
    def applies(self) -> Literal["missing", "always"] | WhenSignal:
        """`when`, or the task's own."""
        own = "missing" if self.task in ("caption", "transcribe") else "always"
        return self.when or own  # type: ignore[return-value]

    @property
    def shows(self) -> bool:
        """Whether the model is shown the media."""
        return self.task != "translate"
