"""Reports that list documents and postings line by line: columns by choice, sections by rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from qbo_sink.sandbox.entities import NON_POSTING, OPEN
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.ledger import Posting, Transaction
from qbo_sink.sandbox.report_shape import Ask, Cell, Column, Period, data, section
from qbo_sink.sandbox.statements import EARNING, Table
from qbo_sink.sandbox.values import ZERO, Json

_BEGINNING, _END = "1900-01-01", "2099-12-31"


class Line(NamedTuple):
    """One row: a posting of a transaction (None where it posts nothing), and a running balance."""

    transaction: Transaction
    posting: Posting | None
    balance: Decimal = ZERO
    sign: int = 1

    @property
    def amount(self) -> Decimal:
        """In the natural direction of the report."""
        if self.posting is None:
            return Decimal(self.transaction.body.get("TotalAmt", ZERO))
        return self.sign * self.posting.amount


Value = str | Decimal | Cell | None


class _Shown(NamedTuple):
    column: Column
    value: Callable[[Line, Ask], Value]


def _party(line: Line, _: Ask) -> Value:
    return Cell(line.transaction.party[2], line.transaction.party[1])


def _split(line: Line, _: Ask) -> Value:
    """The account on the other side, or that there are several."""
    others = [each for each in line.transaction.postings if each is not line.posting]
    accounts = {each.account for each in others}
    if len(accounts) == 1:
        (account,) = accounts
        return Cell(account.name, account.id)
    return "-Split-" if accounts else None


def _named(entity: str, of: Callable[[Line], str]) -> Callable[[Line, Ask], Value]:
    def value(line: Line, ask: Ask) -> Value:
        id_ = of(line)
        return Cell(ask.ledger.names(entity).get(id_, ""), id_) if id_ else None

    return value


def _text(name: str) -> Callable[[Line, Ask], Value]:
    return lambda line, _: str(line.transaction.body.get(name, ""))


def _side(sign: int) -> Callable[[Line, Ask], Value]:
    def value(line: Line, _: Ask) -> Value:
        amount = sign * line.posting.amount if line.posting else ZERO
        return amount if amount > 0 else None

    return value


def _account(line: Line, _: Ask) -> Value:
    return Cell(line.posting.account.name, line.posting.account.id) if line.posting else None


def _memo(line: Line, _: Ask) -> Value:
    own = str(line.transaction.body.get("PrivateNote", ""))
    return (line.posting.memo if line.posting else "") or own


def _open(line: Line, _: Ask) -> Value:
    return open_balance(line.transaction)


_SHOWN = {
    each.column.key: each
    for each in (
        _Shown(Column("Date", "Date", "tx_date"), lambda line, _: line.transaction.date),
        _Shown(
            Column("Transaction Type", "String", "txn_type"),
            lambda line, _: Cell(line.transaction.label, line.transaction.id),
        ),
        _Shown(Column("Num", "String", "doc_num"), _text("DocNumber")),
        _Shown(
            Column("Posting", "String", "is_no_post"),
            lambda line, _: "No" if line.transaction.kind in NON_POSTING else "Yes",
        ),
        _Shown(Column("Name", "String", "name"), _party),
        _Shown(Column("Customer", "String", "cust_name"), _party),
        _Shown(Column("Vendor", "String", "vend_name"), _party),
        _Shown(
            Column("Location", "String", "dept_name"),
            _named("Department", lambda line: line.transaction.department),
        ),
        _Shown(
            Column("Class", "String", "klass_name"),
            _named("Class", lambda line: line.posting.class_ if line.posting else ""),
        ),
        _Shown(Column("Memo/Description", "String", "memo"), _memo),
        _Shown(Column("Account", "String", "account_name"), _account),
        _Shown(Column("Split", "String", "split_acc"), _split),
        _Shown(Column("Split", "String", "other_account"), _split),
        _Shown(Column("Due Date", "Date", "due_date"), _text("DueDate")),
        _Shown(Column("Create Date", "DateTime", "create_date"), lambda line, _: _created(line)),
        _Shown(Column("Debit", "Money", "debt_amt"), _side(1)),
        _Shown(Column("Credit", "Money", "credit_amt"), _side(-1)),
        _Shown(Column("Amount", "Money", "subt_nat_amount"), lambda line, _: line.amount),
        _Shown(Column("Open Balance", "Money", "subt_open_bal"), _open),
        _Shown(Column("Balance", "Money", "rbal_nat_amount"), lambda line, _: line.balance),
    )
}


def _created(line: Line) -> str:
    return str(line.transaction.body["MetaData"]["CreateTime"])


_HEAD = ("tx_date", "txn_type", "doc_num")
_LIST = (*_HEAD, "is_no_post", "name", "memo", "account_name", "other_account", "subt_nat_amount")
_LEDGER = (*_HEAD, "name", "memo", "split_acc", "subt_nat_amount", "rbal_nat_amount")
_JOURNAL = (*_HEAD, "name", "memo", "account_name", "debt_amt", "credit_amt")
_OPEN = (*_HEAD, "due_date", "subt_nat_amount", "subt_open_bal")


def _keys(ask: Ask, default: Sequence[str]) -> list[_Shown]:
    """The columns that ``columns`` names, or those of the report."""
    wanted = [name.strip() for name in ask.params.get("columns", "").split(",") if name.strip()]
    unknown = [name for name in wanted if name not in _SHOWN]
    if unknown:
        raise refused(2170, f"columns: {unknown[0]!r} is no column of this report", "columns")
    return [_SHOWN[name] for name in wanted or default]


def _rows(lines: Iterable[Line], shown: list[_Shown], ask: Ask) -> list[Json]:
    found = [data(*(each.value(line, ask) for each in shown)) for line in lines]
    keys = [each.column.key for each in shown]
    by = ask.params.get("sort_by", "")
    if by in keys:
        at = keys.index(by)
        back = ask.params.get("sort_order", "").lower().startswith("desc")
        found.sort(key=lambda row: str(row["ColData"][at]["value"]), reverse=back)
    return found


def _table(ask: Ask, default: Sequence[str], build: Callable[[list[_Shown]], list[Json]]) -> Table:
    shown = _keys(ask, default)
    return Table([each.column for each in shown], build(shown), ask.period)


def _first(each: Transaction) -> Line:
    """The line that stands for a whole document: its own account, its total."""
    return Line(each, each.postings[0] if each.postings else None)


def transaction_list(ask: Ask) -> Table:
    """One row for each document."""
    lines = [_first(each) for each in ask.selected(ask.period)]
    return _table(ask, _LIST, lambda shown: _rows(lines, shown, ask))


def transactions_by(entity: str) -> Callable[[Ask], Table]:
    """Documents under the name that they are with."""

    def report(ask: Ask) -> Table:
        groups: dict[tuple[str, str, str], list[Line]] = {}
        for each in ask.selected(ask.period):
            if each.party[0] == entity:
                groups.setdefault(each.party, []).append(_first(each))
        return _table(ask, _LIST, lambda shown: _sections(ask, shown, groups))

    return report


def _sections(
    ask: Ask, shown: list[_Shown], groups: dict[tuple[str, str, str], list[Line]]
) -> list[Json]:
    found = []
    for (_, id_, name), lines in sorted(groups.items(), key=lambda pair: pair[0][2]):
        totals = _totals(shown, sum((line.amount for line in lines), ZERO))
        found.append(section(Cell(name, id_), _rows(lines, shown, ask), totals))
    return found


def _totals(shown: list[_Shown], amount: Decimal) -> list[str | Decimal | None]:
    """The amount under its column, nothing under the others."""
    return [amount if each.column.key == "subt_nat_amount" else None for each in shown[1:]]


def with_splits(ask: Ask) -> Table:
    """Every posting under its document."""
    return _table(ask, _LIST, lambda shown: _by_document(ask, shown))


def journal(ask: Ask) -> Table:
    """Every posting with its side, under its document."""
    return _table(ask, _JOURNAL, lambda shown: _by_document(ask, shown))


def _by_document(ask: Ask, shown: list[_Shown]) -> list[Json]:
    found = []
    for each in ask.selected(ask.period):
        lines = [Line(each, posting) for posting in each.postings]
        if lines:
            debit = sum((posting.amount for posting in each.postings if posting.amount > 0), ZERO)
            sides = ("debt_amt", "credit_amt")
            totals = [debit if one.column.key in sides else None for one in shown[1:]]
            title = Cell(each.label, each.id)
            found.append(section(title, _rows(lines, shown, ask), totals, total="Total"))
    return found


def general_ledger(ask: Ask) -> Table:
    """Every posting under its account, with the balance before and after."""
    return _table(ask, _LEDGER, lambda shown: _by_account(ask, shown, lambda _: True))


def profit_and_loss_detail(ask: Ask) -> Table:
    """The postings behind the profit and loss."""
    keep = EARNING.__contains__
    return _table(ask, _LEDGER, lambda shown: _by_account(ask, shown, keep))


def balance_sheet_detail(ask: Ask) -> Table:
    """The postings behind the balance sheet."""
    return _table(
        ask, _LEDGER, lambda shown: _by_account(ask, shown, lambda kind: kind not in EARNING)
    )


def _by_account(ask: Ask, shown: list[_Shown], keeps: Callable[[str], bool]) -> list[Json]:
    groups: dict[str, list[Line]] = {}
    opening: dict[str, Decimal] = {}
    wanted = frozenset(filter(None, ask.params.get("account", "").split(",")))
    for each in ask.selected(Period(_BEGINNING, ask.period.end)):
        for posting in each.postings:
            account = posting.account
            if not keeps(account.type) or (wanted and account.id not in wanted):
                continue
            sign = -1 if account.type in _CREDIT else 1
            if each.date < ask.period.start:
                if account.type not in EARNING:
                    opening[account.id] = opening.get(account.id, ZERO) + sign * posting.amount
                continue
            lines = groups.setdefault(account.id, [])
            before = lines[-1].balance if lines else opening.get(account.id, ZERO)
            lines.append(Line(each, posting, before + sign * posting.amount, sign))
    found = []
    for id_ in sorted(groups.keys() | opening.keys(), key=lambda each: _name(ask, each)):
        lines, start = groups.get(id_, []), opening.get(id_, ZERO)
        rows = _rows(lines, shown, ask)
        if start:
            balance = [start if one.column.key == "rbal_nat_amount" else None for one in shown[1:]]
            rows.insert(0, data("Beginning Balance", *balance))
        if rows:
            total = sum((line.amount for line in lines), ZERO)
            found.append(section(Cell(_name(ask, id_), id_), rows, _totals(shown, total)))
    return found


_CREDIT = frozenset(
    {
        "Income",
        "Other Income",
        "Accounts Payable",
        "Credit Card",
        "Other Current Liability",
        "Long Term Liability",
        "Equity",
    }
)


def _name(ask: Ask, id_: str) -> str:
    return ask.ledger.accounts[id_].name if id_ in ask.ledger.accounts else ""


def account_list(ask: Ask) -> Table:
    """The chart of accounts with what each holds today."""
    held: dict[str, Decimal] = {}
    for each in ask.ledger.transactions(_BEGINNING, _END):
        for posting in each.postings:
            account = posting.account
            sign = -1 if account.type in _CREDIT else 1
            held[account.id] = held.get(account.id, ZERO) + sign * posting.amount
    rows = [
        data(
            Cell(row["FullyQualifiedName"], row["Id"]),
            row["AccountType"],
            row["AccountSubType"],
            row.get("Description", ""),
            held.get(row["Id"], ZERO),
        )
        for row in sorted(
            ask.ledger.rows("Account"), key=lambda row: str(row["FullyQualifiedName"])
        )
    ]
    shown = (
        Column("Account", "Account", "account_name"),
        Column("Type", "String", "account_type"),
        Column("Detail Type", "String", "detail_acc_type"),
        Column("Description", "String", "account_desc"),
        Column("Balance", "Money", "account_bal"),
    )
    return Table([*shown], rows, ask.period)


# What is open -----------------------------------------------------------------------------------


def open_balance(each: Transaction) -> Decimal:
    """What is still owed on a document; negative for a credit that is not used up."""
    name, sign = OPEN.get(each.kind, ("", 1))
    return Decimal(sign * each.body.get(name, ZERO)) if name else ZERO


def open_documents(ask: Ask, entity: str) -> list[Transaction]:
    """Documents with customers or vendors that are not settled, dated up to the report's day."""
    found = ask.selected(Period(_BEGINNING, ask.at))
    return [each for each in found if each.party[0] == entity and open_balance(each)]


def open_by(entity: str) -> Callable[[Ask], Table]:
    """Open documents under the name that they are with."""

    def report(ask: Ask) -> Table:
        groups: dict[tuple[str, str, str], list[Line]] = {}
        for each in open_documents(ask, entity):
            groups.setdefault(each.party, []).append(_first(each))

        def build(shown: list[_Shown]) -> list[Json]:
            found = []
            for (_, id_, name), lines in sorted(groups.items(), key=lambda pair: pair[0][2]):
                due = sum((open_balance(line.transaction) for line in lines), ZERO)
                totals = [due if one.column.key == "subt_open_bal" else None for one in shown[1:]]
                found.append(section(Cell(name, id_), _rows(lines, shown, ask), totals))
            return found

        return _table(ask, _OPEN, build)

    return report
