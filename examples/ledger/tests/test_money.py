import pytest
from ledger.money import format_amount, parse_amount


@pytest.mark.parametrize(
    ("text", "cents"), [("12", 1200), ("3.05", 305), ("-3.50", -350), ("1,200.00", 120000), (" 7 ", 700)]
)
def test_amounts_are_read_as_cents(text: str, cents: int) -> None:
    assert parse_amount(text) == cents


@pytest.mark.parametrize("text", ["", "12.5", "1,20", "three", "--4"])
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        parse_amount(text)


def test_amounts_are_written_with_two_decimals() -> None:
    assert format_amount(120005) == "1,200.05"
    assert format_amount(-350) == "-3.50"
