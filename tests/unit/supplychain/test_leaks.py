"""Leaked credentials are found, pictures of them are not, and no secret is ever shown."""

from __future__ import annotations

import hashlib
import math
import random
import string

import pytest

from aegis.core.types import Severity
from aegis.supplychain import leaks
from aegis.supplychain.leak_rules import RULES, entropy
from aegis.supplychain.leaks import Added, find, find_added, join

SEED = random.Random(7)


def noise(length: int, signs: str = string.ascii_letters + string.digits) -> str:
    """Random text that is no credential of anybody."""
    enough = 0.75 * math.log2(min(length, len(signs)))
    while True:
        text = "".join(SEED.choice(signs) for _ in range(length))
        if length < 4 or (sum(sign.isdigit() for sign in text) >= 2 and entropy(text) > enough):
            return text


def made() -> dict[str, str]:
    """A line for every rule; made here, so that no scanner of this repository trips over it."""
    upper = string.ascii_uppercase + "234567"
    return {
        "private-key": "-----BEGIN PRIVATE KEY-----\n" + noise(64) + "\n" + noise(64) + "\n-----END PRIVATE KEY-----",
        "age-identity": "AGE-SECRET-" + "KEY-1" + noise(58, string.ascii_uppercase + string.digits),
        "aws-access-key": "key = 'AK" + "IA" + noise(16, upper) + "'",
        "aws-secret-key": "aws_sec" + "ret_access_key = " + noise(40),
        "gcp-api-key": "AI" + "za" + noise(35),
        "gcp-oauth-secret": "GOC" + "SPX-" + noise(28),
        "azure-storage-key": "Account" + "Key=" + noise(86) + "==",
        "azure-client-secret": noise(3) + "8" + "Q~" + noise(32),
        "github-token": "gh" + "p_" + noise(36),
        "gitlab-token": "gl" + "pat-" + noise(20),
        "slack-token": "xo" + "xb-" + noise(12, string.digits) + "-" + noise(12, string.digits) + "-" + noise(24),
        "slack-webhook": "https://hooks.sl"
        "ack.com/services/T" + noise(9, upper) + "/B" + noise(9, upper) + "/" + noise(24),
        "stripe-key": "sk_" + "live_" + noise(24),
        "stripe-test-key": "sk_" + "test_" + noise(24),
        "pypi-token": "py" + "pi-AgEIcHlwaS5vcmc" + noise(60),
        "npm-token": "np" + "m_" + noise(36),
        "sendgrid-key": "S" + "G." + noise(22) + "." + noise(43),
        "vault-token": "hv" + "s." + noise(24),
        "json-web-token": "ey" + "J" + noise(20) + ".ey" + "J" + noise(30) + "." + noise(30),
        "connection-string": "postgresql://orders:" + noise(14) + "@db.shop.internal:5432/orders",
        "bearer-token": "Authorization: Bearer " + noise(32),
        "assigned-secret": "API_TO" + "KEN = '" + noise(32) + "'",
    }


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_every_rule_finds_its_credential_and_shows_none_of_it(rule: str) -> None:
    line = made()[rule]
    found = [leak for leak in find("deploy/settings.env", f"# first\n{line}\n".encode()) if leak.rule == rule]
    assert len(found) == 1, line
    leak = found[0]
    assert leak.line == 2
    shown = repr((leak.redacted, leak.fingerprint, leak.title, leak.mend))
    secret_parts = [line[start : start + 12] for start in range(len(line) - 12) if line[start : start + 12].isalnum()]
    assert not any(part in shown for part in secret_parts if any(sign.isdigit() for sign in part))


