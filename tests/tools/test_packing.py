import itertools

from hypothesis import given
from hypothesis import strategies as st

from tools.miniature.packing import pack

PADDING = -1


@given(st.lists(st.integers(2, 40), min_size=1, max_size=20), st.integers(40, 60))
def test_rows_hold_whole_documents_in_full(lengths, row):
    stream = ([number, *range(1, size)] for number, size in enumerate(itertools.cycle(lengths), 1000))
    for packed in itertools.islice(pack(stream, row, PADDING, "seed"), 20):
        assert len(packed) == row
        assert packed[0] >= 1000
        body = [token for token in packed if token != PADDING]
        assert packed[len(body) :] == [PADDING] * (row - len(body))
        assert row - len(body) < min(lengths) or row - len(body) < max(lengths)
        starts = [index for index, token in enumerate(body) if token >= 1000]
        for start, end in zip(starts, [*starts[1:], len(body)], strict=True):
            assert body[start + 1 : end] == list(range(1, end - start))
            assert end - start in lengths


def test_no_document_is_lost_or_repeated():
    stream = ([number] * (1 + number % 7) for number in itertools.count())
    rows = list(itertools.islice(pack(stream, 16, PADDING, "seed"), 500))
    seen = {token for row in rows for token in row if token != PADDING}
    counts = {number: sum(row.count(number) for row in rows) for number in seen}
    assert all(count == 1 + number % 7 for number, count in counts.items())


def test_documents_that_are_too_long_are_cut():
    assert next(pack(iter(lambda: [7] * 99, None), 10, PADDING, "seed")) == [7] * 10
