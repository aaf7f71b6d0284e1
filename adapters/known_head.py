"""Telling a head that was parsed before by its bytes, whichever way it goes.

Clients repeat the head of a request and model servers that of an answer, but for the length.
Where all the rest is equal to the byte, what was found good then is good now, and llhttp need
not look again. Only a message that lies whole in one read counts, now and when its head was
first seen: half a head would match what another peer sends behind it.
"""

LENGTH_DIGITS_MAX = 9
_LENGTH = b"\r\nContent-Length: "
_LENGTH_LOWER = b"\r\ncontent-length: "

Cut = tuple[bytes, int, int]
"""A head without its length, that length, and where the body begins."""


def cut(data: bytes) -> Cut | None:
    """`data` taken apart; None where it holds no whole head with a plain length."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    start = data.find(_LENGTH, 0, end)
    if start < 0 and (start := data.find(_LENGTH_LOWER, 0, end)) < 0:
        return None
    value = start + len(_LENGTH)
    stop = data.find(b"\r\n", value, end + 2)
    digits = data[value:stop]
    if not digits.isdigit() or len(digits) > LENGTH_DIGITS_MAX:
        return None
    return data[:start] + data[stop:end], int(digits), end + 4
