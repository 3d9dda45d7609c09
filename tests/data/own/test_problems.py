from segjax.data.own.problems import KINDS


def test_every_kind_of_problem_has_words():
    assert all(kind.headline and kind.advice for kind in KINDS.values())
    assert {kind.level for kind in KINDS.values()} == {"error", "fault", "notice"}
