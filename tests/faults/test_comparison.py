"""The comparison that all fault tests rest on must itself see every kind of loss."""

import pytest

from tests.support.queue_content import compare

SENT = [[1, 2, 3, 4], [], [5, 6, 7]]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("delivered", "missing", "doubled", "misplaced", "unread"),
    [
        ([1, 2, 3, 4, 5, 6, 7], [], [], [], 0),
        ([1, 2, 5, 6], [], [], [], 3),
        ([], [], [], [], 7),
        ([1, 3, 5], [2], [], [], 3),
        ([1, 2, 6], [5], [], [], 3),
        ([1, 2, 2, 3], [], [2], [], 4),
        ([1, 2, 1], [], [1], [1], 5),
        ([1, 3, 2], [], [], [2], 4),
        ([1, 5, 2], [], [], [2], 4),
        ([1, 9], [], [], [9], 6),
    ],
    ids=["all", "prefixes", "nothing", "hole", "late start", "double", "replay", "swapped", "across connections", "never sent"],
)
def test_a_comparison_sees_what_is_missing_doubled_and_out_of_order(delivered, missing, doubled, misplaced, unread):
    found = compare(delivered, SENT)
    assert (found.missing, found.doubled, found.misplaced, found.unread) == (missing, doubled, misplaced, unread)
    assert found.exact is not bool(missing or doubled or misplaced)
