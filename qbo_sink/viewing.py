"""The pulled lists as ``replica`` shows them (:mod:`replica.sink`). Blocks; reads only."""

from __future__ import annotations

from qbo_sink.config import APPS, Config
from qbo_sink.lists import DATE, LISTS, ListSpec
from qbo_sink.liststore import SORTS, ListState, ListStore
from replica.limits import LIST_ROWS_MAX
from replica.sink import ListAsk, ListColumn, ListInfo, ListPage, ListRow


def infos(store: ListStore, config: Config, account: bytes) -> list[ListInfo]:
    """Every list, pulled or not."""
    states = store.states(account)
    return [_info(spec, states.get(spec.name), config) for spec in LISTS.values()]


def page(
    store: ListStore, config: Config, account: bytes, name: str, ask: ListAsk
) -> ListPage | None:
    """Some rows of the list ``name``; None when there is none of that name."""
    spec = LISTS.get(name)
    if spec is None:
        return None
    info = _info(spec, store.states(account).get(name), config)
    dated = any(column.kind == DATE and column.name == "date" for column in spec.columns)
    sort = ask.sort if ask.sort in SORTS else ("-date" if dated else "label")
    found = store.page(
        account,
        name,
        text=ask.text,
        state=ask.state,
        sort=sort,
        after=ask.after,
        limit=min(ask.limit, LIST_ROWS_MAX),
    )
    rows = [ListRow(row.external_id, row.values, row.state) for row in found.rows]
    return ListPage(info, rows, found.after)


def _info(spec: ListSpec, state: ListState | None, config: Config) -> ListInfo:
    known = state or ListState(spec.name)
    app = APPS.get(config.profile, "")
    return ListInfo(
        name=spec.name,
        title=spec.title,
        columns=[ListColumn(column.name, column.title, column.kind) for column in spec.columns],
        rows=known.rows,
        pulled_ms=known.pulled_ms,
        complete=known.loaded_ms > 0,
        reason=known.reason,
        there=f"{app}{spec.there}" if app else "",
    )
