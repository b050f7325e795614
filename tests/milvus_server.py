"""Milvus by URL without a cluster: milvus-lite behind a port, that reads templates as a server does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from pymilvus.grpc_gen import milvus_pb2_grpc


class _Servicer(MilvusServicer):
    """Puts the values of a template into its filter, and remembers what it was asked, and by whom."""

    def __init__(self, db: MilvusLite) -> None:
        super().__init__(db)
        self.filters: list[str] = []
        self.tokens: set[bytes | str] = set()

    def Search(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.filters.append(request.dsl)
        self.tokens.update(value for key, value in context.invocation_metadata() if key == "authorization")
        for name, value in request.expr_template_values.items():
            request.dsl = request.dsl.replace(f"{{{name}}}", str(list(value.array_val.long_data.data)))
        return super().Search(request, context)

    def GetVersion(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = super().GetVersion(request, context)
        answer.version = "v2.6.0"
        return answer


class MilvusServer:
    """A server at `url`, until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._db = MilvusLite(str(folder))
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 2**28)])
        self.asked = _Servicer(self._db)
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(self.asked, self._server)
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(grace=1).wait()
        self._db.close()
