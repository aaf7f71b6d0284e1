"""Telling a head that was parsed before by its bytes, whichever way it goes.

Clients repeat the head of a request and model servers that of an answer, but for the length.
Where all the rest is equal to the byte, what was found good then is good now, and llhttp need
not look again. Only a message that lies whole in one read counts, now and when its head was
first seen: half a head would match what another peer sends behind it.
"""

LENGTH_DIGITS_MAX = 9
_LENGTH = b"\r\nContent-Length: "
_LENGTH_LOWER = b"\r\ncontent-length: "

Cut = tuple[bytes, int, int, int]
"""A head without its length, that length, where the body begins, and where the length stood."""


def cut(data: bytes, hint: int = 0) -> Cut | None:
    """`data` taken apart; None where it holds no whole head with a plain length.

    `hint` is where the length stood in the message before, most often where it stands again:
    then only what is behind it is searched. The head may have ended before it; `is_one_head`
    keeps a key made so from ever being remembered.
    """
    start = hint
    if not data.startswith(_LENGTH, hint) and not data.startswith(_LENGTH_LOWER, hint):
        end = data.find(b"\r\n\r\n")
        if (start := data.find(_LENGTH, 0, end)) < 0:
            start = data.find(_LENGTH_LOWER, 0, end)
        if end < 0 or start < 0:
            return None
    value = start + len(_LENGTH)
    stop = data.find(b"\r\n", value)
    digits = data[value:stop]
    end = data.find(b"\r\n\r\n", stop)
    if stop < 0 or end < 0 or len(digits) > LENGTH_DIGITS_MAX or not digits.isdigit():
        return None
    return data[:start] + data[stop:end], int(digits), end + 4, start


def is_one_head(key: bytes) -> bool:
    """Whether a key was cut from one head, and not from a head and some of its body."""
    return b"\r\n\r\n" not in key + b"\r\n"
