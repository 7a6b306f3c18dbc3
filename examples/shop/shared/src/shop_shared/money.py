"""Exact amounts of money in one currency.

Amounts are kept in the currency's smallest unit, so that nothing is ever rounded behind one's back. On the wire
an amount is a decimal string (`{"amount": "12.30", "currency": "EUR"}`): JSON numbers are binary fractions.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, StringConstraints, model_serializer, model_validator

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]

# ISO 4217: digits after the point, for the currencies the shop sells in.
DIGITS: Final[dict[str, int]] = {"EUR": 2, "GBP": 2, "JPY": 0, "KRW": 0, "USD": 2}


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies were combined."""


class Money(BaseModel):
    """An amount in minor units (cents) of a currency."""

    model_config = ConfigDict(frozen=True)

    minor: int
    currency: Currency

    @classmethod
    def of(cls, amount: str | Decimal, currency: str) -> Money:
        """`Money.of("12.30", "EUR")`; `ValueError` for a currency we do not sell in or too many digits."""
        digits = DIGITS.get(currency)
        if digits is None:
            raise ValueError(f"unknown currency {currency!r}; known are {', '.join(sorted(DIGITS))}")
        try:
            scaled = Decimal(amount).scaleb(digits)
        except InvalidOperation:
            raise ValueError(f"{amount!r} is not an amount of money") from None
        if not scaled.is_finite() or scaled != scaled.to_integral_value():
            raise ValueError(f"{amount} {currency} has more than {digits} digits after the point")
        return cls.model_construct(minor=int(scaled), currency=currency)

    @model_validator(mode="before")
    @classmethod
    def _from_wire(cls, value: Any) -> Any:
        if isinstance(value, dict) and "amount" in value:
            if not isinstance(value["amount"], str):
                raise ValueError('amount must be a decimal string such as "12.30"')
            parsed = cls.of(value["amount"], str(value.get("currency", "")))
            return {"minor": parsed.minor, "currency": parsed.currency}
        return value

    @model_serializer
    def _to_wire(self) -> dict[str, str]:
        return {"amount": str(self.amount), "currency": self.currency}

    @property
    def amount(self) -> Decimal:
        """The amount in whole units, with all its digits."""
        return Decimal(self.minor).scaleb(-DIGITS[self.currency])

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(minor=self.minor + other.minor, currency=self.currency)

    def __mul__(self, times: int) -> Money:
        return Money(minor=self.minor * times, currency=self.currency)

    def __le__(self, other: Money) -> bool:
        self._same_currency(other)
        return self.minor <= other.minor

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    def _same_currency(self, other: Money) -> None:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self} and {other} are of different currencies")
