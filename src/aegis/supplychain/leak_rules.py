"""What a leaked credential looks like: one rule per issuer, and two for what only its name and its disorder betray.

A rule with a prefix that its issuer documents needs no measure of disorder. The others do: Shannon's entropy of the
value, H = -Σ p·log2 p over its characters, in bits per character. Random text of n characters reaches at most
log2 n and at most 4 (hexadecimal) or 6 (base 64); identifiers, words and placeholders of that length stay well below.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from aegis.core.types import Severity

ROTATE: Final = (
    "revoke it where it was issued, keep the new one as a reference (secret://path#field), and remove it from the "
    "history: `git reset --soft` to the commit before it and commit again, or git filter-repo once it was shared"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. The secret is group `secret` of `pattern`; `keywords` (lower case) must be near for it to be tried.

    `entropy` is the least disorder in bits per character; `shown` how many leading characters are public knowledge.
    `generic` rules look at names and values only, and keep away from lock files.
    """

    id: str
    title: str
    pattern: re.Pattern[str]
    keywords: tuple[str, ...]
    severity: Severity = Severity.CRITICAL
    entropy: float = 0.0
    shown: int = 4
    generic: bool = False
    mend: str = ROTATE


def entropy(text: str) -> float:
    """Shannon's entropy of `text` in bits per character; 0 for nothing."""
    length = len(text)
    return -sum(count / length * math.log2(count / length) for count in Counter(text).values()) if length else 0.0


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _token(pattern: str, *, after: str = r"(?<![A-Za-z0-9_\-])", end: str = r"(?![A-Za-z0-9_\-])") -> re.Pattern[str]:
    return re.compile(f"{after}(?P<secret>{pattern}){end}")


