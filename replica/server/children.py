"""The child processes of one server."""

from __future__ import annotations

from replica.server.judge_process import JudgeProcess
from replica.server.model_process import ModelProcess


class Children:
    """Both of them. Make it before threads and databases of the server; close it after them."""

    def __init__(self) -> None:
        self.models = ModelProcess()
        self.judge = JudgeProcess()

    def close(self) -> None:
        """End both."""
        self.judge.close()
        self.models.close()
