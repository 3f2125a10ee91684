import io
import random

from workers.storage.ranges import cut
from workers.storage.read_ahead import read_ahead

MIB = 1 << 20


def test_it_reads_what_a_file_in_memory_reads() -> None:
    data = random.Random(0).randbytes(40 * MIB)
    draw = random.Random(1)
    plain = io.BytesIO(data)
    with read_ahead(lambda offset, size: data[offset : offset + size], len(data)) as ahead:
        for _ in range(400):
            if draw.random() < 0.4:
                place = draw.randrange(len(data) + MIB)
                assert ahead.seek(place) == plain.seek(place)
            size = draw.choice([0, 1, 100, 300_000, 5 * MIB])
            if draw.random() < 0.3:
                assert ahead.readline(size) == plain.readline(size)
            else:
                assert ahead.read(size) == plain.read(size)
            assert ahead.tell() == plain.tell()


def test_nothing_beyond_the_end_is_asked_for_and_little_twice() -> None:
    size = 100 * MIB
    asked: list[tuple[int, int]] = []

    def fetch(offset: int, wanted: int) -> bytes:
        assert 0 < wanted <= size - offset
        asked.extend(cut(offset, offset + wanted))
        return bytes(wanted)

    with read_ahead(fetch, size) as file:
        while file.read(777_777):
            pass
    assert sum(stop - start for start, stop in asked) == size
    assert len(asked) == 12
    asked.clear()
    with read_ahead(fetch, size) as file:
        assert len(file.read(90 * MIB)) == 90 * MIB
    assert sum(stop - start for start, stop in asked) <= 98 * MIB
