"""What the bars of a distribution are called."""

import math

from dashboards.pages.feature import bar


def test_a_bar_of_one_value_is_called_by_it_and_others_by_their_range() -> None:
    assert bar(1, 2, discrete=True) == "1.00"
    assert bar(1, 2, discrete=False) == "1.00 to 2.00"
    assert bar(10, math.nextafter(10, 11), discrete=False) == "10.0"
