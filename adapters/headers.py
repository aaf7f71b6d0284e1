"""Which headers go on: allow-lists, so that what nobody thought of stays behind.

Above all the client's own key, its cookies and whatever a proxy before us has added never leave
(WIRE section 5). Header names are in lower case.
"""

from collections.abc import Iterable

Header = tuple[bytes, bytes]


class HeaderRule:
    """One allow-list: whole names and beginnings of names, less the names in `never`.

    `defaults` are sent where the other side said nothing of that name.
    """

    __slots__ = ("_defaults", "_names", "_never", "_prefixes")

    def __init__(
        self,
        names: frozenset[bytes],
        prefixes: tuple[bytes, ...] = (),
        *,
        never: frozenset[bytes] = frozenset(),
        defaults: tuple[Header, ...] = (),
    ) -> None:
        self._names = names
        self._prefixes = prefixes
        self._never = never
        self._defaults = defaults

    def kept(
        self, headers: Iterable[Header], dropped: frozenset[bytes] = frozenset()
    ) -> list[Header]:
        """The headers that go on, in their order; `dropped` are those `Connection` named."""
        names, prefixes, never = self._names, self._prefixes, self._never
        kept = [
            header
            for header in headers
            if (header[0] in names or header[0].startswith(prefixes))
            and header[0] not in never
            and header[0] not in dropped
        ]
        for header in self._defaults:
            if not any(name == header[0] for name, _ in kept):
                kept.append(header)
        return kept

    def lines(self, headers: Iterable[Header], dropped: frozenset[bytes] = frozenset()) -> bytes:
        """The same as the lines of a head."""
        return b"".join([b"%b: %b\r\n" % header for header in self.kept(headers, dropped)])
