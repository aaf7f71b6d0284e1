import pytest

from learning.flywheel_steps import FlywheelError, State, Step, pointsman, read_json


def test_a_step_that_is_done_is_not_done_again(tmp_path):
    done, said = [], []
    step = Step("one", lambda: done.append(1) or {"found": 7})
    State(tmp_path).run(step, said.append)
    again = State(tmp_path)
    again.run(step, said.append)
    assert done == [1]
    assert said == ["== one", "== one: done before"]
    assert again.found("one") == {"found": 7}


def test_a_step_that_failed_is_done_again(tmp_path):
    def fail():
        raise FlywheelError("no")

    with pytest.raises(FlywheelError):
        State(tmp_path).run(Step("one", fail), lambda line: None)
    with pytest.raises(FlywheelError, match="has not been done"):
        State(tmp_path).found("one")


def test_a_run_begins_anew_where_it_is_told_to(tmp_path):
    state, names = State(tmp_path), ["one", "two", "three"]
    for name in names:
        state.run(Step(name, dict), lambda line: None)
    state.begin_at("two", names)
    assert [one.name for one in state.done] == ["one"]


def test_a_command_that_fails_is_told_with_its_words(tmp_path):
    with pytest.raises(FlywheelError, match=r"pointsman spend: .*nowhere.yaml"):
        pointsman(tmp_path / "nowhere.yaml", "spend")


def test_the_object_is_found_behind_other_words():
    assert read_json('warning: x\n{"a": 1}\n') == {"a": 1}
