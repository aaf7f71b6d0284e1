import msgspec

from policies.cell import Cell
from policies.cell_map import CellMap


def raw(cell):
    return msgspec.Raw(msgspec.msgpack.encode(cell))


def cell_with(tokens):
    cell = Cell()
    cell.output.add(tokens, 1.0)
    return cell


def test_cell_is_read_when_asked_for():
    cells = CellMap({"a": raw(cell_with(7))})
    assert cells.get("a").output.value == 7
    assert cells.get("a") is not cells.get("a")  # not kept: it would be memory for nothing
    assert cells.get("b") is None


def test_take_makes_what_is_not_there_and_keeps_what_is():
    cells = CellMap({"a": raw(cell_with(7))})
    assert cells.take("a").output.value == 7
    assert cells.take("b").output.count == 0
    assert cells.take("b") is cells.get("b")
    assert cells.take("a") is cells.get("a")


def test_cell_that_cannot_be_read_is_forgotten():
    cells = CellMap({"a": msgspec.Raw(b"\xc1")})
    assert cells.get("a") is None
    assert cells.written() == {}
    assert cells.take("a").output.count == 0


def test_everything_is_written_read_or_not():
    cells = CellMap({"a": raw(cell_with(7)), "b": raw(cell_with(8))})
    cells.take("a").output.add(9, 1.0)
    written = msgspec.msgpack.encode(cells.written())
    again = CellMap(msgspec.msgpack.decode(written, type=dict[str, msgspec.Raw]))
    assert again.get("a").output.value == 8
    assert again.get("b").output.value == 8
