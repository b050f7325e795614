"""Fetches adapters that a person asks for by name: one file each, resumed where it stopped, checked, then named.

order.py     what is fetched: an adapter that the gates let through, from where, and what must come
origin.py    where a site keeps a file; the address is built of the record's ids, never taken from a page
file_name.py what the file is called here, whatever it is called there
transfer.py  the bytes, over HTTP, from public addresses alone
part.py      what has arrived, locked, beside the name that it will have
sidecar.py   what Civitai says of it, kept beside the file
run.py       all of it, several at once
"""

from .order import Order, order
from .run import Fetched, fetch

__all__ = ["Fetched", "Order", "fetch", "order"]
