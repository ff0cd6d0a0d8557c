"""What billing may raise.

    BillingError
    +- InvalidAmountError       the number is no amount of tokens: fix it
    +- InvalidWorkError         a measured quantity is negative, NaN or infinite: fix the meter
    +- InsufficientTokensError  the wallet does not cover the hold: top up, then try again
    +- UnknownPriceError        no card prices this work: it is refused, never free
    +- InvalidCardError         a rate card says something that cannot be priced: fix the data
    |  +- NegativePriceError    a number of it is below 0: a rebate says so by name
    |  +- CardFrozenError       that version is published and never changes: publish the next one
    |  +- CardOverlapError      another version begins then or later: choose a later time
    +- InvalidRuleError         a pricing rule says something that cannot be: fix the data
    |  +- RuleOverlapError      another version begins then or later: choose a later time
    +- UnknownOfferError        no such pack, plan, price list or subscription: choose one that is
    +- UnknownInvoiceError      no such invoice of this tenant
    +- MonthNotOverError        a month is invoiced when it is over where the tenant lives
    +- EffectiveTooLateError    prices begin within the calendar: choose an earlier year
    +- EffectivePastError       prices of the past never change: begin now or later
    +- ReplayMismatchError      the key was used before with other arguments
    +- UnknownWalletError       nobody opened a wallet for this tenant
    +- DebtError                the wallet owes too much, or too little, for this
    +- RefundError              there is no such charge, or less is left of it
    +- CorrectionError          the entry or grant cannot be taken back
    +- ApprovalError            a second person's decision cannot be made like this
       +- UnknownApprovalError  no approval has this id
       +- SelfApprovalError     the maker cannot be the checker: ask another person
       +- ApprovalDecidedError  it was approved or rejected before; nothing changes
       +- ApprovalExpiredError  nobody decided in time: propose it again
    +- CapReachedError          (in caps) a cap leaves too little in its window: wait, or raise it
    +- FrozenWalletError        nothing new may be held: an operator has to unfreeze
    +- UnknownRechargeError     no recharge has this id
    +- RechargeBookedError      it was booked before; nothing changes
    +- RechargeRefusedError     one of its users cannot get tokens any more: send it anew
    +- InvalidGrantRuleError    a grant rule says something that cannot be granted: fix it
    +- UnknownGrantRuleError    no grant rule has this id
    +- GrantRuleExistsError     a grant rule of this name exists: choose another name

Codes are public; messages say what to do next. Any other exception is a fault of ours.
"""

from decimal import Decimal


class BillingError(Exception):
    """The root; catch it to catch everything billing says no with."""

    code = "billing_error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidAmountError(BillingError):
    """Raised when a number is no amount of tokens; a retry never helps."""

    code = "invalid_amount"


class InvalidWorkError(BillingError):
    """Raised when a quantity of work is not a finite number >= 0; a retry never helps."""

    code = "invalid_work"


class InsufficientTokensError(BillingError):
    """Raised when a hold is larger than what the wallet has; retry after a top-up.

    ``needed`` and ``available`` are micro-tokens.
    """

    code = "insufficient_tokens"

    def __init__(self, needed: int, available: int) -> None:
        super().__init__(
            f"this needs {tokens_text(needed)} tokens and the wallet has {tokens_text(available)};"
            " top up and send it again"
        )
        self.needed = needed
        self.available = available


def tokens_text(micro: int) -> str:
    """Micro-tokens as a sentence names them, in tokens."""
    return f"{Decimal(micro).scaleb(-6).normalize():f}"


class UnknownPriceError(BillingError):
    """Raised when no card, or no term of it, prices the work; publish one, then try again."""

    code = "price_missing"


class InvalidCardError(BillingError):
    """Raised when the data of a rate card is wrong or already published otherwise."""

    code = "invalid_rate_card"


class NegativePriceError(InvalidCardError):
    """Raised when a number of a card is below 0; a rebate is written positive, by its name."""

    code = "negative_price"


class CardFrozenError(InvalidCardError):
    """Raised when a published version would change; publish the next version instead."""

    code = "rate_card_frozen"


class CardOverlapError(InvalidCardError):
    """Raised when a version would begin before, or with, one that is published already."""

    code = "rate_card_overlap"


class InvalidRuleError(BillingError):
    """Raised when the data of a pricing rule is wrong."""

    code = "invalid_pricing_rule"


class RuleOverlapError(InvalidRuleError):
    """Raised when a version would begin before, or with, one that is published already."""

    code = "pricing_rule_overlap"


class UnknownOfferError(BillingError):
    """Raised when nobody offers a pack, plan or price list of that name, or nobody is on it."""

    code = "offer_not_found"


class UnknownInvoiceError(BillingError):
    """Raised for an invoice that nobody issued, and for another tenant's alike."""

    code = "invoice_not_found"


class MonthNotOverError(BillingError):
    """Raised when an invoice is asked for before its month is over; retry then."""

    code = "month_not_over"


class EffectiveTooLateError(BillingError):
    """Raised when prices would begin beyond every calendar; choose an earlier year."""

    code = "effective_too_late"


class EffectivePastError(BillingError):
    """Raised when prices would change for a time that has passed."""

    code = "effective_in_past"


class ReplayMismatchError(BillingError):
    """Raised when an idempotency key comes again with other arguments; use a new key."""

    code = "idempotency_mismatch"


class UnknownWalletError(BillingError):
    """Raised when the tenant has no wallet yet; open one first."""

    code = "unknown_wallet"


class ApprovalError(BillingError):
    """The family of refusals of a second person's decision."""

    code = "approval_error"


class UnknownApprovalError(ApprovalError):
    """Raised when no approval has the id; check it."""

    code = "approval_not_found"


class SelfApprovalError(ApprovalError):
    """Raised when the person who proposed tries to approve; another person has to."""

    code = "self_approval"


class ApprovalDecidedError(ApprovalError):
    """Raised when an approval was approved or rejected before; the second try changes nothing."""

    code = "approval_decided"


class ApprovalExpiredError(ApprovalError):
    """Raised when nobody decided in time; propose it again."""

    code = "approval_expired"


class FrozenWalletError(BillingError):
    """Raised when the wallet is frozen: nothing new is held until an operator unfreezes it."""

    code = "tenant_frozen"


class UnknownRechargeError(BillingError):
    """Raised when no recharge has the id; check it."""

    code = "recharge_not_found"


class RechargeBookedError(BillingError):
    """Raised when a recharge was booked before; the second try changes nothing."""

    code = "recharge_booked"


class RechargeRefusedError(BillingError):
    """Raised when an all-or-nothing recharge cannot be booked as a whole any more."""

    code = "recharge_refused"


class _CodedError(BillingError):
    """One class for several reasons; the code says which."""

    def __init__(self, detail: str, *, code: str) -> None:
        super().__init__(detail)
        self.code = code


class DebtError(_CodedError):
    """Raised when a limit or a payment does not fit what is owed; a retry never helps."""


class RefundError(_CodedError):
    """Raised when a job was not charged, or not that much; a retry never helps."""


class CorrectionError(_CodedError):
    """Raised when an entry, a grant or a hold cannot be taken back; a retry never helps."""


class InvalidGrantRuleError(BillingError):
    """Raised when a grant rule says something that cannot be granted; fix it."""

    code = "invalid_grant_rule"


class UnknownGrantRuleError(BillingError):
    """Raised when no grant rule has the id; check it."""

    code = "grant_rule_not_found"


class GrantRuleExistsError(BillingError):
    """Raised when a grant rule of this name exists; choose another name."""

    code = "name_taken"
