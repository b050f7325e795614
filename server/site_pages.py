"""Where an adapter's page is on its site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..records import AdapterRecord

_CIVITAI: Final = re.compile(r"[0-9]{1,18}")
_HUB: Final = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", re.ASCII)


def page_of(record: AdapterRecord) -> str | None:
    """Return the address of an adapter's page on its site.

    >>> from velatura.records import AdapterRecord
    >>> page_of(AdapterRecord(source="civitai", key="1/2/3", title="Fox", model_id=1, version_id=2))
    'https://civitai.com/models/1?modelVersionId=2'
    >>> page_of(AdapterRecord(source="huggingface", key="k", title="Fox", model_id="ada/fox"))
    'https://huggingface.co/ada/fox'
    """
    model, version = str(record.model_id or ""), str(record.version_id or "")
    if _CIVITAI.fullmatch(model):
        return f"https://civitai.com/models/{model}" + (
            f"?modelVersionId={version}" if _CIVITAI.fullmatch(version) else ""
        )
    return f"https://huggingface.co/{model}" if _HUB.fullmatch(model) else None