RULES: Final = (
    Rule(
        "private-key",
        "private key",
        _compiled(
            r"-----BEGIN (?:[A-Z0-9]{2,10} )?(?:ENCRYPTED )?PRIVATE KEY(?: BLOCK)?-----"
            r"(?P<secret>(?:\\r|\\n|[\sA-Za-z0-9+/=:,.\"'\-]){64,20000}?)-----END "
        ),
        ("private key",),
        shown=0,
    ),
    Rule("age-identity", "age identity", _token(r"AGE-SECRET-KEY-1[0-9A-Z]{58}"), ("age-secret-key-",), shown=16),
    Rule("aws-access-key", "AWS access key id", _token(r"(?:AKIA|ASIA)[A-Z2-7]{16}"), ("akia", "asia")),
    Rule(
        "aws-secret-key",
        "AWS secret access key",
        _compiled(r"(?i)aws.{0,20}?secret.{0,20}?[=:]\s{0,4}[\"']?(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"),
        ("aws",),
        entropy=4.0,
        shown=0,
    ),
    Rule("gcp-api-key", "Google API key", _token(r"AIza[0-9A-Za-z_\-]{35}"), ("aiza",)),
    Rule("gcp-oauth-secret", "Google OAuth client secret", _token(r"GOCSPX-[0-9A-Za-z_\-]{28}"), ("gocspx-",), shown=7),
    Rule(
        "azure-storage-key",
        "Azure storage account key",
        _compiled(r"AccountKey=(?P<secret>[A-Za-z0-9+/]{86}==)"),
        ("accountkey=",),
        shown=0,
    ),
    Rule(
        "azure-client-secret",
        "Azure client secret",
        _token(r"[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.\-]{31,34}", after=r"(?<![A-Za-z0-9_~.\-])"),
        ("q~",),
        shown=0,
    ),
    Rule(
        "github-token",
        "GitHub token",
        _token(r"gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    Rule(
        "gitlab-token",
        "GitLab token",
        _token(r"gl(?:pat|dt|rt|rtr|cbt|ptt|ft|soat|agent|imt|ffct|oas)-[A-Za-z0-9_.\-]{20,300}"),
        ("glpat-", "gldt-", "glrt", "glcbt-", "glptt-", "glft-", "glsoat-", "glagent-", "glimt-", "glffct-", "gloas-"),
        entropy=3.0,
        shown=6,
    ),
    Rule(
        "slack-token",
        "Slack token",
        _token(
            r"xox[abeoprs]-(?:[0-9]{8,}-[A-Za-z0-9\-]{8,}|[0-9]-[A-Za-z0-9\-]{20,})|xapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-z0-9]{32,}"
        ),
        ("xox", "xapp-"),
    ),
    Rule(
        "slack-webhook",
        "Slack web hook address",
        _compiled(r"hooks\.slack\.com/(?P<secret>(?:services|workflows|triggers)/T[A-Z0-9]{6,}/[A-Za-z0-9/]{15,})"),
        ("hooks.slack.com",),
        severity=Severity.HIGH,
        shown=0,
    ),
    Rule("stripe-key", "Stripe secret key", _token(r"[sr]k_live_[A-Za-z0-9]{20,250}"), ("k_live_",), shown=8),
    Rule(
        "stripe-test-key",
        "Stripe test key",
        _token(r"[sr]k_test_[A-Za-z0-9]{20,250}"),
        ("k_test_",),
        severity=Severity.MEDIUM,
        shown=8,
    ),
    Rule(
        "pypi-token", "package index upload token", _token(r"pypi-AgE[A-Za-z0-9_\-]{50,1000}"), ("pypi-age",), shown=5
    ),
    Rule("npm-token", "npm token", _token(r"npm_[A-Za-z0-9]{36}"), ("npm_",)),
    Rule("sendgrid-key", "SendGrid API key", _token(r"SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}"), ("sg.",), shown=3),
    Rule(
        "vault-token", "Vault token", _token(r"hv[sbr]\.[A-Za-z0-9_\-]{24,300}"), ("hvs.", "hvb.", "hvr."), entropy=3.0
    ),
    Rule(
        "json-web-token",
        "JSON web token",
        _token(r"eyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{16,}"),
        ("eyj",),
        severity=Severity.HIGH,
        shown=3,
    ),
    Rule(
        "connection-string",
        "address with a password in it",
        _compiled(
            r"(?i)\b[a-z][a-z0-9+.\-]{1,30}://(?P<user>[^\s:/@\"'<>{}]{0,100}):(?P<secret>[^\s:/@\"'<>{}]{3,200})@"
            r"(?P<host>[A-Za-z0-9.\-\[\]:]+)"
        ),
        ("://",),
        severity=Severity.HIGH,
        shown=0,
        generic=True,
    ),
    Rule(
        "bearer-token",
        "authorization header",
        _compiled(
            r"(?i)authorization[\"']?\s{0,4}[:=,]\s{0,4}[\"']?(?:bearer|basic|token)\s+(?P<secret>[A-Za-z0-9._~+/\-]{20,}=*)"
        ),
        ("authorization",),
        severity=Severity.HIGH,
        entropy=3.5,
        shown=0,
        generic=True,
    ),
    Rule(
        "assigned-secret",
        "secret in an assignment",
        _compiled(
            r"(?i)(?<![A-Za-z0-9])(?P<name>[\w.\-]{0,60}?(?:passw(?:or)?d|passphrase|secret|token|api_?-?key|access_?-?key"
            r"|private_?-?key|auth_?-?key|credentials?)[\w\-]{0,30})[\"']?\]?\s{0,4}"
            r"(?::\s{0,4}(?:str|Final|Final\[str\])\s{0,4}=|:=|=>|=|:)\s{0,4}[bfru]{0,2}"
            r"(?P<quote>[\"'])?(?P<secret>[^\s\"'`,;#<>(){}\[\]]{8,300})(?(quote)(?P=quote)|(?=[\s,;]|$))"
        ),
        ("passw", "passphrase", "secret", "token", "key", "credential"),
        severity=Severity.HIGH,
        entropy=3.0,
        shown=0,
        generic=True,
    ),
)
