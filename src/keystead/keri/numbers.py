"""Numbers as KERI fields carry them: lower-case hex text, one text for one number.

Source: KERI specification, "Sequence number field".
"""

from keystead.cesr.values import MAX_ORDINAL


def parse_hex(text: str) -> int | None:
    """Return the number that `text` writes canonically, None for any other text.

    Canonical is lower-case hex without leading zeros, sign, space or separator, up to 2^128 - 1.
    """
    try:
        number = int(text, 16)
    except ValueError:
        return None
    # Writing it again refuses every other spelling that `int` takes.
    return number if 0 <= number <= MAX_ORDINAL and f"{number:x}" == text else None
