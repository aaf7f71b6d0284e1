from proxy.cli.progress import progress_bar, progress_steps


def test_counts_where_nobody_watches(capsys) -> None:
    for is_bytes in (False, True):
        with progress_bar("counting", is_bytes=is_bytes) as advance:
            advance(1, 2)
    with progress_steps() as step:
        step("reading", 1, 2)
    assert capsys.readouterr().out == ""
