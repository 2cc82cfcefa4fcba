"""The book's order, its texts, and the checksum against the venue's own example."""

import pytest

from ingest.tools.simulate.book import Book, Instrument, Side
from tests.support.kraken import GUIDE_ASKS, GUIDE_BIDS, GUIDE_CHECKSUM, checksum, pairs

BTC = Instrument("BTC/USD", price_decimals=1, qty_decimals=8, start=450_000)


def filled(*, best_last: bool = False) -> Book:
    book = Book(BTC)
    for side, text in ((book.asks, GUIDE_ASKS), (book.bids, GUIDE_BIDS)):
        for price, qty in sorted(pairs(text), reverse=best_last):
            side.set(int(price.replace(".", "")), int(qty.replace(".", "")))
    return book


@pytest.mark.parametrize("best_last", [False, True])
def test_the_checksum_of_the_venues_example(best_last: bool):
    assert filled(best_last=best_last).checksum() == GUIDE_CHECKSUM
    assert checksum(pairs(GUIDE_ASKS), pairs(GUIDE_BIDS)) == GUIDE_CHECKSUM  # the tests' own reading of the rule, too


def test_levels_are_best_first():
    book = filled()
    assert [level.price for level in book.asks.levels][:3] == [452852, 452864, 452866]
    assert [level.price for level in book.bids.levels][:3] == [452835, 452834, 452821]
    assert book.spread == 17


def test_a_level_is_written_with_all_its_decimals():
    book = filled()
    assert book.asks.levels[0].text == '{"price":45285.2,"qty":0.00100000}'
    assert book.asks.levels[0].digits == "452852100000"
    small = Side(Instrument("X/Y", 4, 8, 1), "asks").level(7, 12)
    assert (small.text, small.digits) == ('{"price":0.0007,"qty":0.00000012}', "712")
    whole = Side(Instrument("X/Y", 0, 0, 1), "asks").level(7, 12)
    assert whole.text == '{"price":7.0,"qty":12.0}'


def test_setting_and_removing_tell_the_place():
    book = filled()
    assert book.asks.set(452852, 5) == 0
    assert book.asks.levels[0].qty == 5
    assert book.asks.set(452860, 5) == 1
    assert book.bids.set(452836, 5) == 0
    assert book.bids.set(1, 5) == 11
    assert book.asks.remove(1).price == 452860
    assert len(book.asks.levels) == 10


def test_the_checksum_follows_the_ten_best_and_no_others():
    book = filled()
    book.bids.set(452700, 1)  # the eleventh
    assert book.checksum() == GUIDE_CHECKSUM
    book.bids.remove(0)  # now it is the tenth
    without_the_best = [*pairs(GUIDE_BIDS)[1:], ("45270.0", "0.00000001")]
    assert book.checksum() == checksum(pairs(GUIDE_ASKS), without_the_best)


def test_further_is_worse_on_either_side():
    book = filled()
    assert book.asks.further(100, 3) == 103
    assert book.bids.further(100, 3) == 97
    assert book.asks.gap_before(1) == 12
    assert book.bids.gap_before(1) == 1
