"""Tables of how backends spell scalar operations of the loop IR, in the language that they emit."""

from collections.abc import Mapping

Row = Mapping[str, str]  # by kind of dtype: "bool", "int", "uint", "float"


def row(common: str = "", **kinds: str) -> Row:
    """The same spelling for every kind that is not named.

    >>> row("and", float="")["float"], row("and", float="")["int"]
    ('', 'and')
    """
    return {"bool": common, "int": common, "uint": common, "float": common} | kinds
