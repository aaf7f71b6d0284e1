import io
import json

from telemetry.logs import TEXT_CHARACTERS_MAX, Log, format_line, log


def test_writes_one_json_object_a_line():
    stream = io.StringIO()
    write = Log(stream, process="worker 0")
    write("backend_down", level="warning", backend="gpt-4", after_s=1.5)
    write.bind(node="n")("two\nlines", detail="a\nb")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["event"] == "backend_down"
    assert (first["level"], first["process"], first["after_s"]) == ("warning", "worker 0", 1.5)
    assert (second["node"], second["detail"]) == ("n", "a\nb")


def test_the_moment_is_utc_with_milliseconds():
    line = format_line("e", level="info", now_s=1_760_000_000.25, fields={})
    assert json.loads(line)["ts"] == "2025-10-09T08:53:20.250Z"


def test_bodies_do_not_leak_and_long_texts_are_cut():
    line = format_line("e", level="info", now_s=0, fields={"b": b"secret words", "t": "x" * 9999})
    assert "secret" not in line
    assert json.loads(line)["b"] == "<12 bytes>"
    assert len(json.loads(line)["t"]) == TEXT_CHARACTERS_MAX + 3


def test_a_closed_stream_loses_the_line_and_nothing_else():
    stream = io.StringIO()
    stream.close()
    Log(stream)("event")


def test_goes_to_standard_error_and_takes_any_value(capsys):
    log("started", path=io)
    assert json.loads(capsys.readouterr().err)["event"] == "started"