@pytest.mark.parametrize(
    "line",
    [
        "password = os.environ['PASSWORD']",
        "password: ${DB_PASSWORD}",
        "token: secret://shop/orders#token",
        "API_KEY={{ vault.api_key }}",
        "secretName: orders-db-credentials-v2",
        'password = "changeme-please-1"',
        'SECRET_KEY = "your-secret-key-1234"',
        "url = 'postgresql://user:password@localhost/db'",
        "url = 'postgresql://app:app@db:5432/app'",
        "url = 'http://job:TOKEN@127.0.0.1:8000/pypi'",
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7" + "EXAMPLE",
        'token_url = "https://login.example.com/oauth2/v2.0/token1234"',
        "tokenizer_class: 'GPT2TokenizerFast1234567'",
        "secret_hash = 'sha256:" + hashlib.sha256(b"x").hexdigest() + "'",
        "token = '123e4567-e89b-12d3-a456-426614174000'",
        "-----BEGIN " + "PRIVATE KEY----- is how it begins",
        "password = get_password(user1, hint2)",
        "github_token = 'gh" + "p_" + "x" * 36 + "'",
    ],
)
def test_pictures_of_credentials_are_left_alone(line: str) -> None:
    for path in ("app.py", "deploy.yaml"):
        assert not find(path, line.encode()), path


def test_lock_files_are_searched_for_issued_tokens_only() -> None:
    digest = noise(64, "0123456789abcdef")
    line = f'{{"token": "{digest}"}}\n'
    assert find("a.json", line.encode())
    for path in ("poetry.lock", "web/package-lock.json", "requirements-dev.txt", "go.sum"):
        assert not find(path, line.encode())
        assert find(path, made()["github-token"].encode())


def test_a_marker_allows_only_with_a_reason() -> None:
    token = made()["gitlab-token"]
    reason = "only valid in the test container"
    for text in (f"{token} # aegis: allow-secret {reason}", f"# aegis: allow-secret {reason}\n{token}"):
        assert [leak.allowed for leak in find("a.py", text.encode())] == [reason]
    assert [leak.allowed for leak in find("a.py", f"{token} # aegis: allow-secret".encode())] == [""]
    assert [leak.allowed for leak in find("a.html", f"{token} <!-- aegis: allow-secret -->".encode())] == [""]


def test_binary_content_is_left_alone_and_utf_16_is_read() -> None:
    token = made()["gitlab-token"]
    assert not find("a.bin", b"\0\1\2" + token.encode())
    assert find("a.txt", token.encode("utf-16"))
    assert not leaks.is_searched(b"x" * (leaks.MAXIMUM_SIZE + 1))


def test_a_long_line_is_searched_whole() -> None:
    line = "x" * 3900 + " " + made()["assigned-secret"] + " " + "y" * 9000
    assert [leak.rule for leak in find("bundle.min.json", line.encode())] == ["assigned-secret"]


def test_lines_of_a_commit_keep_their_numbers() -> None:
    added = Added(commit="c" * 40, path="a.py", lines=((7, "import os"), (20, made()["github-token"])))
    leak = find_added(added)[0]
    assert (leak.line, leak.commit) == (20, "c" * 40)


def test_a_secret_that_only_a_commit_holds_stays_a_finding_and_is_not_told_twice() -> None:
    kept, removed = made()["github-token"], made()["stripe-test-key"]
    tree = find("a.py", kept.encode())
    history = [
        *find_added(Added(commit="1" * 40, path="a.py", lines=((1, kept), (2, removed)))),
        *find_added(Added(commit="2" * 40, path="a.py", lines=((9, removed),))),
    ]
    found = join(tree, history)
    assert [(leak.rule, leak.commit[:1], leak.line) for leak in found] == [
        ("github-token", "", 1),
        ("stripe-test-key", "1", 2),
    ]
    assert found[0].severity is Severity.CRITICAL


def test_a_marker_in_the_tree_allows_the_commits_that_brought_the_line() -> None:
    token = made()["github-token"]
    tree = find("a.py", f"{token}  # aegis: allow-secret revoked long ago".encode())
    history = find_added(Added(commit="1" * 40, path="a.py", lines=((1, token),)))
    assert [leak.allowed for leak in join(tree, history)] == ["revoked long ago"]


def test_fingerprints_survive_a_move_and_do_not_depend_on_the_secret() -> None:
    one, two = (f"API_TOKEN = '{noise(32)}'" for _ in range(2))
    first, moved, other = (find("a.py", text.encode())[0].fingerprint for text in (one, f"\n\n{one}", two))
    assert first == moved
    assert first == other


def test_entropy_is_measured_in_bits_per_character() -> None:
    assert entropy("") == 0
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
    assert entropy("0123456789abcdef") == 4
