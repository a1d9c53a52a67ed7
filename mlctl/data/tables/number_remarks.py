"""What was done to read the numbers of a column, each in a few words."""

from __future__ import annotations

from mlctl.data.tables.number_columns import NumberColumn
from mlctl.domain.column_reading import ColumnReading, as_text
from mlctl.domain.short_texts import list_some


def how_numbers_are_read(numbers: NumberColumn) -> tuple[str, ...]:
    """Return what was done to read a column's numbers."""
    remarks = []
    units = list(numbers.units)
    factors = numbers.reading.factors
    for cell in numbers.forms.values():
        remarks.append(f"{cell} is read as {_value_and_unit(numbers.reading, cell)}")
    scaled = [unit for unit in units if factors.get(unit, 1.0) not in (1.0, -1.0)]
    if negative := [unit for unit in units if factors.get(unit, 1.0) == -1.0]:
        remarks.append(f"numbers with {' or '.join(negative[:4])} are read as negative")
    if scaled and numbers.reading.unit:
        named = " and ".join(units[:4])
        remarks.append(f"units {named}, read as {numbers.reading.unit}")
    elif scaled:
        example = scaled[0]
        remarks.append(f"1 {example} is read as {as_text(factors[example])}")
    elif units and not numbers.forms:
        remarks.append(f"unit{'s' if len(units) > 1 else ''} {' and '.join(units[:4])} removed")
    if numbers.reading.decimal == ",":
        remarks.append("decimal commas" + (", points between thousands" if numbers.reading.thousands else ""))
    if numbers.is_ambiguous and numbers.reading.thousands == ",":
        remarks.append("commas stand between thousands")
    if numbers.is_spaced:
        remarks.append("spaces or apostrophes between thousands removed")
    if numbers.bounds:
        value = numbers.reading.read_number(numbers.bound)
        cells = "1 cell" if numbers.bounds == 1 else f"{numbers.bounds:,} cells"
        remarks.append(f"bounds are read as their number: {numbers.bound} as {as_text(value)} ({cells})")
    return tuple(remarks)


def missing_numbers(numbers: NumberColumn) -> tuple[str, ...]:
    """Return which words among a column's numbers are missing values."""
    remarks = []
    if numbers.gaps:
        listed = ", ".join(list(numbers.gaps)[:4])
        remarks.append(f"{listed} {'is' if len(numbers.gaps) == 1 else 'are'} read as missing")
    if numbers.words:
        listed = list_some([repr(word) for word in numbers.words], 3)
        verb = "is no number" if len(numbers.words) == 1 else "are no numbers"
        remarks.append(f"{listed} {verb}: read as missing")
    return tuple(remarks)


def _value_and_unit(reading: ColumnReading, cell: str) -> str:
    unit = "" if reading.unit.startswith("/") else reading.unit
    return f"{as_text(reading.read_number(cell))} {unit}".strip()
