"""A tokenizer's own chat template, so applied that no text can become a special token.

1. Render the conversation with a sentinel for every part (`chat_messages`).
2. Cut the render at the sentinels, and the template's own text at the names of special tokens.
3. An assistant's text is learned, and what the template puts after it up to its first special
   token; only what a render that ends with this message shows too, so never the next one's opening.
4. Where the template strips the content of messages, so is the real text.

A render takes about 0.1 ms; one is kept for each shape of conversation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from schemas.errors import RecipeError
from workers.chat_messages import SENTINEL, Message, Shape, as_lists, as_strings
from workers.script import Script
from workers.tokenizer_protocol import Tokenizer
from workers.turns import Turn


class Strip(NamedTuple):
    """Blanks that a special token swallows on its sides."""

    left: bool
    right: bool


class TemplateRefusalError(Exception):
    """The template itself says that it does not take such a conversation."""


class Step(NamedTuple):
    """One piece of a render: template text, a special token, or a part of the conversation."""

    kind: str  # text | special | part
    text: str = ""
    learn: bool = False
    strip: Strip = Strip(False, False)


class ChatTemplate:
    """`render` is the template; `specials` are the names that it may write as special tokens."""

    def __init__(
        self,
        name: str,
        render: Callable[[Sequence[Message]], str],
        specials: Mapping[str, Strip],
    ) -> None:
        self._name, self._render, self._specials = name, render, specials
        names = "|".join(re.escape(name) for name in sorted(specials, key=len, reverse=True))
        self._cut = re.compile(f"({names})") if names else re.compile("(?!)")
        self._steps = lru_cache(maxsize=4096)(self._learned_steps)

    def write(self, turns: Sequence[Turn], tokenizer: Tokenizer) -> Script:
        """The conversation as the template renders it.

        Raises TemplateRefusalError where the template raises, RecipeError where it loses a part.
        """
        turns = [Turn(turn.role, turn.parts or [""]) for turn in turns]
        parts = iter([(part, turn.learned) for turn in turns for part in turn.parts])
        script = Script(tokenizer.special)
        for step in self._steps(tuple((turn.role, len(turn.parts)) for turn in turns)):
            if step.kind == "text":
                script.text(step.text, learn=step.learn)
            elif step.kind == "special":
                script.special(tokenizer.special(step.text), learn=step.learn)
            else:
                part, learn = next(parts)
                said = _stripped(part, step.strip) if isinstance(part, str) else part
                script.part(said, learn=learn)
        return script

    def _learned_steps(self, shape: Shape) -> list[Step]:
        steps = self._rendered(shape)
        places = _parts(steps)
        last = -1
        for message, (role, count) in enumerate(shape):
            last += count
            if role == "assistant":
                alone = self._rendered(shape[: message + 1])
                after = places[last] + 1
                end = after + _closing(steps[after:], alone[_parts(alone)[-1] + 1 :])
                steps[after:end] = [step._replace(learn=True) for step in steps[after:end]]
        return steps

    def _rendered(self, shape: Shape) -> list[Step]:
        """The render cut into steps; content is a string, or a list where that loses a part."""
        problem: Exception | None = None
        numbers = list(range(sum(count for _, count in shape)))
        for messages in (as_strings(shape), as_lists(shape)):
            try:
                rendered = self._render(messages)
            except (TemplateRefusalError, RecipeError) as error:
                problem = problem or error
                continue
            if [int(found[2]) for found in SENTINEL.finditer(rendered)] == numbers:
                return list(self._cut_render(rendered))
        roles = ", ".join(role for role, _ in shape)
        raise problem or RecipeError(
            f"chat template of {self._name} drops, reorders or repeats a message (roles {roles}): "
            'set template = "chatml" or leave such conversations out'
        )

    def _cut_render(self, rendered: str) -> Iterator[Step]:
        pieces = SENTINEL.split(rendered)  # text, blank, number, blank, text, …
        yield from self._cut_text(pieces[0])
        for left, right, text in zip(pieces[1::4], pieces[3::4], pieces[4::4], strict=True):
            yield Step("part", strip=Strip(not left, not right))
            yield from self._cut_text(text)

    def _cut_text(self, text: str) -> Iterator[Step]:
        pieces = self._cut.split(text)  # text, name, text, …
        for index, piece in enumerate(pieces):
            if index % 2:
                yield Step("special", piece)
                continue
            before = index > 0 and self._specials[pieces[index - 1]].right
            after = index + 1 < len(pieces) and self._specials[pieces[index + 1]].left
            if kept := _stripped(piece, Strip(before, after)):
                yield Step("text", kept)


def _closing(after: Sequence[Step], alone: Sequence[Step]) -> int:
    """How many steps after an assistant's text close its turn: up to the first special token."""
    for count, (step, closing) in enumerate(zip(after, alone, strict=False), start=1):
        if step != closing:
            break
        if step.kind == "special":
            return count
    return 0


def _parts(steps: Sequence[Step]) -> list[int]:
    return [index for index, step in enumerate(steps) if step.kind == "part"]


def _stripped(text: str, strip: Strip) -> str:
    text = text.lstrip() if strip.left else text
    return text.rstrip() if strip.right else text
