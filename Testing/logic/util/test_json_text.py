"""What a message says of JSON that somebody else wrote."""

import pytest

from DeepSegLogic.util.json_text import json_of


def test_text_with_a_byte_order_mark_is_read():
    assert json_of('{"a": "ü"}'.encode("utf-8-sig")) == {"a": "ü"} == json_of('{"a": "ü"}'.encode())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x1f\x8b\x08\x00", "not a text file"),
        ('{"a": "ü"}'.encode("latin-1"), "not a text file in UTF-8"),
        (b'{"a": 1,\n"b"}', "not JSON .line 2: "),
        (b"", "not JSON .line 1: "),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "a number that is too long"),
    ],
)
def test_other_content_is_refused_in_plain_words(content, said):
    with pytest.raises(ValueError, match=said) as caught:
        json_of(content)
    assert not any(word in str(caught.value) for word in ("codec", "BOM", "char ", "int"))
