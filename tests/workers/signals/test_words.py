"""What is measured of a text."""

from __future__ import annotations

import pytest

from workers.signals.words import TextSignals, text_signals


def of(text: str) -> TextSignals:
    return text_signals([text], [])


def test_lengths() -> None:
    found = text_signals(["What is it?", "A cat, two dogs."], ["A cat, two dogs."])
    assert (found.chars, found.words, found.answer_chars) == (28, 7, 16)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The old bridge is closed because of the flood, and nobody knows for how long.", "en"),
        ("Die alte Brücke ist wegen des Hochwassers gesperrt, niemand weiß wie lange.", "de"),
        ("Le vieux pont est fermé à cause de la crue et personne ne sait pour combien.", "fr"),
        ("老桥因洪水关闭,没有人知道要关闭多久。", "zh"),
        ("1234 5678 !!", None),
        ("", None),
    ],
)
def test_language(text: str, language: str | None) -> None:
    assert of(text).language == language


def test_repetition() -> None:
    assert of("one two three four five six").repetition == 0.0
    assert of("buy it now " * 20).repetition > 0.9
    assert of("one two").repetition == 0.0


def test_residue_of_the_web() -> None:
    found = of('<a href="x">See</a> https://example.org/a?b=1 or www.example.com, 3 < 4 > 2')
    assert (found.urls, found.html_tags) == (2, 2)
    assert of("a < b and c > d").html_tags == 0


def test_patterns_of_personal_data_are_counted() -> None:
    found = of(
        "Write to jo.doe+x@mail.example.org or call +49 30 1234 5678 or (030) 1234-5678; "
        "card 4111 1111 1111 1111, not 4111 1111 1111 1112; host 192.168.0.1, not 1.2.3.400"
    )
    assert (found.emails, found.cards, found.ip_addresses) == (1, 1, 1)
    assert found.phones >= 2
    plain = of("In 2024 there were 1,200 of them; version 1.2.3.")
    assert (plain.emails, plain.phones, plain.cards, plain.ip_addresses) == (0, 0, 0, 0)


def test_special_characters() -> None:
    assert of("plain words only").special_ratio == 0.0
    assert of("#$%&").special_ratio == 1.0


@pytest.mark.parametrize("text", ["a" * 3_000_000, "<a " * 200_000, "1 " * 400_000, "a@" * 400_000])
@pytest.mark.timeout(20)
def test_hostile_texts_take_no_time(text: str) -> None:
    of(text)
