"""Entries in words, for mail, chat and terminals: English and Korean by message id.

The portal shows the same ids with markup of its own; a test holds the two catalogues together. State is a symbol
and a word. Codes, ids and names are never translated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aegis.notify.entries import Entry

DEFAULT: Final = "en"
_PLACE: Final = re.compile(r"\{([a-z_]+)\}")

CATALOGUES: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "inbox.run-failed": "{project}: the pipeline of {ref} failed",
        "inbox.run-refused": "{project}: no pipeline could be made for {ref}",
        "inbox.run-blocked": "{project}: the gates block {ref} ({gates})",
        "inbox.approval": "{release} asks for {environment}",
        "inbox.review": "{release} went to {environment} as an emergency and needs a review",
        "inbox.deployment-failed": "{release} did not become healthy in {environment}",
        "inbox.rolled-back": "{service} in {environment} went back from {from} to {to}",
        "inbox.promotion-failed": "{release} did not reach {environment}",
        "inbox.deployed": "{release} runs in {environment}",
        "inbox.distrusted": "{release} runs and cannot be verified ({code})",
        "inbox.vulnerable": "{release} has a vulnerability that was not known when it was released",
        "inbox.action-failed": "{action} failed ({code})",
        "kind.failure": "✗ failed",
        "kind.block": "⊘ blocked",
        "kind.approval": "‖ needs approval",
        "kind.review": "‖ needs review",
        "kind.rollback": "↩ rolled back",
        "kind.news": "✓ done",
        "kind.resolved": "✓ resolved",
        "times": "{count} times since {first}",
    },
    "ko": {
        "inbox.run-failed": "{project}: {ref} 파이프라인 실패",
        "inbox.run-refused": "{project}: {ref} 파이프라인을 만들 수 없음",
        "inbox.run-blocked": "{project}: 게이트가 {ref}을(를) 차단함 ({gates})",
        "inbox.approval": "{release}이(가) {environment} 승인을 요청함",
        "inbox.review": "{release}이(가) 긴급으로 {environment}에 배포되어 검토가 필요함",
        "inbox.deployment-failed": "{release}이(가) {environment}에서 정상 상태가 되지 못함",
        "inbox.rolled-back": "{environment}의 {service}이(가) {from}에서 {to}(으)로 되돌아감",
        "inbox.promotion-failed": "{release}이(가) {environment}에 도달하지 못함",
        "inbox.deployed": "{release}이(가) {environment}에서 실행 중",
        "inbox.distrusted": "{release}이(가) 실행 중이지만 검증되지 않음 ({code})",
        "inbox.vulnerable": "{release}에 릴리스 당시 알려지지 않은 취약점이 있음",
        "inbox.action-failed": "{action} 실패 ({code})",
        "kind.failure": "✗ 실패",
        "kind.block": "⊘ 차단됨",
        "kind.approval": "‖ 승인 필요",
        "kind.review": "‖ 검토 필요",
        "kind.rollback": "↩ 롤백됨",
        "kind.news": "✓ 완료",
        "kind.resolved": "✓ 해결됨",
        "times": "{first}부터 {count}회",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An entry ready to be sent: a subject of one line, and its text. `link` is a path of the server."""

    subject: str
    text: str
    link: str


def text_of(message: str, params: Mapping[str, str], language: str) -> str:
    """The sentence of a message id; the id itself where nobody wrote it."""
    catalogue = CATALOGUES.get(language, CATALOGUES[DEFAULT])
    text = catalogue.get(message) or CATALOGUES[DEFAULT].get(message)
    if text is None:
        return message
    return _PLACE.sub(lambda found: params.get(found[1], found[0]), text)


def rendered(entry: Entry, language: str) -> Message:
    """The entry in a language: state and sentence first, then what helps, how often, and where to look."""
    kind = "resolved" if entry.resolved_at else entry.kind
    sentence = text_of(entry.title, entry.params, language)
    lines = [sentence]
    if entry.hint:
        lines.append(entry.hint)
    if entry.count > 1:
        values = {"count": str(entry.count), "first": entry.first_at.strftime("%Y-%m-%d %H:%M UTC")}
        lines.append(text_of("times", values, language))
    if entry.link:
        lines.append(entry.link)
    subject = " ".join(f"{text_of(f'kind.{kind}', {}, language)} · {sentence}".split())
    return Message(subject=subject, text="\n".join(lines), link=entry.link)
