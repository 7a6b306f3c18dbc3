"""Notes as markup: our own forms, and nothing else."""

import pytest

from aegis.web.portal.notes import note


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("## ⊘ blocked", "<h3>⊘ blocked</h3>"),
        ("two\nlines", "<p>two</p><p>lines</p>"),
        ("- one\n- **two** `x<y`", "<ul><li>one</li><li><strong>two</strong> <code>x&lt;y</code></li></ul>"),
        ("```\n<raw> **not** this\n```", "<pre>&lt;raw&gt; **not** this</pre>"),
        ("[run](/runs/1)", '<p><a href="/runs/1">run</a></p>'),
        ("<!-- aegis -->\ntext", "<p>text</p>"),
        ("| a | b |\n| --- | --- |\n| 1 | <i> |",
         ('<div class="scroll"><table class="data"><thead><tr><th>a</th><th>b</th></tr></thead>'
         "<tbody><tr><td>1</td><td>&lt;i&gt;</td></tr></tbody></table></div>")),
        ("", ""),
    ],
)  # fmt: skip
def test_our_own_forms_are_markup(text, markup):
    assert str(note(text)) == markup


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "[x](//evil.example/)",
        '[x](/a"onmouseover="alert(1))',
        "`<img src=x onerror=alert(1)>`",
    ],
)
def test_nothing_in_a_note_becomes_markup_of_its_own(text):
    markup = str(note(text))
    assert "<script" not in markup
    assert "<img" not in markup
    assert 'href="javascript' not in markup
    assert 'href="//' not in markup
    assert '"onmouseover="' not in markup
