import json

from learning.capture_questions import draw_questions, question_of
from learning.captured import EVERYTHING, Selection, captured
from tests.learning.test_label_store import keep as keep_label
from tests.learning.test_label_store import label
from tests.support.records import keep, make_record


def asking(n, **changes):
    body = {"model": "auto", "messages": [{"role": "user", "content": f"q{n}"}], "stream": True}
    return make_record(request=json.dumps(body).encode(), conversation=f"c{n}", **changes)


def test_a_sample_is_the_same_every_time_and_grows(tmp_path):
    keep(tmp_path, [asking(n) for n in range(50)])
    few, many = (draw_questions(tmp_path, EVERYTHING, sample=n) for n in (5, 20))
    assert [q.id for q in few] == [q.id for q in many[:5]]
    assert few == draw_questions(tmp_path, EVERYTHING, sample=5)
    assert few != draw_questions(tmp_path, EVERYTHING, sample=5, seed=1)
    assert len({q.id for q in many}) == 20


def test_captures_that_ask_the_same_are_asked_once(tmp_path):
    keep(tmp_path, [asking(1), asking(1), asking(2)])
    assert len(draw_questions(tmp_path, EVERYTHING, sample=9)) == 2


def test_what_cannot_be_asked_is_left_out(tmp_path):
    keep(
        tmp_path,
        [asking(1, capture="metadata"), asking(2, api="embeddings"), make_record(request=b"{}")],
    )
    assert draw_questions(tmp_path, EVERYTHING, sample=9) == []


def test_the_right_answer_comes_from_the_labels(tmp_path):
    keep(tmp_path, [asking(n) for n in range(30)])
    assert draw_questions(tmp_path, EVERYTHING, sample=9, needs_label=True) == []
    row = next(captured(tmp_path))
    keep_label(tmp_path, label("1", "42", input_hash=bytes(row.input_hash)))
    (question,) = draw_questions(tmp_path, EVERYTHING, sample=9, needs_label=True)
    assert (question.id, question.expected, question.answer) == (row.id, "42", "1250.10")
    assert question.body == {"messages": [{"role": "user", "content": "q0"}]}


def test_a_selection_narrows_the_draw(tmp_path):
    keep(tmp_path, [asking(1, route="a"), asking(2, route="b")])
    drawn = draw_questions(tmp_path, Selection(where="route = 'a'"), sample=9)
    assert [q.conversation for q in drawn] == ["c1"]


def test_a_failed_answer_is_no_answer(tmp_path):
    keep(tmp_path, [asking(1, status="error", complete=False)])
    question = question_of(next(captured(tmp_path)))
    assert question is not None
    assert question.answer is None
