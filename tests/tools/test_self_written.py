from tools import self_written


def test_a_seed_writes_the_same_texts_again_and_another_others(monkeypatch):
    monkeypatch.setattr(self_written, "TEXTS", 3)
    monkeypatch.setattr(self_written, "TOKENS", 12)
    texts = self_written.written("tiny-base", 0)
    assert len(set(texts)) == 3
    assert all(text and "\n" not in text for text in texts)
    assert self_written.written("tiny-base", 0) == texts
    assert not set(self_written.written("tiny-base", 1)) & set(texts)
